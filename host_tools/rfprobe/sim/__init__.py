"""The virtual probe: tissue, RF stage and sensors behind the simulated wires."""
