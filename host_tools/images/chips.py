"""What the chips' data sheets say: pins, buses, flash, and how Espressif's own tools call them.

Sections of the data sheets (Espressif): pins from "Pin Overview" and "IO Pins", strapping from "Boot Configurations"
("Strapping Pins" in older issues), buses from "Peripherals", the console from "Pins for USB" and UART 0's defaults.
"""

from dataclasses import dataclass

MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Chip:
    """One chip; a host's process is one too, without pins."""

    title: str
    port: str
    pins: frozenset[int] = frozenset()
    input_only: frozenset[int] = frozenset()  # these have no pull-ups either
    strapping: frozenset[int] = frozenset()  # sampled at reset: a part wired to one can keep the chip from booting
    flash: frozenset[int] = frozenset()  # the memories' own lines, or what can be
    console: frozenset[int] = frozenset()  # the line to the host
    uarts: int = 0
    i2cs: int = 0
    spis: tuple[int, ...] = ()  # numbers that MicroPython's machine.SPI knows; the flash has one of its own
    architectures: tuple[str, ...] = ()
    clock_hz: int | None = None  # the fastest; MicroPython starts some chips slower
    flash_sizes: tuple[int, ...] = ()  # bytes: what modules with this chip are sold with, and MicroPython fits into
    bootloader_offset_bytes: int | None = None  # where its ROM looks for a second stage (ESP-IDF, "Bootloader")
    esptool_name: str | None = None
    image_chip_id: int | None = None  # in an image's extended header (ESP-IDF, "App Image Format": esp_chip_id_t)


CHIPS = {
    "unix": Chip("unix port", "unix", architectures=("x64",)),
    # ESP32 Series Datasheet, 2.2 Pin Overview and 3 Boot Configurations; GPIO 20 is not on any module, 6-11 are the
    # modules' flash. ESP32-WROOM-32E Datasheet, 1.2 Series Comparison: 4, 8 and 16 MB.
    "esp32": Chip(
        "ESP32",
        "esp32",
        pins=frozenset([*range(20), 21, 22, 23, 25, 26, 27, *range(32, 40)]),
        input_only=frozenset(range(34, 40)),
        strapping=frozenset({0, 2, 5, 12, 15}),
        flash=frozenset(range(6, 12)),
        console=frozenset({1, 3}),
        uarts=3,
        i2cs=2,
        spis=(1, 2),
        architectures=("xtensawin",),
        clock_hz=240_000_000,
        flash_sizes=(4 * MEGABYTE, 8 * MEGABYTE, 16 * MEGABYTE),
        bootloader_offset_bytes=0x1000,
        esptool_name="esp32",
        image_chip_id=0,
    ),
    # ESP32-S3 Series Datasheet, 2.2 Pin Overview, 2.3 IO Pins and 3 Boot Configurations: there is no GPIO 22-25;
    # 26-32 are flash and PSRAM, 33-37 too where one of them is octal; 19 and 20 USB, 43 and 44 UART 0. Modules
    # with octal flash (32 MB) need another image. ESP32-S3-WROOM-1 Datasheet, 1.2: 4, 8 and 16 MB.
    "esp32s3": Chip(
        "ESP32-S3",
        "esp32",
        pins=frozenset([*range(22), *range(26, 49)]),
        strapping=frozenset({0, 3, 45, 46}),
        flash=frozenset(range(26, 38)),
        console=frozenset({19, 20, 43, 44}),
        uarts=3,
        i2cs=2,
        spis=(1, 2),
        architectures=("xtensawin",),
        clock_hz=240_000_000,
        flash_sizes=(4 * MEGABYTE, 8 * MEGABYTE, 16 * MEGABYTE),
        bootloader_offset_bytes=0,
        esptool_name="esp32s3",
        image_chip_id=9,
    ),
    # ESP32-C3 Series Datasheet, the same sections; GPIO 11 is VDD_SPI, 12-17 the flash, 18 and 19 USB, 20 and 21
    # UART 0. ESP32-C3-WROOM-02 Datasheet, 1.1: flash up to 16 MB; in the chip itself: 4 MB.
    "esp32c3": Chip(
        "ESP32-C3",
        "esp32",
        pins=frozenset(range(22)),
        strapping=frozenset({2, 8, 9}),
        flash=frozenset(range(11, 18)),
        console=frozenset({18, 19, 20, 21}),
        uarts=2,
        i2cs=1,
        spis=(1,),
        architectures=("rv32imc",),
        clock_hz=160_000_000,
        flash_sizes=(4 * MEGABYTE, 8 * MEGABYTE, 16 * MEGABYTE),
        bootloader_offset_bytes=0,
        esptool_name="esp32c3",
        image_chip_id=5,
    ),
}
