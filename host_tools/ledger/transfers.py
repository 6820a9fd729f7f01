"""Where the money of each Transfer is. The one place that moves it.

What is learnt of a Transfer only ever adds up, in whatever order it arrives: the payer's journal has it, the payee
signed a Receipt, the payee signed a Void or a watermark above it, the credit was refused. From these facts alone
follows which account holds the money, and `place` moves it there from wherever it was. That makes settlement
idempotent and the order of syncs irrelevant:

    voided                      the payer's purse (a Void beats a claim)
    claimed and refused         suspense, for people to decide
    claimed                     the payee's purse; for an operator's own payee the payer's account
    in the payer's journal      pending; after the deadline the payee's account
"""

from sqlalchemy import Connection, Row, select, update

from host_tools.crypto import sha256
from host_tools.ledger import books, registry
from host_tools.ledger.evidence import commit_to, freeze
from host_tools.ledger.revocation import minimum_issue
from host_tools.ledger.schema import devices, redemptions, transfers
from protocol.errors import Refused, name_of
from protocol.limits import check_visible
from protocol.objects import OPERATOR_PAYEE, Receipt, Statement, Transfer

# transfers.state
KNOWN = "known"  # signed by the payer, neither side's journal has shown it
PENDING = "pending"
POSTED = "posted"
VOID = "void"
REFUSED = "refused"

# redemptions.state
CREDITED_REQUEST = "credited"  # for one Transfer, and for no other
CLOSED_REQUEST = "closed"  # nothing can be credited for it


def find(connection: Connection, transfer_hash: bytes) -> Row | None:
    return connection.execute(select(transfers).where(transfers.c.hash == transfer_hash)).one_or_none()


def learn(connection: Connection, transfer: Transfer, now: int) -> bytes:
    """Remember a Transfer whose signature was checked and whose payer is registered; nothing moves yet.

    Returns its hash.
    """
    transfer_hash = sha256(transfer.body())
    if find(connection, transfer_hash) is None:
        payer = registry.device(connection, transfer.payer)
        _check_cumulative(connection, transfer, now)
        connection.execute(
            transfers.insert().values(
                hash=transfer_hash,
                payer=transfer.payer,
                payee=transfer.payee,
                seq=transfer.seq,
                number=transfer.number,
                amount=transfer.amount,
                transfer=transfer.encode(),
                debited=False,
                closed=False,
                credited=False,
                defaulted=False,
                state=KNOWN,
                held_by=payer.purse,
            )
        )
    commit_to(connection, transfer.payer, transfer.seq, transfer_hash, transfer.previous, transfer.encode(), now)
    return transfer_hash


def _check_cumulative(connection: Connection, transfer: Transfer, now: int) -> None:
    """On one base the cumulative amount grows by every Transfer.

    One that does not hides what was spent: a fraud proof.
    """
    of_payer = select(transfers.c.transfer).where(transfers.c.payer == transfer.payer)
    before = of_payer.where(transfers.c.seq < transfer.seq).order_by(transfers.c.seq.desc()).limit(1)
    after = of_payer.where(transfers.c.seq > transfer.seq).order_by(transfers.c.seq).limit(1)
    for query in (before, after):
        found = connection.execute(query).scalar_one_or_none()
        if found is None:
            continue
        pair = sorted((transfer, Transfer.decode(found)), key=lambda one: one.seq)
        same_base = pair[0].payer_issue == pair[1].payer_issue
        if same_base and pair[1].cumulative < pair[0].cumulative + pair[1].amount:
            proofs = [one.encode() for one in pair]
            freeze(connection, transfer.payer, "its cumulative amount does not grow", proofs[0], proofs[1], now)


def debit(connection: Connection, transfer: Transfer, payee_key: bytes, now: int) -> None:
    """The payer's journal has it. `payee_key` is the key whose hash the Transfer names."""
    transfer_hash = learn(connection, transfer, now)
    _know(connection, transfer_hash, debited=True, payee_key=payee_key)
    place(connection, transfer_hash, now)


def claim(connection: Connection, receipt: Receipt, transfer: Transfer, in_journal: bool, now: int) -> str | None:
    """The payee's Receipt, from its own journal or from the payer's. Both signatures were checked.

    Returns why it is refused, or None.
    """
    transfer_hash = learn(connection, transfer, now)
    signed = receipt.encode()
    registered = registry.find_device(connection, transfer.payee) is not None
    if registered:
        commit_to(connection, transfer.payee, receipt.seq, sha256(receipt.body()), receipt.previous, signed, now)
    known = _row(connection, transfer_hash)
    if known.receipt is None:
        _know(connection, transfer_hash, receipt=signed, refusal=refusal_of(connection, transfer))
    elif known.receipt != signed and registered:
        freeze(connection, transfer.payee, "one Transfer credited twice", known.receipt, signed, now)
    if in_journal:
        _know(connection, transfer_hash, credited=True)
    place(connection, transfer_hash, now)
    known = _row(connection, transfer_hash)
    if known.state == VOID:
        return "the payee has voided this Transfer"
    return known.refusal


def void(connection: Connection, transfer_hash: bytes, proof: bytes, now: int) -> None:
    """The payee's Void of a known Transfer (its signature was checked)."""
    if _row(connection, transfer_hash).void is None:
        _know(connection, transfer_hash, void=proof)
    place(connection, transfer_hash, now)


def close(connection: Connection, transfer_hash: bytes) -> None:
    """The payer's journal says how it ended: no Resolution is needed."""
    _know(connection, transfer_hash, closed=True)


def below_watermark(connection: Connection, payee: bytes, now: int) -> None:
    """The payee's watermark has moved: what it does not credit below is void."""
    watermark = registry.device(connection, payee).watermark
    open_ones = select(transfers.c.hash).where(
        transfers.c.payee == payee,
        transfers.c.number < watermark,
        transfers.c.credited.is_(False),
        transfers.c.void.is_(None),
    )
    for transfer_hash in connection.execute(open_ones).scalars().all():
        place(connection, transfer_hash, now)


def request_closed(connection: Connection, payee: bytes, number: int, now: int) -> None:
    """A Request of the ledger's own payee can no longer be credited: what was paid on it is void."""
    paid = select(transfers.c.hash).where(
        transfers.c.payee == payee, transfers.c.number == number, transfers.c.credited.is_(False)
    )
    for transfer_hash in connection.execute(paid).scalars().all():
        place(connection, transfer_hash, now)


def default_overdue(connection: Connection, payee: bytes, now: int) -> int:
    """Nobody said in time how the pending Transfers to this payee ended: they are booked to its account.

    Returns how many.
    """
    overdue = select(transfers.c.hash).where(
        transfers.c.payee == payee, transfers.c.state == PENDING, transfers.c.defaulted.is_(False)
    )
    hashes = connection.execute(overdue).scalars().all()
    for transfer_hash in hashes:
        _know(connection, transfer_hash, defaulted=True)
        place(connection, transfer_hash, now)
    return len(hashes)


def paid_by_frozen(connection: Connection, payee: bytes) -> bool:
    """Whether money of a frozen payer was posted to this payee."""
    theirs = (
        select(transfers.c.hash)
        .join(devices, transfers.c.payer == devices.c.id)
        .where(transfers.c.payee == payee, transfers.c.state == POSTED, devices.c.frozen.is_not(None))
    )
    return connection.execute(theirs.limit(1)).first() is not None


def place(connection: Connection, transfer_hash: bytes, now: int) -> None:
    """Move the money to the account that follows from what is known."""
    row = _row(connection, transfer_hash)
    payer = registry.device(connection, row.payer)
    payee = registry.find_device(connection, row.payee)
    if row.void is None and not row.credited:
        proof = _unspoken_void(connection, row, payee)
        if proof is not None:
            _know(connection, transfer_hash, void=proof)
            row = _row(connection, transfer_hash)
    state, holder = _holder(connection, row, payer, payee)
    if holder != row.held_by:
        books.move(connection, row.held_by, holder, row.amount, f"transfer {state}", transfer_hash, now)
    _know(connection, transfer_hash, state=state, held_by=holder)
    if row.void is not None and row.receipt is not None and payee is not None:
        freeze(connection, row.payee, "claimed and voided one Transfer", row.receipt, row.void, now)


def _holder(connection: Connection, row: Row, payer: Row, payee: Row | None) -> tuple[str, int]:
    if row.void is not None:
        return VOID, payer.purse
    if row.receipt is not None and (row.refusal is not None or payee is None):
        return REFUSED, books.operator_account(connection, books.SUSPENSE, payer.operator)
    if row.receipt is not None and payee is not None:
        return POSTED, payer.account if payee.kind >> 4 == OPERATOR_PAYEE else payee.purse
    if row.defaulted and payee is not None:
        return PENDING, payee.account
    if row.debited:
        return PENDING, books.operator_account(connection, books.PENDING, payer.operator)
    return KNOWN, payer.purse


def _unspoken_void(connection: Connection, row: Row, payee: Row | None) -> bytes | None:
    """The proof that a Transfer is void though no Void names it: a watermark above it, or our own Request.

    That one pays nothing any more, or has paid for another Transfer, or was made out to another device.
    """
    if payee is None:
        return None
    if payee.statement is not None and row.number < Statement.decode(payee.statement).watermark:
        return payee.statement
    ours = select(redemptions.c.number).where(
        redemptions.c.payee == payee.id,
        redemptions.c.number == row.number,
        (redemptions.c.state == CLOSED_REQUEST)
        | ((redemptions.c.state == CREDITED_REQUEST) & (redemptions.c.transfer != row.hash))
        | (redemptions.c.device != row.payer),
    )
    return b"" if connection.execute(ours).first() else None


def refusal_of(connection: Connection, transfer: Transfer) -> str | None:
    """Why a claim is not posted: only what the bound Certificates or the Transfer show, so honest payees are paid."""
    payer = registry.device(connection, transfer.payer)
    payee = registry.find_device(connection, transfer.payee)
    if payee is None:
        return "the payee is not registered"
    paying = registry.certificate_of(connection, payer.id, transfer.payer_issue)
    paid = registry.certificate_of(connection, payee.id, transfer.payee_issue)
    if paying is None or paid is None:
        return "it names a Certificate that the ledger did not issue"
    redeeming = payee.kind >> 4 == OPERATOR_PAYEE
    if transfer.lot:
        return "lots are not settled"
    if transfer.payer_issue < minimum_issue(connection, payee.operator, paid[0].epoch, payer.id):
        return "the payer was revoked, and the payee's Certificate says so"
    if paying[0].valid_until < paid[0].valid_from:
        return "the payer's Certificate expired before the payee's began"
    try:
        check_visible(transfer, paying[0], paid[0], redeeming)
    except Refused as refusal:
        return name_of(refusal.cause)
    return None


def _row(connection: Connection, transfer_hash: bytes) -> Row:
    return connection.execute(select(transfers).where(transfers.c.hash == transfer_hash)).one()


def _know(connection: Connection, transfer_hash: bytes, **facts) -> None:
    connection.execute(update(transfers).where(transfers.c.hash == transfer_hash).values(**facts))
