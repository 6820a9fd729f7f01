"""A device by its commands: what a host says to it and what it answers, over any link.

Knows the meaning of commands and nothing of bytes on a cable or in the air; a link is anything with
`transceive(apdu) -> response` (`SerialLink`, `NfcReader`). Raises `protocol.errors.RefusedByPeer` when the device
refuses, `UnreadableAnswer` for what is no answer, and what the link raises (`devices.errors`) when it is gone.
"""

import secrets
from collections.abc import Callable
from typing import Protocol, TypeVar

from host_tools.devices.errors import DeviceError
from protocol import apdu
from protocol.errors import DecodeError
from protocol.info import Counters, DeviceInfo
from protocol.objects import (
    Acknowledgement,
    Certificate,
    OperatorCertificate,
    Request,
    Statement,
    Transfer,
)

T = TypeVar("T")

# A chip's console keeps 259 bytes until its program takes them (MicroPython's ports/esp32/mphalport.c) and has no flow
# control: a command whose frame is no longer than that survives whatever the device is doing, and a line without a rate
# of its own, like socket://. One of 240 bytes of data has a frame of 255.
_DATA_BYTES = 240


class Link(Protocol):
    """Carries one command APDU and its response."""

    def transceive(self, apdu: bytes) -> bytes: ...

    def close(self) -> None: ...


class UnreadableAnswer(DeviceError):
    """What answers is no jiaozi device, or one of a version we do not know."""


class DeviceClient:
    """One device on one link, selected on construction."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.flags = 0
        self.epoch = 0
        self.root_epoch = 0
        self.certificate: Certificate | None = None
        self.select()

    def select(self) -> None:
        """Select the application; sets what the device says of itself.

        `flags`; `epoch` and `root_epoch`, of the revocation lists of its operator and of the root that it knows; and
        `certificate`, None on a device that is not personalised.
        """
        hello = self._read(apdu.decode_hello, self._send(apdu.select(apdu.AID)))
        self.flags, self.epoch, self.root_epoch, self.certificate = hello

    def info(self) -> DeviceInfo:
        return self._read(DeviceInfo.decode, self._command(apdu.INFO))

    def counters(self) -> Counters:
        return self._read(Counters.decode, self._command(apdu.COUNTERS))

    def generate_key(self) -> bytes:
        """The device's public key; if it has none it makes one, of its own randomness and of this computer's."""
        return self._command(apdu.GENERATE, secrets.token_bytes(32))

    def personalise(
        self, root: bytes, operator: OperatorCertificate, certificate: Certificate, acknowledgement: Acknowledgement
    ) -> None:
        """Give a new device its first certificates. Safe to repeat."""
        objects = (operator, certificate, acknowledgement)
        self._command(apdu.PERSONALISE, root + b"".join(item.encode() for item in objects))
        self.select()

    def statement(self, nonce: bytes) -> Statement:
        return self._read(Statement.decode, self._command(apdu.STATEMENT, nonce))

    def journal(self, from_seq: int, to_seq: int, progress: Callable[[int], None] | None = None) -> list[bytes]:
        """The stored records `from_seq` to `to_seq`; `progress` is told how many have come."""
        stored = []
        for seq in range(from_seq, to_seq + 1):
            stored.append(self._command(apdu.JOURNAL, seq.to_bytes(4, "big")))
            if progress is not None:
                progress(len(stored))
        return stored

    def install(self, certificate: bytes, acknowledgement: bytes) -> None:
        """Hand over a new Certificate with its Acknowledgement; the device takes both or neither."""
        self._command(apdu.INSTALL, certificate + acknowledgement)

    def put(self, signed: bytes) -> None:
        """Hand over one object of the device's operator: Load, Resolution, Revocations, OperatorCertificate, Order."""
        self._command(apdu.PUT, signed)

    def pay(self, payee: Certificate, request: Request) -> Transfer:
        """Ask for a payment, as a reader does. The Transfer may be an older one in doubt to the same payee."""
        return self._read(Transfer.decode, self._command(apdu.PAY, payee.encode() + request.encode()))

    def confirm(self, evidence: bytes) -> None:
        """Hand over a Receipt or a Void."""
        self._command(apdu.CONFIRM, evidence)

    def _command(self, ins: int, data: bytes = b"") -> bytes:
        answer = b""
        for command in apdu.chained(ins, data, _DATA_BYTES):
            answer = self._send(command)
        return answer

    def _send(self, command: bytes) -> bytes:
        """The whole response data, fetching what did not fit one response (61xx)."""
        answer = b""
        while True:
            raw = self._link.transceive(command)
            answer += self._read(apdu.parse_response, raw)
            if raw[-2] << 8 != apdu.SW_MORE:
                return answer
            if len(answer) > apdu.MAX_CHAINED_RESPONSE_BYTES:
                raise UnreadableAnswer("The device's answer does not end. Nothing was changed; it may need service.")
            command = apdu.command(apdu.GET_RESPONSE, cla=apdu.CLA_ISO)

    def _read(self, decode: Callable[[bytes], T], data: bytes) -> T:
        try:
            return decode(data)
        except DecodeError as error:
            raise UnreadableAnswer(
                f"What answers is no jiaozi device, or of another version ({error}). Nothing was changed."
            ) from error
