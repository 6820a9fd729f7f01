"""Revocation lists: whom an issuer (an operator, or the root) no longer vouches for, from which epoch on.

What an issuer publishes is a complete list, and after it deltas, each of which holds all that changed since that
complete list. So the complete list and the newest delta are all that anybody needs. Each publication is an epoch, and a
Certificate's `epoch` proves which list its device knew.

Whoever is frozen waits in `unlisted` for each operator's next publication, which comes with the next call that has the
operator's key at hand. So a call learns at one glance that there is nothing to publish, however many are frozen.
"""

from collections.abc import Collection, Set

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select, true, update

from host_tools.crypto import Signer, sha256
from host_tools.ledger import bulk, locks
from host_tools.ledger.errors import InvalidInput
from host_tools.ledger.guarantee import UNFUNDED
from host_tools.ledger.schema import devices, operators, revocations, revoked, unlisted
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, MAX_DELTA, MAX_REVOCATIONS, NO_HASH, REVOKED_ALTOGETHER, Revocations
from protocol.trust import ROOT_ISSUER, operator_entry_id


def current_epoch(connection: Connection, issuer: int) -> int:
    """0 while the issuer has revoked nothing."""
    return connection.execute(
        select(func.coalesce(func.max(revocations.c.epoch), 0)).where(revocations.c.issuer == issuer)
    ).scalar_one()


def minimum_issue(connection: Connection, issuer: int, epoch: int, who: bytes) -> int:
    """The lowest Certificate issue of `who` (a device's or operator's entry id) that is good in this epoch.

    0 if it is not revoked.
    """
    said = select(revoked.c.minimum).where(revoked.c.issuer == issuer, revoked.c.who == who, revoked.c.epoch <= epoch)
    return connection.execute(said.order_by(revoked.c.epoch.desc()).limit(1)).scalar_one_or_none() or 0


def surely_revoked(connection: Connection, issuer: int, epoch: int, who: bytes, issue: int) -> bool:
    """Whether `who`'s Certificate of this issue is revoked in this epoch and in every later one.

    A device may have learnt any later list by a tap, also one that names `who` no more.
    """
    later = select(func.min(revoked.c.minimum)).where(
        revoked.c.issuer == issuer, revoked.c.who == who, revoked.c.epoch > epoch
    )
    least = connection.execute(later).scalar_one()
    return issue < minimum_issue(connection, issuer, epoch, who) and (least is None or issue < least)


def newer_than(connection: Connection, issuer: int, epoch: int) -> list[bytes]:
    """The objects that bring a device from this epoch to the current one: a complete list, a delta, or both."""
    published = select(revocations.c.revocations, revocations.c.epoch).where(revocations.c.issuer == issuer)
    newest = published.order_by(revocations.c.epoch.desc()).limit(1)
    complete = newest.where(revocations.c.complete.is_(True))
    found = {row.epoch: row.revocations for query in (complete, newest) for row in connection.execute(query)}
    return [signed for at, signed in sorted(found.items()) if at > epoch]


def revoke(connection: Connection, signer: Signer, operator: int, device: Row, now: int) -> Revocations:
    """Put a device on the operator's list. Returns the newest list, which is published now unless it stands there.

    The device is locked (`locks`). Raises `InvalidInput` when the list is full of its own.
    """
    if device.operator == operator:
        connection.execute(update(devices).where(devices.c.id == device.id).values(revoked=True))
    locks.issuer(connection, operator)
    if device.id not in _listed(connection, operator):
        _publish(connection, signer, operator, {device.id: REVOKED_ALTOGETHER}, now)
    publish_blocked(connection, signer, operator, now)
    return _newest(connection, operator)


def revoke_operator(connection: Connection, root_signer: Signer, operator: int, now: int) -> Revocations:
    """Put an operator on the root's list. Returns the newest list."""
    who = operator_entry_id(operator)
    locks.issuer(connection, ROOT_ISSUER)
    if who not in _listed(connection, ROOT_ISSUER):
        _publish(connection, root_signer, ROOT_ISSUER, {who: REVOKED_ALTOGETHER}, now)
    return _newest(connection, ROOT_ISSUER)


def operator_revoked(connection: Connection, operator: int) -> bool:
    """Whether the root's list names the operator."""
    return operator_entry_id(operator) in _listed(connection, ROOT_ISSUER)


def await_every_list(connection: Connection, device: bytes) -> None:
    """It was frozen for fraud: each operator's next list takes it up."""
    _await(connection, devices.c.id == device)


def await_own_list(connection: Connection, device: bytes) -> None:
    """Its operator's next list takes it up."""
    _await(connection, (devices.c.id == device) & (devices.c.operator == operators.c.operator))


def await_first_list(connection: Connection, operator: int) -> None:
    """The operator is new: its first list takes up whoever was frozen before."""
    # An index finds these, and not what "is not null"
    _await(connection, (operators.c.operator == operator) & (devices.c.frozen > "") & (devices.c.frozen != UNFUNDED))


def _await(connection: Connection, pairs: ColumnElement[bool]) -> None:
    """`pairs` of operators and devices."""
    waits = unlisted.c.issuer == operators.c.operator, unlisted.c.who == devices.c.id
    found = (
        select(operators.c.operator, operators.c.operator != devices.c.operator, devices.c.id)
        .select_from(devices.join(operators, true()))
        .where(pairs, ~select(unlisted.c.who).where(*waits).exists())
    )
    bulk.insert(connection, unlisted, ("issuer", "theirs", "who"), [tuple(row) for row in connection.execute(found)])


def publish_blocked(connection: Connection, signer: Signer, operator: int, now: int) -> None:
    """Put on the operator's list whoever waits for that.

    Those whose Certificates are over for everybody need no entry. Its own devices come first: foreign ones get the room
    that is left, and give it up for own ones. What does not fit waits for the next time: a full list stops no sync.
    """
    if not any(_due(connection, operator, now)):
        return
    locks.issuer(connection, operator)
    needless, added = _due(connection, operator, now)  # others may have published meanwhile
    _wait_no_more(connection, operator, needless)
    if added:
        _publish(connection, signer, operator, added, now)


_ENDS = select(devices.c.id, devices.c.valid_until)


def _due(connection: Connection, operator: int, now: int) -> tuple[set[bytes], dict[bytes, int]]:
    """Of those who wait for the operator's list: who needs no entry, and whom it would add, as far as there is room.

    No more are looked at than a list can hold.
    """
    those = select(unlisted.c.theirs, unlisted.c.who).where(unlisted.c.issuer == operator)
    first = those.order_by(unlisted.c.theirs, unlisted.c.who).limit(MAX_REVOCATIONS)
    waiting = connection.execute(first).all()
    if not waiting:
        return set(), {}
    listed = _listed(connection, operator)
    ends = {bytes(who): last for who, last in bulk.fetch(connection, _ENDS, devices.c.id, [who for _, who in waiting])}
    needless = {who for _, who in waiting if who in listed or ends[who] < _last_day(now)}
    missing = [(foreign, who) for foreign, who in waiting if who not in needless]
    room = MAX_REVOCATIONS - len(listed)
    if len(missing) > room:
        expired = _expired(connection, listed, now)
        room += len(expired)
        own_ones = sum(not foreign for foreign, _ in missing)
        room = max(room, min(own_ones, room + len(_foreign(connection, operator, listed.keys() - expired))))
    return needless, dict.fromkeys([who for _, who in missing[: max(0, room)]], REVOKED_ALTOGETHER)


def _wait_no_more(connection: Connection, operator: int, those: Collection[bytes]) -> None:
    """They stand on the operator's list, or need not."""
    if those:
        # The whole key, so that no engine locks other rows
        named = unlisted.c.theirs.in_([False, True]), unlisted.c.who.in_(those)
        connection.execute(unlisted.delete().where(unlisted.c.issuer == operator, *named))


def _publish(connection: Connection, signer: Signer, issuer: int, added: dict[bytes, int], now: int) -> None:
    """The next epoch of an issuer that is locked: a delta if it can say what changed, else a complete list without
    those that have expired.
    """
    epoch = current_epoch(connection, issuer)
    listed = _listed(connection, issuer)
    wanted = listed | added
    base = _complete(connection, issuer)
    delta = dict(wanted.items() - base.entries) if base else {}
    if base is None or len(delta) > MAX_DELTA or len(wanted) > MAX_REVOCATIONS:
        base = None
        for who in _expired(connection, listed, now):
            wanted.pop(who)
        for who in _foreign(connection, issuer, listed.keys() & wanted.keys())[: max(0, len(wanted) - MAX_REVOCATIONS)]:
            wanted.pop(who)
            _await(connection, (operators.c.operator == issuer) & (devices.c.id == who))
    if len(wanted) > MAX_REVOCATIONS:
        raise InvalidInput(f"A list holds {MAX_REVOCATIONS} entries", "Wait until older ones have expired")
    _wait_no_more(connection, issuer, added)
    published = Revocations.of(
        list((delta if base else wanted).items()),
        issuer=issuer,
        epoch=epoch + 1,
        predecessor=base.epoch if base else 0,
        predecessor_hash=sha256(base.body()) if base else NO_HASH,
    ).sign(signer.sign)
    connection.execute(
        revocations.insert().values(
            issuer=issuer, epoch=published.epoch, complete=base is None, revocations=published.encode()
        )
    )
    changed = (wanted.items() - listed.items()) | {(who, 0) for who in listed.keys() - wanted.keys()}
    for who, minimum in sorted(changed):
        connection.execute(revoked.insert().values(issuer=issuer, who=who, epoch=published.epoch, minimum=minimum))


def _complete(connection: Connection, issuer: int) -> Revocations | None:
    """The newest complete list."""
    complete = select(revocations.c.revocations).where(revocations.c.issuer == issuer, revocations.c.complete.is_(True))
    found = connection.execute(complete.order_by(revocations.c.epoch.desc()).limit(1)).scalar_one_or_none()
    return Revocations.decode(found) if found else None


def _newest(connection: Connection, issuer: int) -> Revocations:
    return Revocations.decode(newer_than(connection, issuer, 0)[-1])


def _listed(connection: Connection, issuer: int) -> dict[bytes, int]:
    """Whom the current list names, and with which minimum issue: the complete list with the delta laid over it."""
    entries: dict[bytes, int] = {}
    for signed in newer_than(connection, issuer, 0):
        entries |= dict(Revocations.decode(signed).entries)
    return {who: minimum for who, minimum in entries.items() if minimum}


def _expired(connection: Connection, listed: dict[bytes, int], now: int) -> set[bytes]:
    """Those of the entries whose last Certificate is over for everybody and who get no other.

    What another operator may still renew stays on the list.
    """
    ended = or_(devices.c.revoked.is_(True), devices.c.frozen.is_not(None) & (devices.c.frozen != UNFUNDED))
    over = select(devices.c.id).where(devices.c.id.in_(list(listed)), ended, devices.c.valid_until < _last_day(now))
    return set(connection.execute(over).scalars())


def _foreign(connection: Connection, issuer: int, listed: Set[bytes]) -> list[bytes]:
    """Those of the entries that stand there only because a device of another operator was frozen."""
    theirs = devices.c.frozen.is_not(None) & (devices.c.frozen != UNFUNDED) & (devices.c.operator != issuer)
    found = select(devices.c.id).where(devices.c.id.in_(list(listed)), theirs)
    return sorted(connection.execute(found).scalars())


def _last_day(now: int) -> int:
    """A Certificate that ended before this day is over for everybody.

    A payee's clock is a lower bound, as old as its own Certificate may be: until that has had its time as well, only
    the list stops a revoked device that such a payee takes for valid.
    """
    return now // DAY_S - CERTIFICATE_DAYS - GRACE_DAYS
