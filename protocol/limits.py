"""Limits: the defaults an operator issues, and the checks that payer, payee and ledger make with the same code.

Every limit stands in the Certificate. The table below is the one place where defaults live; docs/protocol.md shows it.
`purse` is a `protocol.purse.Purse`, which builds on this module's limits.
"""

from protocol.errors import (
    BALANCE_LIMIT,
    IN_DOUBT_FULL,
    INSUFFICIENT_BALANCE,
    MISMATCH,
    OVER_PAYMENT_LIMIT,
    OVER_SUM_LIMIT,
    TOO_LONG_OFFLINE,
    TOO_MANY_RECORDS,
    Refused,
)
from protocol.objects import DAY_S, OPERATOR_PAYEE, TERMINAL, WALLET, Certificate, Transfer

# Certificate.kind: (balance, payment, sum since base, records since base, days since base, sum without confirmation,
# in doubt)
DEFAULT_LIMITS = {
    WALLET << 4 | 1: (5_000_000, 2_000_000, 5_000_000, 500, 60, 100_000, 4),
    WALLET << 4 | 2: (2_000_000, 500_000, 2_000_000, 500, 60, 50_000, 4),
    WALLET << 4 | 3: (500_000, 200_000, 500_000, 300, 30, 30_000, 4),
    WALLET << 4 | 4: (100_000, 50_000, 100_000, 200, 30, 20_000, 4),
    TERMINAL << 4: (100_000_000, 5_000_000, 20_000_000, 5_000, 30, 0, 8),
    OPERATOR_PAYEE << 4: (4_294_967_295, 0, 0, 65_535, 255, 0, 0),
}
LIMIT_FIELDS = (
    "balance_limit",
    "payment_limit",
    "sum_limit",
    "record_limit",
    "days_limit",
    "no_confirm_sum",
    "in_doubt_limit",
)

MAX_IN_DOUBT = 8  # slots a device keeps; an installation record carries all of them
APPROVAL_S = 60  # how long a confirmation on the device counts
REQUEST_BLOCK = 256  # request numbers reserved by one settings write
REQUESTS_LOW = 64  # fewer than that left: the next block is reserved while nobody waits
CERTIFICATE_DAYS = 90  # validity of a Certificate
GRACE_DAYS = 30  # after the last expiry, before the ledger books what nobody settled


def default_limits(kind: int) -> dict:
    """The limit fields of a Certificate of this kind."""
    return dict(zip(LIMIT_FIELDS, DEFAULT_LIMITS[kind]))


def check_payment(purse, certificate: Certificate, amount: int, now: int) -> None:
    """May a device with this purse and Certificate pay `amount` at lower-bound time `now`?

    Raises `Refused`; changes nothing.
    """
    if amount > certificate.payment_limit:
        raise Refused(OVER_PAYMENT_LIMIT)
    if purse.cumulative + amount > certificate.sum_limit:
        raise Refused(OVER_SUM_LIMIT)
    check_days(certificate, now // DAY_S)
    check_funds(purse, certificate, amount)


def check_days(certificate: Certificate, day: int) -> None:
    """May a payer with this Certificate still pay on `day`, a lower bound? Not asked of redemptions.

    Raises `Refused(TOO_LONG_OFFLINE)`.
    """
    if day > certificate.valid_from + certificate.days_limit:
        raise Refused(TOO_LONG_OFFLINE)


def check_funds(purse, certificate: Certificate, amount: int) -> None:
    """What even a redemption needs: money, a journal position under the Certificate, a free in-doubt slot."""
    if purse.cumulative + amount >= 1 << 32:
        raise Refused(OVER_SUM_LIMIT)
    if purse.head_seq + 1 > certificate.base_seq + certificate.record_limit:
        raise Refused(TOO_MANY_RECORDS)
    if amount > purse.balance:
        raise Refused(INSUFFICIENT_BALANCE)
    if len(purse.in_doubt) >= MAX_IN_DOUBT:
        raise Refused(IN_DOUBT_FULL)


def needs_confirmation(purse, certificate: Certificate, amount: int) -> bool:
    """Above the no-confirm sum since the last confirmation, or with full in-doubt slots.

    What is in doubt is included in that sum, since debits count at once.
    """
    return purse.unconfirmed + amount > certificate.no_confirm_sum or len(purse.in_doubt) >= certificate.in_doubt_limit


def check_headroom(purse, certificate: Certificate, amount: int) -> None:
    """May a device accept `amount` more? In-doubt sums count, since they may come back.

    Raises `Refused(BALANCE_LIMIT)`.
    """
    if purse.balance + purse.in_doubt_sum + amount > certificate.balance_limit:
        raise Refused(BALANCE_LIMIT)


def check_visible(transfer: Transfer, payer: Certificate, payee: Certificate, redeeming: bool) -> None:
    """What a payee and the ledger can see of a payer's limits in the Transfer itself. Raises `Refused`.

    `payer` and `payee` are the Certificates that were exchanged. A redemption is bounded by its purse only: it ends in
    the owner's account.
    """
    if transfer.payer_issue != payer.issue or transfer.payee_issue != payee.issue:
        raise Refused(MISMATCH)
    if not payer.base_seq < transfer.seq <= payer.base_seq + payer.record_limit:
        raise Refused(TOO_MANY_RECORDS)
    if redeeming:
        return
    if transfer.amount > payer.payment_limit:
        raise Refused(OVER_PAYMENT_LIMIT)
    if transfer.cumulative > payer.sum_limit:
        raise Refused(OVER_SUM_LIMIT)
