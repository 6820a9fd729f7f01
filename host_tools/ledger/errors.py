"""Why the ledger did not do what was asked.

Every message says what happened, whether money moved and what to do next. An error always leaves the books as they
were: each call is one database transaction, and raising rolls it back. `OutcomeUnknown` alone says that nobody knows.
"""


class LedgerError(Exception):
    """Root of this layer. `what` happened and `advice` are sentences without a full stop."""

    def __init__(self, what: str, advice: str):
        super().__init__(f"{what}. No money moved. {advice}.")
        self.what, self.advice = what, advice


class LedgerMissing(LedgerError):
    """There is no ledger at this URL."""


class LedgerExists(LedgerError):
    """There is a ledger at this URL already."""


class LedgerUnavailable(LedgerError):
    """The database cannot be reached or written, or another program holds it for too long."""


class OutcomeUnknown(LedgerError):
    """The database went away while it committed. `advice` says how to find out whether money moved."""

    def __init__(self, what: str, advice: str):
        Exception.__init__(self, f"{what}. Nobody knows whether money moved. {advice}.")
        self.what, self.advice = what, advice


class NotALedger(LedgerError):
    """What is at this URL is no ledger, or one of another version."""


class InvalidInput(LedgerError):
    """A value that no object can carry."""


class UnknownOperator(LedgerError):
    """No such operator is registered, or its certificate is not valid today."""


class UnknownAccount(LedgerError):
    """No such customer account, or it is another operator's."""


class UnknownDevice(LedgerError):
    """No device with this id is registered."""


class AlreadyRegistered(LedgerError):
    """This key, root or operator is registered otherwise."""


class WrongSigner(LedgerError):
    """The key that should sign is not the one the ledger knows for this party."""


class BadSignature(LedgerError):
    """An object's signature is not its signer's, or its bytes are no such object."""


class InsufficientFunds(LedgerError):
    """The account or purse holds less than the amount."""


class IssuedMeanwhile(LedgerError):
    """Another sum has been issued than the caller believes: somebody else issued, or this very call did its work."""


class UnknownNonce(LedgerError):
    """The Statement answers no nonce of this ledger, or one that was used for another Statement."""


class DeviceFrozen(LedgerError):
    """The device is frozen, for fraud or because its funding never came: nothing is signed for it any more."""


class DeviceRevoked(LedgerError):
    """The device's operator has revoked it: it gets no Certificates and Loads, and cannot redeem."""


class NotRedeemable(LedgerError):
    """Money that is in the purse and does not leave it for the account now; `free` minor units of it do."""

    def __init__(self, what: str, advice: str, free: int):
        super().__init__(what, advice)
        self.free = free


class Disputed(NotRedeemable):
    """The device took more of frozen payers' money than any honest device can."""


class HeldBack(NotRedeemable):
    """A new terminal's takings that the payers have not confirmed yet: they are redeemed later."""


class NotProven(LedgerError):
    """What was brought as a fraud proof proves no fraud under this ledger's root key."""


class UnknownTransfer(LedgerError):
    """The ledger knows of no such payment."""


class NotToDecide(LedgerError):
    """The payment is not in suspense, or people have decided it otherwise; or the device is not in dispute."""


class UnknownRequest(LedgerError):
    """The Transfer answers no Request of the ledger's own payee."""


class UnknownLoad(LedgerError):
    """No such load is outstanding."""


class BooksBroken(LedgerError):
    """The books do not balance or hold what was never written: a defect of the ledger or a changed database."""
