"""What the peer's driver needs of CircuitPython's SPIDevice, on MicroPython's SPI and Pin."""


class _Selected:
    def __init__(self, spi):
        self._spi = spi

    def write(self, buffer, start=0, end=None):
        self._spi.write(memoryview(buffer)[start : len(buffer) if end is None else end])

    def readinto(self, buffer, start=0, end=None):
        self._spi.readinto(memoryview(buffer)[start : len(buffer) if end is None else end])


class SPIDevice:
    def __init__(self, spi, chip_select, baudrate, polarity, phase):
        spi.init(baudrate=baudrate, polarity=polarity, phase=phase)
        self._chip_select = chip_select
        self._selected = _Selected(spi)

    def __enter__(self):
        self._chip_select(0)
        return self._selected

    def __exit__(self, *_):
        self._chip_select(1)
        return False
