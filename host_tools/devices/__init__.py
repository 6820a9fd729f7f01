"""Links to a device: they move APDUs there and back, and know nothing of what an APDU says."""

from typing import Protocol


class Link(Protocol):
    """What a cable (`serial_link.SerialLink`) and a tap (`nfc_reader.NfcReader`) have in common."""

    def transceive(self, apdu: bytes) -> bytes:
        """The response APDU (data and status word). Raises a `devices.errors.DeviceError`; see there what each one
        means.
        """
        ...

    def close(self) -> None:
        """Gives port or reader back; may be called again."""
        ...
