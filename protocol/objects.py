"""Every object of the protocol: who signs it, what it says, its exact bytes (docs/protocol.md, "Objects").

Amounts are unsigned integers in minor units. Times are Unix seconds, days are Unix days (seconds // 86400). An object's
hash is SHA-256 of its body without the signature (a Request's covers its context as well: `Request.signed_message`).
"""

from protocol.errors import DecodeError, LocalError
from protocol.layout import SIGNATURE_BYTES, Layout, SignedLayout

DAY_S = 86400

ID_BYTES = 16
KEY_BYTES = 32
HASH_BYTES = 32
NONCE_BYTES = 16
NO_HASH = bytes(HASH_BYTES)
NO_ID = bytes(ID_BYTES)

# Certificate.kind: the high nibble is the role, the low one the wallet class (1 is the best identified owner; 0 for
# others)
WALLET = 1
TERMINAL = 2
OPERATOR_PAYEE = 3  # the operator's own certified payee, which redeems
MAX_WALLET_CLASS = 4

# Request.purpose
SALE = 1
REFUND = 2
PERSON = 3
REDEEM = 4
CASH_OUT = 5

# Resolution.outcome and Closing.outcome
PAID = 1
VOID = 2

# Order.what
UNBLOCK_PIN = 1
RETIRE = 2
CLOSE_PROMPT = 3
TAKE_PIN_AWAY = 1  # Order.argument of UNBLOCK_PIN

MAX_DELTA = 40  # entries of a delta; when there would be more, its issuer makes a new complete list
MAX_REVOCATIONS = 100  # entries of one Revocations object: 2,000 bytes, which a sync chains in nine commands
REVOKED_ALTOGETHER = 0xFFFFFFFF  # the minimum issue number that no certificate reaches
MAX_LOAD_MCCS = 4


def device_id(public: bytes, sha256) -> bytes:
    """The pseudonymous id of a device: the first 16 bytes of SHA-256 of its public key."""
    return sha256(public)[:ID_BYTES]


class OperatorCertificate(SignedLayout):
    """Signed by the root: this key is that operator's, for one currency (ISO 4217 number and exponent)."""

    TYPE = 0x01
    FIELDS = (
        ("operator", 2),
        ("issue", 4),
        ("key", -KEY_BYTES),
        ("currency", 2),
        ("exponent", 1),
        ("valid_from", 2),
        ("valid_until", 2),
    )
    operator: int
    issue: int
    key: bytes
    currency: int
    exponent: int
    valid_from: int
    valid_until: int

    def fault(self):
        if self.operator == 0:
            return "operator"
        if self.currency > 999 or self.exponent > 4:
            return "currency"
        return "validity" if self.valid_from > self.valid_until else None


class Certificate(SignedLayout):
    """Signed by the operator: identity, limits and freshness of a device in one; re-issued at every sync."""

    TYPE = 0x02
    FIELDS = (
        ("operator", 2),
        ("key", -KEY_BYTES),
        ("issue", 4),
        ("kind", 1),
        ("mcc", 2),
        ("valid_from", 2),
        ("valid_until", 2),
        ("balance_limit", 4),
        ("payment_limit", 4),
        ("sum_limit", 4),
        ("record_limit", 2),
        ("days_limit", 1),
        ("no_confirm_sum", 4),
        ("in_doubt_limit", 1),
        ("epoch", 4),
        ("base_seq", 4),
    )
    operator: int
    key: bytes
    issue: int
    kind: int
    mcc: int
    valid_from: int
    valid_until: int
    balance_limit: int
    payment_limit: int
    sum_limit: int
    record_limit: int
    days_limit: int
    no_confirm_sum: int
    in_doubt_limit: int
    epoch: int
    base_seq: int

    @property
    def role(self) -> int:
        return self.kind >> 4

    @property
    def wallet_class(self) -> int:
        return self.kind & 15

    def fault(self):
        if self.operator == 0 or self.issue == 0:
            return "operator or issue"
        if self.role == WALLET:
            if not 1 <= self.wallet_class <= MAX_WALLET_CLASS:
                return "wallet class"
        elif self.role not in (TERMINAL, OPERATOR_PAYEE) or self.wallet_class:
            return "kind"
        if self.mcc > 9999 or self.valid_from > self.valid_until:
            return "mcc or validity"
        return None


class Acknowledgement(SignedLayout):
    """Signed by the operator, comes with the Certificate of that issue.

    It says what the ledger holds of this device, and the ledger's clock.
    """

    TYPE = 0x03
    FIELDS = (
        ("operator", 2),
        ("device", -ID_BYTES),
        ("issue", 4),
        ("base_seq", 4),
        ("base_hash", -HASH_BYTES),
        ("request_floor", 4),
        ("load_floor", 4),
        ("time", 4),
    )
    operator: int
    device: bytes
    issue: int
    base_seq: int
    base_hash: bytes
    request_floor: int
    load_floor: int
    time: int


class Request(SignedLayout):
    """Signed by the payee: asks for an amount, once.

    Its signature and hash also cover its context, see `signed_message`.
    """

    TYPE = 0x04
    FIELDS = (
        ("amount", 4),
        ("number", 4),
        ("random", -8),
        ("time", 4),
        ("purpose", 1),
        ("reference", -8),
        ("lot", 4),
    )
    amount: int
    number: int
    random: bytes
    time: int
    purpose: int
    reference: bytes
    lot: int

    def fault(self):
        if self.amount == 0:
            return "amount 0"
        return None if SALE <= self.purpose <= CASH_OUT else "purpose"

    def signed_message(self, payee_certificate_hash: bytes, payer_certificate_hash: bytes, currency: int) -> bytes:
        """Body, SHA-256 of the payee's Certificate, of the payer's (zeros: any payer may pay), the currency.

        None of these is on the wire.
        """
        return self.body() + payee_certificate_hash + payer_certificate_hash + currency.to_bytes(2, "big")


class Transfer(SignedLayout):
    """Signed by the payer, once committed: this amount left the payer for that payee.

    Its body is the payer's journal record.
    """

    TYPE = 0x05
    FIELDS = (
        ("seq", 4),
        ("previous", -HASH_BYTES),
        ("payer", -ID_BYTES),
        ("payee", -ID_BYTES),
        ("amount", 4),
        ("lot", 4),
        ("lot_amount", 4),
        ("request", -HASH_BYTES),
        ("number", 4),
        ("payer_issue", 4),
        ("payee_issue", 4),
        ("cumulative", 4),
    )
    seq: int
    previous: bytes
    payer: bytes
    payee: bytes
    amount: int
    lot: int
    lot_amount: int
    request: bytes
    number: int
    payer_issue: int
    payee_issue: int
    cumulative: int

    def fault(self):
        if self.amount == 0 or self.lot_amount > self.amount or self.seq == 0:
            return "amount or seq"
        if (self.lot == 0) != (self.lot_amount == 0):
            return "lot part"
        if self.cumulative < self.amount:
            return "cumulative"
        return "payer is payee" if self.payer == self.payee else None


class Receipt(SignedLayout):
    """Signed by the payee: the Transfer is credited at this position. Its body is the payee's journal record."""

    TYPE = 0x06
    FIELDS = (("seq", 4), ("previous", -HASH_BYTES), ("transfer", -HASH_BYTES))
    seq: int
    previous: bytes
    transfer: bytes

    def fault(self):
        return None if self.seq else "seq"


class Void(SignedLayout):
    """Signed by the payee: this Transfer is not credited and never will be."""

    TYPE = 0x07
    FIELDS = (("transfer", -HASH_BYTES),)
    transfer: bytes


def decode_answer(data: bytes) -> Receipt | Void:
    """What a payee answers a Transfer with. Raises `DecodeError`."""
    return (Receipt if data[:1] == bytes((Receipt.TYPE,)) else Void).decode(data)


class Resolution(SignedLayout):
    """Signed by the payer's operator: settles an in-doubt payment as a Receipt (PAID) or a Void would."""

    TYPE = 0x08
    FIELDS = (("operator", 2), ("payer", -ID_BYTES), ("transfer", -HASH_BYTES), ("outcome", 1))
    operator: int
    payer: bytes
    transfer: bytes
    outcome: int

    def fault(self):
        return None if self.outcome in (PAID, VOID) else "outcome"


class Load(SignedLayout):
    """Signed by the operator: money from an account into the device.

    `lot` 0 is plain money; else the conditions hold for the lot.
    """

    TYPE = 0x09
    FIELDS = (
        ("operator", 2),
        ("device", -ID_BYTES),
        ("number", 4),
        ("amount", 4),
        ("lot", 4),
        ("lot_valid_until", 2),
        ("lot_mccs", -2 * MAX_LOAD_MCCS),
        ("lot_payee", -ID_BYTES),
    )
    operator: int
    device: bytes
    number: int
    amount: int
    lot: int
    lot_valid_until: int
    lot_mccs: bytes
    lot_payee: bytes

    def fault(self):
        if self.number == 0 or self.amount == 0:
            return "number or amount"
        plain = self.lot_valid_until == 0 and not any(self.lot_mccs) and not any(self.lot_payee)
        if self.lot == 0:
            return None if plain else "conditions"
        mccs = [int.from_bytes(self.lot_mccs[i : i + 2], "big") for i in range(0, len(self.lot_mccs), 2)]
        used = [mcc for mcc in mccs if mcc]
        canonical = sorted(set(used)) + [0] * (MAX_LOAD_MCCS - len(used))
        return None if mccs == canonical and all([mcc <= 9999 for mcc in mccs]) else "mccs"  # ascend, unused ones last


class Revocations(SignedLayout):
    """Signed by an operator, or by the root (issuer 0): which certificates no longer count, as of an epoch.

    It lists minimum issue numbers of devices, or of operators. `predecessor` 0 is a complete list; else this is a
    delta: all that changed since the complete list of that epoch, whose body hashes to `predecessor_hash`. An entry is
    an id (an operator's is its number, big-endian, then zeros) and the lowest issue number that is still good,
    REVOKED_ALTOGETHER for none, 0 in a delta for an entry that no longer holds. Entries stand in ascending order of id,
    each id once.
    """

    TYPE = 0x0A
    FIELDS = (
        ("issuer", 2),
        ("epoch", 4),
        ("predecessor", 4),
        ("predecessor_hash", -HASH_BYTES),
        ("count", 2),
    )
    ENTRY_BYTES = ID_BYTES + 4
    issuer: int
    epoch: int
    predecessor: int
    predecessor_hash: bytes
    count: int
    entries: tuple = ()

    @classmethod
    def of(cls, entries, **values):
        """Build one from `entries`, pairs (id, minimum issue), in any order."""
        this = cls(count=len(entries), **values)
        this.entries = tuple(sorted(entries))
        if len(dict(this.entries)) != this.count:
            raise LocalError("Revocations: an id twice")
        return this

    def fault(self):
        most = MAX_DELTA if self.predecessor else MAX_REVOCATIONS
        if self.count > most or self.epoch == 0 or self.predecessor >= self.epoch:
            return "count or epoch"
        return "predecessor" if (self.predecessor == 0) != (self.predecessor_hash == NO_HASH) else None

    def body(self):
        return Layout.body(self) + b"".join([who + issue.to_bytes(4, "big") for who, issue in self.entries])

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview):
        head = cls.body_size()
        cls._check_head(data, max(len(data), head + SIGNATURE_BYTES))
        this = cls._decode_fields(data[:head])
        end = head + this.count * cls.ENTRY_BYTES
        cls._check_head(data, end + SIGNATURE_BYTES)
        entries = []
        for at in range(head, end, cls.ENTRY_BYTES):
            entry = bytes(data[at : at + ID_BYTES])
            if entries and entry <= entries[-1][0]:
                raise DecodeError("Revocations", "value")
            entries.append((entry, int.from_bytes(data[at + ID_BYTES : at + cls.ENTRY_BYTES], "big")))
        this.entries = tuple(entries)
        this.signature = bytes(data[end:])
        return this


class Statement(SignedLayout):
    """Signed by the device for one sync: where its journal stands.

    `nonce` is the ledger's, so that an old one cannot be shown again.
    """

    TYPE = 0x0B
    FIELDS = (
        ("device", -ID_BYTES),
        ("nonce", -NONCE_BYTES),
        ("seq", 4),
        ("head", -HASH_BYTES),
        ("watermark", 4),
        ("request_floor", 4),
        ("load_floor", 4),
        ("issue", 4),
        ("time", 4),
    )
    device: bytes
    nonce: bytes
    seq: int
    head: bytes
    watermark: int
    request_floor: int
    load_floor: int
    issue: int
    time: int


class Order(SignedLayout):
    """Signed by the operator: a growing number, what to do, and its argument.

    UNBLOCK_PIN with 0 gives the tries back, with TAKE_PIN_AWAY ends the PIN; RETIRE and CLOSE_PROMPT have 0.
    """

    TYPE = 0x0C
    FIELDS = (("operator", 2), ("device", -ID_BYTES), ("number", 4), ("what", 1), ("argument", 4))
    operator: int
    device: bytes
    number: int
    what: int
    argument: int

    def fault(self):
        if self.number == 0 or not UNBLOCK_PIN <= self.what <= CLOSE_PROMPT:
            return "number or order"
        return "argument" if self.argument > (self.what == UNBLOCK_PIN) else None
