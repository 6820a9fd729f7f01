"""SPI of the ESP32 family on stock MicroPython; only boards with a part on SPI carry it."""

import machine


def open_spi(spec: dict, mode: int, lsb_first: bool) -> tuple[machine.SPI, machine.Pin]:
    """The bus, and the pin that selects the part, which is low when it does.

    `spec`: `{"id": 2, "sck": 18, "mosi": 19, "miso": 35, "cs": 16, "frequency_hz": 1000000}`. `mode` is SPI's 0 to 3.
    """
    pin = machine.Pin
    spi = machine.SPI(
        spec["id"],
        baudrate=spec["frequency_hz"],
        polarity=mode >> 1,
        phase=mode & 1,
        firstbit=machine.SPI.LSB if lsb_first else machine.SPI.MSB,
        sck=pin(spec["sck"]),
        mosi=pin(spec["mosi"]),
        miso=pin(spec["miso"]),
    )
    return spi, pin(spec["cs"], pin.OUT, value=1)
