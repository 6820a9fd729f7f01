"""What a carrier needs of a ledger, whether it is `Ledger` itself or one behind a service."""

from typing import Protocol, TypeVar

from host_tools.ledger.answer import Settlement
from protocol.objects import Acknowledgement, Certificate, Load, OperatorCertificate, Order, Request

_Key = TypeVar("_Key", contravariant=True)


class SyncLedger(Protocol[_Key]):
    """What a sync needs of a ledger. `_Key` is an operator's `Signer` for `Ledger`; None for a ledger behind a service,
    which has the keys itself (`server.client.RemoteLedger`).
    """

    def begin_sync(self, device: bytes, now: int) -> tuple[bytes, int]: ...

    def operator_certificate(self, operator: int) -> OperatorCertificate: ...

    def settle(self, signer: _Key, statement: bytes, records: list[bytes], now: int) -> Settlement: ...


class CarrierLedger(SyncLedger[_Key], Protocol[_Key]):
    """What personalising, loading, redeeming and ordering need as well."""

    def root_key(self) -> bytes: ...

    def register_device(
        self, signer: _Key, operator: int, public_key: bytes, kind: int, mcc: int, account: int, name: str, now: int
    ) -> tuple[Certificate, Acknowledgement]: ...

    def order(self, signer: _Key, device: bytes, what: int, argument: int, now: int) -> Order: ...

    def device(self, device: bytes) -> dict: ...

    def loads(self, device: bytes) -> list[dict]: ...

    def order_load(self, signer: _Key, device: bytes, amount: int, now: int) -> Load: ...

    def open_redemption(
        self, signer: _Key, payee_signer: _Key, device: bytes, amount: int, now: int
    ) -> tuple[Certificate, Request]: ...

    def take_redemption(self, payee_signer: _Key, transfer: bytes, now: int) -> bytes: ...

    def balance(self, account: int) -> int: ...
