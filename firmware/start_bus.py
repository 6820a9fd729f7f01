"""Opens the PN532 of a board that has it on SPI or I2C; only such boards carry this, and what it imports."""

import board
from drivers.pn532_bus import BusLine


def open_nfc(port) -> BusLine:
    """The line that `board.NFC` describes."""
    spec = board.NFC
    if spec["kind"] == "i2c":
        from drivers.pn532_i2c import I2cBus

        return BusLine(I2cBus(port.i2c(spec), port), port)
    from drivers.pn532_spi import SpiBus

    name = board.PORT + "_spi"
    open_spi = getattr(__import__("ports." + name), name).open_spi
    return BusLine(SpiBus(open_spi, spec, port), port)
