"""Where the money of each Transfer is. The one place that moves it.

What is learnt of a Transfer only ever adds up, in whatever order it arrives: the payer's journal has it, the payee
signed a Receipt, the payee signed a Void or a watermark above it, the credit was refused, people decided. From these
facts alone follows which account holds the money, and `place` moves it there from wherever it was. That makes
settlement idempotent and the order of syncs irrelevant:

    claimed, and the payer's journal has shown it as paid: the payee's purse, whatever Void comes then
    voided                      the payer's purse (a Void beats a claim, and a decision)
    decided for the payer       the payer's purse
    claimed and refused         suspense, unless people have decided for the payee
    claimed                     the payee's purse; for an operator's own payee the payer's account
    in the payer's journal      pending; after the deadline the payee's purse, from which `deadlines` passes it on
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Row, func, or_, select, text, update

from host_tools.crypto import sha256
from host_tools.ledger import books, bulk, registry
from host_tools.ledger.evidence import (
    CUMULATIVE,
    LEAVES_OUT_SOME,
    RECEIPT_AND_VOID,
    Commitment,
    accuse,
    freeze,
    keep,
    raise_shown,
    torn,
)
from host_tools.ledger.guarantee import cover, fraudulent, take_back, watched
from host_tools.ledger.revocation import surely_revoked
from host_tools.ledger.schema import (
    DEBITED,
    FOR_EVER,
    UNCREDITED,
    UNSETTLED,
    certificates,
    devices,
    from_frozen,
    redemptions,
    transfers,
)
from protocol.errors import Refused, name_of
from protocol.limits import GRACE_DAYS, check_days, check_visible
from protocol.objects import OPERATOR_PAYEE, PAID, Receipt, Statement, Transfer, Void

# transfers.state
KNOWN = "known"  # signed by the payer, neither side's journal has shown it
PENDING = "pending"
POSTED = "posted"
VOID = "void"
REFUSED = "refused"
RETURNED = "returned"  # refused, and people decided that it is the payer's

REASONS = {state: f"transfer {state}" for state in (KNOWN, PENDING, POSTED, VOID, REFUSED, RETURNED)}  # of postings

# Where a Transfer's bytes name its payee's Certificate, counted from 1 as SQL does.
_PAYEE_ISSUE_AT = 1 + Transfer.body_size() - 8

# transfers.decided
FOR_PAYEE = "payee"
FOR_PAYER = "payer"

# devices.frozen
FALLS = "its cumulative amount does not grow"
CLAIMED_AND_VOIDED = "claimed and voided one Transfer"
LEFT_OUT = "its cumulative amount leaves out what it paid before"
LEFT_OUT_SOME = "its cumulative amount leaves out some of what it paid before"

OUTDATED = "it names a Certificate that the payee had replaced"
UNREGISTERED = "the payee is not registered"

# redemptions.state
CREDITED_REQUEST = "credited"  # for one Transfer, and for no other
CLOSED_REQUEST = "closed"  # nothing can be credited for it


class Key(NamedTuple):
    """Which row a Transfer has. The hash says it all; the rest is where to look."""

    payer: bytes
    seq: int
    hash: bytes


_KEY = (transfers.c.payer, transfers.c.seq, transfers.c.hash)
_OPEN = select(transfers.c.payee, transfers.c.number, *_KEY).where(text(UNCREDITED), transfers.c.void.is_(None))


def key_of(transfer: Transfer) -> Key:
    return Key(transfer.payer, transfer.seq, sha256(transfer.body()))


def find(connection: Connection, key: Key) -> Row | None:
    return connection.execute(select(transfers).where(*_is(key))).one_or_none()


def find_of(connection: Connection, payer: bytes, transfer_hash: bytes) -> Row | None:
    """One of this payer's, wherever it lies among them."""
    wanted = select(transfers).where(transfers.c.payer == payer, transfers.c.hash == transfer_hash)
    return connection.execute(wanted).one_or_none()


def find_debit(connection: Connection, payer: bytes, transfer_hash: bytes) -> Row | None:
    """One that the payer's own journal has shown."""
    shown = select(transfers).where(transfers.c.payer == payer, transfers.c.hash == transfer_hash, text(DEBITED))
    return connection.execute(shown).one_or_none()


def keys_of_debits(connection: Connection, payer: bytes, hashes: Iterable[bytes]) -> dict[bytes, bytes]:
    """The payees' keys of those that the payer's own journal has shown."""
    shown = select(transfers.c.hash, transfers.c.payee_key).where(transfers.c.payer == payer, text(DEBITED))
    return {row.hash: row.payee_key for row in bulk.rows(connection, shown, transfers.c.hash, hashes)}


def key_in(row: Row) -> Key:
    return Key(row.payer, row.seq, row.hash)


def find_by_hash(connection: Connection, transfer_hash: bytes) -> Row | None:
    """For people, who name nothing else. What still may be decided is found at once, the rest by looking everywhere."""
    wanted = select(transfers).where(transfers.c.hash == transfer_hash)
    unsettled = connection.execute(wanted.where(text(UNSETTLED))).one_or_none()
    return unsettled or connection.execute(wanted).one_or_none()


def learn(connection: Connection, transfer: Transfer, now: int) -> Key:
    """Remember a Transfer whose signature was checked and whose payer is registered; nothing moves yet.

    Returns its key.
    """
    key = key_of(transfer)
    if find(connection, key) is None:
        payer = registry.device(connection, transfer.payer)
        others = torn(connection, transfer.payer, transfer.seq, key.hash, transfer.previous)
        _check_cumulative(connection, transfer, now)
        connection.execute(
            transfers.insert().values(
                **key._asdict(),
                payee=transfer.payee,
                payer_issue=transfer.payer_issue,
                number=transfer.number,
                amount=transfer.amount,
                transfer=transfer.encode(),
                debited=False,
                credited=False,
                defaulted=False,
                state=KNOWN,
                held_by=payer.purse,
                unconfirmed=False,
                left_open=False,
            )
        )
        if transfer.payer_issue != payer.issue:
            other_seq = transfer.seq if transfer.payer_issue < payer.issue else FOR_EVER
            lower = (devices.c.id == transfer.payer, devices.c.other_seq < other_seq)
            connection.execute(update(devices).where(*lower).values(other_seq=other_seq))
        _check_above_base(connection, transfer, now)
        accuse(connection, transfer.payer, others, transfer.encode(), now)
    return key


def _check_cumulative(connection: Connection, transfer: Transfer, now: int) -> None:
    """On one base the cumulative amount grows by every Transfer.

    One that does not hides what was spent: a fraud proof. A Certificate's issue number stands for one base, and the
    neighbours under it are enough: what grows from each to the next grows throughout.
    """
    same_base = select(transfers.c.transfer).where(
        transfers.c.payer == transfer.payer, transfers.c.payer_issue == transfer.payer_issue
    )
    before = same_base.where(transfers.c.seq < transfer.seq).order_by(transfers.c.seq.desc()).limit(1)
    after = same_base.where(transfers.c.seq > transfer.seq).order_by(transfers.c.seq).limit(1)
    for query in (before, after):
        found = connection.execute(query).scalar_one_or_none()
        if found is None:
            continue
        first, second = sorted((transfer, Transfer.decode(found)), key=lambda one: one.seq)
        if second.cumulative < first.cumulative + second.amount:
            freeze(connection, transfer.payer, CUMULATIVE, FALLS, first.encode(), second.encode(), now)


def _check_above_base(connection: Connection, transfer: Transfer, now: int) -> None:
    """Each Transfer counts every earlier one above its Certificate's base, also those under another Certificate.

    The new one is among those before it, or among what the first ones above it under each Certificate should count.
    What grows by all that lies between, from each Transfer under one Certificate to the next, counts all of it.
    """
    of_payer = transfers.c.payer == transfer.payer
    later = [transfer]
    if connection.execute(select(func.max(transfers.c.seq)).where(of_payer)).scalar_one() > transfer.seq:
        firsts = select(transfers.c.payer_issue, func.min(transfers.c.seq)).where(of_payer)
        above = firsts.where(transfers.c.seq > transfer.seq).group_by(transfers.c.payer_issue)
        for issue, seq in connection.execute(above).all():
            first = select(transfers.c.transfer).where(
                of_payer, transfers.c.payer_issue == issue, transfers.c.seq == seq
            )
            later += [Transfer.decode(data) for data in connection.execute(first).scalars()]
    for one in later:
        certificate = registry.certificate_of(connection, transfer.payer, one.payer_issue)
        if certificate is not None and certificate[0].base_seq < transfer.seq:
            _check_sum(connection, one, certificate[0].base_seq, now)


def _check_sum(connection: Connection, transfer: Transfer, base: int, now: int) -> None:
    """It says what the one before it under its Certificate said, or nothing, and all that was paid since."""
    below = (transfers.c.payer == transfer.payer, transfers.c.seq < transfer.seq)
    same_base = select(transfers.c.transfer).where(
        *below, transfers.c.payer_issue == transfer.payer_issue, transfers.c.seq > base
    )
    before = connection.execute(same_base.order_by(transfers.c.seq.desc()).limit(1)).scalar_one_or_none()
    since, said = base, 0
    if before is not None:
        since, said = Transfer.decode(before).seq, Transfer.decode(before).cumulative
    between = (*below, transfers.c.seq > since)
    paid = connection.execute(select(func.coalesce(func.sum(transfers.c.amount), 0)).where(*between)).scalar_one()
    if not paid or transfer.cumulative >= said + int(paid) + transfer.amount:
        return
    largest = select(transfers.c.transfer).where(*between).order_by(transfers.c.amount.desc()).limit(1)
    left_out = Transfer.decode(connection.execute(largest).scalar_one())
    whole = transfer.cumulative < left_out.amount + transfer.amount
    kind, what = (CUMULATIVE, LEFT_OUT) if whole else (LEAVES_OUT_SOME, LEFT_OUT_SOME)
    freeze(connection, transfer.payer, kind, what, left_out.encode(), transfer.encode(), now)


def debit(connection: Connection, transfer: Transfer, payee_key: bytes, now: int) -> None:
    """The payer's journal has it. `payee_key` is the key whose hash the Transfer names."""
    key = learn(connection, transfer, now)
    _know(connection, key, debited=True, payee_key=payee_key)
    place(connection, key, now)


def claim(connection: Connection, receipt: Receipt, transfer: Transfer, in_journal: bool, now: int) -> str | None:
    """The payee's Receipt, from its own journal or from the payer's. Both signatures were checked.

    Returns why it is refused, or None. A second Receipt of one Transfer moves nothing and accuses nobody: two of them
    in one history are no fraud that a third party could see.
    """
    key = learn(connection, transfer, now)
    signed = receipt.encode()
    known = _row(connection, key)
    again = known.receipt is not None and known.receipt_seq != receipt.seq
    others: list[Commitment] = []
    registered = registry.find_device(connection, transfer.payee) is not None
    if registered:
        others = torn(connection, transfer.payee, receipt.seq, sha256(receipt.body()), receipt.previous)
    if known.receipt is None or (in_journal and not known.credited):
        if known.receipt not in (None, signed):
            _keep_receipt(connection, transfer.payee, Receipt.decode(known.receipt))
        if not in_journal:
            raise_shown(connection, transfer.payee, receipt.seq)
        refusal = refusal_of(connection, transfer, receipt.seq)
        _know(connection, key, receipt=signed, receipt_seq=receipt.seq, refusal=refusal, credited=in_journal)
    elif known.receipt != signed:
        _keep_receipt(connection, transfer.payee, receipt)
    accuse(connection, transfer.payee, others, signed, now)
    place(connection, key, now)
    if in_journal and again:
        return "this Transfer is credited in another record already"
    known = _row(connection, key)
    if known.state == VOID:
        return "the payee has voided this Transfer"
    return known.refusal


def _keep_receipt(connection: Connection, payee: bytes, receipt: Receipt) -> None:
    """What the payee committed to by a Receipt that the Transfer's row does not keep."""
    if registry.find_device(connection, payee) is not None:
        keep(connection, payee, receipt.seq, sha256(receipt.body()), receipt.previous, receipt.encode())


def installed(connection: Connection, payee: bytes, issue: int, seq: int, now: int) -> None:
    """The device's journal installs its Certificate `issue` at `seq`: it took nothing above that names an older one."""
    earlier = or_(certificates.c.installed_seq.is_(None), certificates.c.installed_seq > seq)
    known = update(certificates).where(certificates.c.device == payee, certificates.c.issue == issue, earlier)
    connection.execute(known.values(installed_seq=seq))
    later = select(*_KEY, transfers.c.transfer, transfers.c.receipt_seq).where(
        transfers.c.payee == payee,
        transfers.c.receipt_seq > seq,
        transfers.c.refusal.is_(None),
        func.substr(transfers.c.transfer, _PAYEE_ISSUE_AT, 4) < issue.to_bytes(4, "big"),
    )
    for *key, transfer, receipt_seq in connection.execute(later).all():
        if _outdated(connection, Transfer.decode(transfer), receipt_seq):
            _know(connection, Key(*key), refusal=OUTDATED)
            place(connection, Key(*key), now)


def _outdated(connection: Connection, transfer: Transfer, receipt_seq: int) -> bool:
    """Whether the payee had installed a newer Certificate than the one that this Transfer names when it credited it."""
    newer = select(certificates.c.issue).where(
        certificates.c.device == transfer.payee,
        certificates.c.issue > transfer.payee_issue,
        certificates.c.installed_seq < receipt_seq,
    )
    return connection.execute(newer.limit(1)).first() is not None


def void(connection: Connection, key: Key, proof: bytes, now: int) -> None:
    """The payee's Void of a known Transfer (its signature was checked)."""
    if not names_transfer(_row(connection, key).void):
        _know(connection, key, void=proof)
    place(connection, key, now)


def close(connection: Connection, known: Row, seq: int, outcome: int, now: int) -> str | None:
    """The payer's journal says at `seq` how it ended: no Resolution is needed. Returns why it is refused, or None.

    A debit ends once: no journal of ours closes it again.
    """
    if known.closed_seq not in (None, seq):
        return "this debit is closed in another record already"
    key = key_in(known)
    _know(connection, key, closed_seq=seq, closed_as=outcome)
    place(connection, key, now)
    return None


def decide(connection: Connection, key: Key, decided: str, now: int) -> None:
    """People have decided a refused claim, FOR_PAYEE or FOR_PAYER. Only a Void changes anything after that."""
    _know(connection, key, decided=decided)
    place(connection, key, now)


def below_watermarks(connection: Connection, raised: Mapping[bytes, tuple[int, int]], now: int) -> None:
    """Payees' watermarks have moved up, each from the first number to the second: what they do not credit between the
    two is void.

    What lay below the first was void when it moved there, or when it was learnt.
    """
    for payee, number, *key in list(bulk.rows(connection, _OPEN, transfers.c.payee, raised)):
        older, newer = raised[payee]
        if older <= number < newer:
            place(connection, Key(*key), now)


def request_closed(connection: Connection, payee: bytes, number: int, now: int) -> None:
    """A Request of the ledger's own payee can no longer be credited: what was paid on it is void."""
    paid = select(*_KEY).where(transfers.c.payee == payee, transfers.c.number == number, text(UNCREDITED))
    for key in connection.execute(paid).all():
        place(connection, Key(*key), now)


def default_overdue(connection: Connection, today: int, now: int) -> int:
    """Pending Transfers to payees whose last Certificate expired GRACE_DAYS before `today`: to the payees' purses.

    Returns how many.
    """
    overdue = (
        select(*_KEY)
        .join(devices, transfers.c.payee == devices.c.id)
        .where(
            text(UNSETTLED),
            transfers.c.state == PENDING,
            transfers.c.defaulted.is_(False),
            devices.c.valid_until + GRACE_DAYS < today,
        )
    )
    keys = [Key(*key) for key in connection.execute(overdue).all()]
    for key in keys:
        _know(connection, key, defaulted=True)
        place(connection, key, now)
    return len(keys)


def defaulted_to(connection: Connection, today: int) -> dict[bytes, int]:
    """What was booked to devices at the deadline and nobody claimed or voided since, if they are overdue yet."""
    sums = (
        select(transfers.c.payee, func.sum(transfers.c.amount))
        .join(devices, transfers.c.payee == devices.c.id)
        .where(
            text(UNSETTLED),
            transfers.c.state == PENDING,
            transfers.c.defaulted.is_(True),
            devices.c.valid_until + GRACE_DAYS < today,
        )
        .group_by(transfers.c.payee)
        .order_by(transfers.c.payee)
    )
    return {who: int(amount) for who, amount in connection.execute(sums)}


def beyond_the_device(connection: Connection) -> dict[bytes, int]:
    """What came back to payers whose journals had shown it as paid: their purses hold it, their devices never will."""
    sums = select(transfers.c.payer, func.sum(transfers.c.amount)).where(
        text(UNSETTLED), transfers.c.state.in_((VOID, RETURNED)), transfers.c.closed_as == PAID
    )
    return {who: int(amount) for who, amount in connection.execute(sums.group_by(transfers.c.payer))}


def _count_from_frozen(connection: Connection, payee: bytes, payer: bytes, amount: int) -> None:
    """It stays counted: a claim that is taken back later was no honest payee's."""
    row = (from_frozen.c.payee == payee, from_frozen.c.payer == payer)
    more = update(from_frozen).where(*row).values(amount=from_frozen.c.amount + amount)
    if connection.execute(more).rowcount == 0:
        connection.execute(from_frozen.insert().values(payee=payee, payer=payer, amount=amount))


def place(connection: Connection, key: Key, now: int) -> None:
    """Move the money to the account that follows from what is known."""
    row = _row(connection, key)
    payer = registry.device(connection, row.payer)
    payee = registry.find_device(connection, row.payee)
    if row.void is None:
        proof = unspoken_void(connection, row, payee)
        if proof is not None:
            _know(connection, key, void=proof)
            row = _row(connection, key)
    state, holder = holder_of(connection, row, payer, payee)
    taken = 0
    if row.defaulted and row.state == PENDING != state and payee is not None:
        taken = take_back(connection, payee, row.amount, now)
    if holder != row.held_by or taken:
        if holder != row.held_by:
            decided = row.decided if state in (RETURNED, POSTED) else None
            reason = f"decided for the {decided}" if decided else REASONS[state]
            books.move(connection, row.held_by, holder, row.amount, reason, key.hash, now)
        for party in (payer, payee):
            if party is not None and watched(party) and party.purse in (row.held_by, holder):
                cover(connection, party.id, now)
    if state == POSTED != row.state and payee is not None and fraudulent(payer) and not row.decided:
        _count_from_frozen(connection, payee.id, payer.id, row.amount)
    _count_open(connection, row, state)
    _know(connection, key, state=state, held_by=holder)
    signed_void: bytes = row.void or b""
    if names_transfer(signed_void) and row.receipt is not None and payee is not None:
        freeze(connection, row.payee, RECEIPT_AND_VOID, CLAIMED_AND_VOIDED, row.receipt, signed_void, now)


def _count_open(connection: Connection, row: Row, state: str) -> None:
    """What is posted and its payer's journal has not shown as paid; a debit in doubt may still be voided."""
    is_open = state == POSTED and row.closed_as != PAID
    for who, sum_of, counted in (
        (row.payee, devices.c.unconfirmed, is_open),
        (row.payer, devices.c.left_open, is_open and row.debited),
    ):
        before = getattr(row, sum_of.name)
        if counted != before:
            change = row.amount if counted else -row.amount
            connection.execute(update(devices).where(devices.c.id == who).values({sum_of: sum_of + change}))
            _know(connection, key_in(row), **{sum_of.name: counted})


def holder_of(connection: Connection, row: Row, payer: Row, payee: Row | None) -> tuple[str, int]:
    if not _both_say_paid(row):
        if row.void is not None:
            return VOID, payer.purse
        if row.decided == FOR_PAYER:
            return RETURNED, payer.purse
    refused = row.refusal is not None and row.decided != FOR_PAYEE
    if row.receipt is not None and (refused or payee is None):
        return REFUSED, books.operator_account(connection, books.SUSPENSE, payer.operator)
    if row.receipt is not None and payee is not None:
        return POSTED, payer.account if payee.kind >> 4 == OPERATOR_PAYEE else payee.purse
    if row.defaulted and payee is not None:
        return PENDING, payee.purse
    if row.debited:
        return PENDING, books.operator_account(connection, books.PENDING, payer.operator)
    return KNOWN, payer.purse


def _both_say_paid(row: Row) -> bool:
    """The payee's claim is good, and the payer's journal has shown it as paid: from then on no Void moves the money.

    No honest device has such a Void. Payer and payee together could else make any number of payments, take the money
    out, and have all of it back; nor does what the payee shows late of its own journal (OUTDATED) make one count. A
    watermark still counts: it voided what the payee only claimed afterwards.
    """
    claimed = row.receipt is not None and row.refusal in (None, OUTDATED) and row.decided is None
    return claimed and row.closed_as == PAID and (row.void is None or names_transfer(row.void))


def names_transfer(proof: bytes | None) -> bool:
    """Whether this proof that a Transfer is void is a Void; a watermark names no Transfer."""
    return (proof or b"")[:1] == bytes((Void.TYPE,))


def unspoken_void(connection: Connection, row: Row, payee: Row | None) -> bytes | None:
    """The proof that a Transfer is void though no Void names it: a watermark above it, or our own Request.

    The watermark's Statement must not cover a credit of it; one that was made later does not count. Our Request pays
    nothing any more, or has paid for another Transfer, or was made out to another device.
    """
    if payee is None:
        return None
    if payee.statement is not None:
        said = Statement.decode(payee.statement)
        covered = row.credited and row.receipt_seq <= said.seq
        if row.number < said.watermark and not covered:
            return payee.statement
    if row.credited or payee.kind >> 4 != OPERATOR_PAYEE:
        return None
    ours = select(redemptions.c.number).where(
        redemptions.c.payee == payee.id,
        redemptions.c.number == row.number,
        (redemptions.c.state == CLOSED_REQUEST)
        | ((redemptions.c.state == CREDITED_REQUEST) & (redemptions.c.transfer != row.hash))
        | (redemptions.c.device != row.payer),
    )
    return b"" if connection.execute(ours).first() else None


def refusal_of(connection: Connection, transfer: Transfer, receipt_seq: int) -> str | None:
    """Why a claim is not posted: only what an honest payee knew when it credited it, so honest payees are paid.

    That is what the bound Certificates, the Transfer and the payee's own journal below `receipt_seq` show.
    """
    payer = registry.device(connection, transfer.payer)
    payee = registry.find_device(connection, transfer.payee)
    if payee is None:
        return UNREGISTERED
    paying = registry.certificate_of(connection, payer.id, transfer.payer_issue)
    paid = registry.certificate_of(connection, payee.id, transfer.payee_issue)
    if paying is None or paid is None:
        return "it names a Certificate that the ledger did not issue"
    redeeming = payee.kind >> 4 == OPERATOR_PAYEE
    if _outdated(connection, transfer, receipt_seq):
        return OUTDATED
    if transfer.lot:
        return "lots are not settled"
    if surely_revoked(connection, payee.operator, paid[0].epoch, payer.id, transfer.payer_issue):
        return "the payer was revoked, and the payee's Certificate says so"
    if paying[0].valid_until < paid[0].valid_from:
        return "the payer's Certificate expired before the payee's began"
    try:
        if not redeeming:
            check_days(paying[0], paid[0].valid_from)  # the payee's clock was not behind its own Certificate
        check_visible(transfer, paying[0], paid[0], redeeming)
    except Refused as refusal:
        return name_of(refusal.cause)
    return None


def _is(key: Key) -> tuple:
    return tuple(column == value for column, value in zip(_KEY, key, strict=True))


def _row(connection: Connection, key: Key) -> Row:
    return connection.execute(select(transfers).where(*_is(key))).one()


def _know(connection: Connection, key: Key, **facts) -> None:
    connection.execute(update(transfers).where(*_is(key)).values(**facts))
