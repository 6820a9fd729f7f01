"""Revocation lists: what an issuer publishes, who gets it, and what everybody then knows."""

import pytest

from host_tools.ledger import revocation
from host_tools.ledger.errors import InvalidInput, UnknownOperator, WrongSigner
from protocol.errors import REVOKED, Refused
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, REVOKED_ALTOGETHER, Revocations
from protocol.trust import operator_entry_id
from tests.ledger.world import clone, forget_payers, pay_person, sale
from tests.unit.world import KINDS, Operator, cause_of, signer, spread

OVER = 2 * CERTIFICATE_DAYS + GRACE_DAYS  # days after its issue until a Certificate is over for everybody


def revoke(town, device, by=1):
    return town.ledger.revoke(town.operators[by].key, by, device.id, town.now)


def lists_in(settlement) -> list[Revocations]:
    return [Revocations.decode(data) for data in settlement.objects if data[0] == Revocations.TYPE]


def named(town, device, issuer=1) -> set[bytes]:
    """Whom the list names that the device has installed, of all whom it may name."""
    listed = device.party.trust.lists[issuer]
    ids = [device.id for device in town.devices] + [operator_entry_id(number) for number in (1, 2)]
    return {who for who in ids if listed.entry(who)}


def cheat_with(town, wallet, *shops):
    """The wallet's copy pays the last of the shops, the wallet the first; both sync, and it is frozen."""
    twin = clone(wallet)
    sale(shops[0], wallet, 300)
    sale(shops[-1], twin, 700)
    for shop in shops:
        town.sync(shop)


def test_deltas_hold_all_since_the_complete_list_until_a_new_one_is_shorter(town, shop, monkeypatch):
    monkeypatch.setattr(revocation, "MAX_DELTA", 2)
    people = [town.device(name) for name in ("ann", "ben", "cid", "dee", "eve")]
    published = [revoke(town, person) for person in people]
    assert [(one.epoch, one.predecessor, one.count) for one in published] == [
        (1, 0, 1),
        (2, 1, 1),
        (3, 1, 2),
        (4, 0, 4),
        (5, 4, 1),
    ]
    assert revoke(town, people[0]).encode() == published[-1].encode()  # it is on the list: nothing new


def test_device_gets_what_it_lacks_and_ends_with_the_same_list_whatever_it_missed(town, monkeypatch):
    monkeypatch.setattr(revocation, "MAX_DELTA", 2)
    people = [town.device(name) for name in ("ann", "ben", "cid", "dee", "eve", "fay")]
    shops = [town.device(f"shop {number}", "terminal") for number in range(len(people))]
    sent = []
    for number, person in enumerate(people):
        revoke(town, person)
        town.sync(shops[number])  # each shop learns of another epoch
    for shop in shops:
        sent.append([one.epoch for one in lists_in(town.sync(shop))])
        assert named(town, shop) == {person.id for person in people}
        assert shop.certificate.epoch == len(people)
        assert lists_in(town.sync(shop)) == []
    assert sent == [[4, 6], [4, 6], [4, 6], [6], [6], []]


def test_what_the_ledger_knows_of_an_epoch_is_what_a_device_of_that_epoch_judges_by(town, monkeypatch):
    """The ledger refuses what a payee's Certificate proves it knew: both must read the lists alike."""
    monkeypatch.setattr(revocation, "MAX_DELTA", 1)
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 3)
    shop = town.device("shop", "terminal")
    for name in ("ann", "ben", "cid", "dee", "eve"):
        person = town.device(name)
        if name == "dee":
            town.now += (OVER + 1) * DAY_S
            person = town.device("dan")
            town.sync(shop)
        revoke(town, person)
        town.sync(shop)
        epoch = shop.certificate.epoch
        for device in town.devices:
            said = town.ledger._read(revocation.minimum_issue, 1, epoch, device.id)
            assert said == shop.party.trust.lists[1].entry(device.id)
    assert len(named(town, shop)) < 5  # some have left


def test_full_list_is_an_error_until_the_revoked_have_expired_for_good(town, wallet, monkeypatch):
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 2)
    foreign, last = town.device("foreign", operator=2), town.device("last")
    revoke(town, wallet)
    revoke(town, foreign)
    town.now += OVER * DAY_S
    with pytest.raises(InvalidInput, match="A list holds 2 entries"):
        revoke(town, last)
    assert town.ledger.device(last.id)["revoked"] is False
    town.now += DAY_S
    listed = revoke(town, last)
    assert listed.predecessor == 0
    assert {who for who, _ in listed.entries} == {foreign.id, last.id}  # the foreign one may still be renewed
    assert not town.sync(wallet).certified  # off the list, and revoked for good


def test_frozen_device_is_revoked_by_every_operator_whose_key_is_at_hand(town, shop, wallet):
    kiosk = town.device("kiosk", "terminal", operator=2)
    ann = town.device("ann")
    cheat_with(town, wallet, shop, kiosk)
    assert town.frozen(wallet)
    assert named(town, kiosk, issuer=2) == {wallet.id}  # in the very sync that showed it
    assert kiosk.certificate.epoch == 1
    town.ledger.order_load(town.signer_of(ann), ann.id, 10, town.now)
    town.sync(ann)
    assert named(town, ann) == {wallet.id}
    assert cause_of(pay_person, ann, wallet, 5) == REVOKED


@pytest.mark.parametrize("how", ["register", "revoke", "load", "lost"])
def test_every_call_with_an_operators_key_publishes_what_waits(town, shop, wallet, how):
    """The proof came through the other operator's terminals."""
    kiosks = [town.device(name, "terminal", operator=2) for name in ("kiosk 1", "kiosk 2")]
    ann = town.device("ann")
    cheat_with(town, wallet, *kiosks)
    key = town.operators[1].key
    if how == "register":
        account = town.ledger.open_account(1, "new")
        town.ledger.register_device(key, 1, signer("new").public, KINDS["wallet"], 0, account, "new", town.now)
    elif how == "revoke":
        revoke(town, ann)
    elif how == "load":
        town.ledger.order_load(key, ann.id, 10, town.now)
    else:
        town.ledger.report_lost(key, ann.id, town.now)
    epoch = town.ledger._read(revocation.current_epoch, 1)
    assert town.ledger._read(revocation.minimum_issue, 1, epoch, wallet.id) == REVOKED_ALTOGETHER


def test_list_of_a_new_operator_names_who_was_frozen_before(town, shop, wallet):
    cheat_with(town, wallet, shop, town.device("kiosk", "terminal"))
    town.operators[3] = Operator(3, town.root)
    town.ledger.add_operator(town.operators[3].certificate)
    late = town.device("late", "terminal", operator=3)
    for _ in range(2):
        town.sync(late)
    assert named(town, late, issuer=3) == {wallet.id}


def test_full_list_stops_no_settlement_and_what_waits_is_published_when_there_is_room(town, shop, wallet, monkeypatch):
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 1)
    old = town.device("old")
    revoke(town, old)
    town.now += 2 * DAY_S
    town.sync(wallet)
    kiosk = town.device("kiosk", "terminal")
    cheat_with(town, wallet, shop, kiosk)
    assert town.frozen(wallet)
    assert town.sync(kiosk).certified
    assert named(town, kiosk) == {old.id}
    day = town.ledger.report_lost(town.signer_of(kiosk), kiosk.id, town.now)
    assert day > town.now // DAY_S  # blocked all the same: it gets no Certificate
    assert not town.sync(kiosk).certified
    town.now += (OVER - 1) * DAY_S  # the old one has expired, the others have not
    town.sync(shop)
    assert len(named(town, shop)) == 1
    assert named(town, shop) <= {wallet.id, kiosk.id}


def test_frozen_device_that_has_expired_needs_no_entry(town, shop, wallet):
    cheat_with(town, wallet, shop, town.device("kiosk", "terminal", operator=2))
    town.now += (OVER + 1) * DAY_S
    before = shop.certificate.epoch
    town.sync(shop)
    town.sync(shop)
    assert shop.certificate.epoch == before


def test_root_revokes_an_operator(town, shop, wallet):
    foreign = town.device("foreign", balance=100, operator=2)
    pay_person(foreign, wallet, 40)
    with pytest.raises(WrongSigner):
        town.ledger.revoke_operator(town.operators[1].key, 2, town.now)
    with pytest.raises(UnknownOperator):
        town.ledger.revoke_operator(town.root, 9, town.now)
    made = town.ledger.revoke_operator(town.root, 2, town.now)
    assert (made.issuer, made.epoch, made.predecessor) == (0, 1, 0)
    assert made.entries == ((operator_entry_id(2), REVOKED_ALTOGETHER),)
    assert town.ledger.revoke_operator(town.root, 2, town.now).encode() == made.encode()
    assert lists_in(town.sync(shop))[0].encode() == made.encode()
    assert named(town, shop, issuer=0) == {operator_entry_id(2)}
    assert cause_of(sale, shop, foreign, 5) == REVOKED
    assert lists_in(town.sync(shop))[0].encode() == made.encode()  # no Certificate says which one it has


def test_devices_of_a_revoked_operator_settle_and_get_nothing_new(town, wallet):
    foreign = town.device("foreign", balance=100, operator=2)
    pay_person(foreign, wallet, 40)
    town.ledger.revoke_operator(town.root, 2, town.now)
    settlement = town.sync(foreign)
    assert (settlement.certified, settlement.note) == (False, "the central bank has revoked its operator")
    assert (town.purse(foreign), town.purse(wallet)) == (60, 940)
    with pytest.raises(UnknownOperator, match="revoked operator 2"):
        town.ledger.order_load(town.signer_of(foreign), foreign.id, 10, town.now)
    with pytest.raises(UnknownOperator, match="revoked operator 2"):
        town.device("new", operator=2)
    town.ledger.add_operator(Operator(2, town.root, issue=2).certificate)
    assert not town.sync(foreign).certified


def test_lists_come_first_and_the_roots_before_the_operators(town, shop, wallet):
    town.ledger.revoke_operator(town.root, 2, town.now)
    revoke(town, wallet)
    town.ledger.order_load(town.signer_of(shop), shop.id, 10, town.now)
    settlement = town.sync(shop)
    assert [one.issuer for one in lists_in(settlement)] == [0, 1]
    assert [data[0] for data in settlement.objects] == [0x0A, 0x0A, 0x09, 0x02, 0x03]


def judge_leniently(device):
    """The device takes money of whoever is revoked."""
    judge = device.party.trust.judge

    def lenient(*arguments):
        try:
            judge(*arguments)
        except Refused as refusal:
            if refusal.cause != REVOKED:
                raise

    device.party.trust.judge = lenient


def test_rule_claim_is_refused_only_if_every_list_since_the_payees_certificate_revokes_the_payer(
    town, wallet, monkeypatch
):
    """A payee may have learnt a later list by a tap, and one that names the payer no more makes it take the payment."""
    shops = [town.device(f"shop {number}", "terminal", operator=2) for number in (1, 2)]
    revoke(town, wallet, by=2)
    for shop in shops:
        town.sync(shop)  # its Certificate says: the payer is revoked
        judge_leniently(shop)  # cracked, or told by a tap: the ledger cannot know which
    sale(shops[0], wallet, 300)
    assert town.sync(shops[0]).dead_letters == ("the payer was revoked, and the payee's Certificate says so",)
    monkeypatch.setattr(revocation, "MAX_DELTA", 0)
    monkeypatch.setattr(revocation, "_expired", lambda *_: {wallet.id})  # the next list is without it
    revoke(town, town.device("ben", operator=2), by=2)
    sale(shops[1], wallet, 100)
    assert town.sync(shops[1]).dead_letters == ()
    assert (town.purse(shops[0]), town.purse(shops[1]), town.sums()["suspense"]) == (0, 100, 300)


def test_entry_stays_while_a_payee_with_an_old_clock_takes_the_certificate_for_valid(town, wallet, monkeypatch):
    """The payee knew that it is revoked; a newer list, passed on by a customer, must not make it forget that."""
    monkeypatch.setattr(revocation, "MAX_DELTA", 0)  # every list is a complete one
    shop, ann = town.device("shop", "terminal"), town.device("ann", balance=50)
    revoke(town, wallet)
    issued = town.now
    town.now += 29 * DAY_S
    known = town.now
    town.sync(shop)
    shop._clock, wallet._clock = (lambda: known), (lambda: issued)
    for device in (shop, wallet):
        device.restart()
    town.now = issued + (CERTIFICATE_DAYS + 1) * DAY_S
    revoke(town, town.device("ben"))
    town.sync(ann)
    spread(sale(shop, ann, 5), ann)
    assert shop.party.trust.list_of(1).epoch == 2
    assert cause_of(sale, shop, wallet, 10) == REVOKED


def test_rule_frozen_device_is_put_on_the_list_though_its_certificate_has_expired(town, shop, wallet):
    kiosk = town.device("kiosk", "terminal", operator=2)
    cheat_with(town, wallet, kiosk, town.device("booth", "terminal", operator=2))
    town.now += (CERTIFICATE_DAYS + 1) * DAY_S
    town.sync(shop)
    assert named(town, shop) == {wallet.id}


@pytest.mark.parametrize("how", ["lost", "revoke", "sync"])
def test_own_devices_take_the_place_of_foreign_frozen_ones_on_a_full_list(town, shop, monkeypatch, how):
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 2)
    kiosks = [town.device(name, "terminal", operator=2) for name in ("kiosk 1", "kiosk 2")]
    own = town.device("own", balance=900)
    for name in ("x", "y", "z"):
        cheat_with(town, town.device(name, balance=900, operator=2), *kiosks)
        for kiosk in kiosks:
            forget_payers(kiosk)
    town.sync(shop)
    assert len(named(town, shop)) == 2
    before = shop.certificate.epoch
    if how == "sync":
        cheat_with(town, own, *kiosks)
    elif how == "lost":
        town.ledger.report_lost(town.signer_of(own), own.id, town.now)
    else:
        assert own.id in dict(revoke(town, own).entries)
    for _ in range(3):
        town.sync(shop)
    assert own.id in named(town, shop)
    assert len(named(town, shop)) == 2
    assert shop.certificate.epoch == before + 1  # nobody is moved on and off
    monkeypatch.setattr(revocation, "MAX_REVOCATIONS", 4)
    for _ in range(2):
        town.sync(shop)
    assert len(named(town, shop)) == 4  # who had to leave waits again
