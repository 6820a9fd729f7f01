"""One device as a party of payments: its purse, whom it trusts, its crypto and its clock.

Payer, payee and sync work on it.
"""

from protocol import limits
from protocol.errors import NOT_PERSONALISED, Refused
from protocol.objects import DAY_S, Certificate, Request, device_id
from protocol.purse import Purse


class Party:
    """The keys, the state and the means of one device.

    `sign(message)`, `verify(public, message, signature)` and `sha256(data)` are passed in; `clock()` is a lower bound
    in Unix seconds.

    `trust` is the `Trust` it has since it was personalised, None before. `keep_alive()` is called between long
    computations, for a card that has to ask its reader for more time.
    """

    def __init__(self, public_key: bytes, purse: Purse, trust, sha256, sign, verify, clock, keep_alive=None):
        self.public_key = public_key
        self.id = device_id(public_key, sha256)
        self.purse = purse
        self.trust = trust
        self.sha256 = sha256
        self.sign = sign
        self.verify = verify
        self.clock = clock
        self.keep_alive = keep_alive or _no_hurry

    @property
    def certificate(self) -> Certificate:
        """The installed Certificate. Raises `Refused(NOT_PERSONALISED)`."""
        if self.trust is None or self.purse.certificate is None:
            raise Refused(NOT_PERSONALISED)
        return self.purse.certificate

    @property
    def currency(self) -> int:
        return self.trust.own.currency

    def certificate_hash(self, certificate: Certificate) -> bytes:
        return self.sha256(certificate.body())

    def judge(self, certificate: Certificate) -> None:
        """The cheap rules for a peer's certificate. Raises `Refused`."""
        self.trust.judge(certificate, self.clock())

    def check_days(self, payer: Certificate) -> None:
        """A payer must not be too long without a sync, by the latest day we know: at least our own Certificate's first.

        Raises `Refused`.
        """
        limits.check_days(payer, max(self.clock() // DAY_S, self.certificate.valid_from))

    def check_signature(self, certificate: Certificate) -> None:
        self.trust.check_signature(certificate)
        self.keep_alive()

    def request_message(self, request: Request, payee_certificate_hash: bytes, payer_certificate_hash: bytes) -> bytes:
        """What a Request's signature and hash cover."""
        return request.signed_message(payee_certificate_hash, payer_certificate_hash, self.currency)


def _no_hurry() -> None:
    pass
