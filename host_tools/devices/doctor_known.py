"""What `doctor` knows by its USB numbers: adapters and chips that boards hang on, kernel drivers that take readers.

Tables only. The NFC readers are nfcpy's own table (`nfc.clf.device.usb_device_map`): what it cannot drive is no reader
to us.
"""

from typing import NamedTuple

UsbIds = tuple[int, int]  # vendor, product

ESPRESSIF = 0x303A
ACS = 0x072F  # makes readers and nothing else


class Adapter(NamedTuple):
    """What makes a serial port out of a USB plug, and Linux's module for it."""

    title: str
    module: str


ADAPTERS: dict[UsbIds, Adapter] = {
    (0x10C4, 0xEA60): Adapter("CP210x", "cp210x"),
    (0x10C4, 0xEA70): Adapter("CP2105", "cp210x"),
    (0x10C4, 0xEA71): Adapter("CP2108", "cp210x"),
    (0x1A86, 0x5523): Adapter("CH341", "ch341"),
    (0x1A86, 0x7522): Adapter("CH340", "ch341"),
    (0x1A86, 0x7523): Adapter("CH340", "ch341"),
    (0x1A86, 0x55D2): Adapter("CH342", "cdc_acm"),
    (0x1A86, 0x55D3): Adapter("CH343", "cdc_acm"),
    (0x1A86, 0x55D4): Adapter("CH9102", "cdc_acm"),
    (0x0403, 0x6001): Adapter("FT232R", "ftdi_sio"),
    (0x0403, 0x6010): Adapter("FT2232", "ftdi_sio"),
    (0x0403, 0x6011): Adapter("FT4232", "ftdi_sio"),
    (0x0403, 0x6014): Adapter("FT232H", "ftdi_sio"),
    (0x0403, 0x6015): Adapter("FT230X", "ftdi_sio"),
    (0x067B, 0x2303): Adapter("PL2303", "pl2303"),
    (0x067B, 0x23A3): Adapter("PL2303GS", "pl2303"),
    (ESPRESSIF, 0x1001): Adapter("USB-Serial-JTAG of the chip", "cdc_acm"),
    (ESPRESSIF, 0x1002): Adapter("ESP USB bridge", "cdc_acm"),
}
# A chip in its boot loader shows its image number as product on its own USB (esptool, `uses_usb_otg`): it says there
# what the text does on a UART.
BOOT_LOADERS: dict[UsbIds, str] = {(ESPRESSIF, 0x0002): "ESP32-S2", (ESPRESSIF, 0x0009): "ESP32-S3"}

# Modules of Linux's own NFC subsystem; nfcpy needs the reader for itself.
NFC_MODULES = ("pn533_usb", "pn533", "port100", "nfc")


def adapter(ids: UsbIds | None) -> Adapter | None:
    """The adapter of these numbers; everything of Espressif's is a board."""
    if ids is None:
        return None
    if ids in BOOT_LOADERS:
        return Adapter(BOOT_LOADERS[ids], "cdc_acm")
    known = ADAPTERS.get(ids)
    if known is None and ids[0] == ESPRESSIF:
        return Adapter("USB of an Espressif chip", "cdc_acm")
    return known
