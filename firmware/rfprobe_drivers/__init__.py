"""Chips and pins, reached only through a handed-in board, so that the very same code runs in simulation."""
