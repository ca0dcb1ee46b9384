import rf_pins  # noqa: F401  # pyright: ignore[reportUnusedImport]  the RF pins go low, before anything else runs
