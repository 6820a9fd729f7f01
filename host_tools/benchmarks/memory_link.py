"""A link to a device that lives in this process: what a cable and a tap are to others."""

from typing import Protocol

from protocol.card import Card


class Device(Protocol):
    card: Card


class Memory:
    """A `devices.Link`."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def transceive(self, apdu: bytes) -> bytes:
        answer = self._device.card.process(apdu)
        self._device.card.after()
        return answer

    def close(self) -> None:
        pass
