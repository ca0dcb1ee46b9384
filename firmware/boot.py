import rf_pins  # noqa: F401  the RF pins go low, before anything else runs
