"""protocol.management: the key, and the personalisation that pins a device to its operator."""

import pytest

from protocol import apdu, records
from protocol.errors import (
    ALREADY_PERSONALISED,
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    MALFORMED,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    NOT_FOUND,
    NOT_PERSONALISED,
    REVOCATIONS_MISSING,
    SERVICE,
    WRONG_BASE,
    WRONG_LENGTH,
)
from protocol.info import DeviceInfo
from protocol.objects import NO_HASH, RETIRE
from tests.unit.commands import EVERY_COMMAND, install_refused, pair, put_refused, statement_of
from tests.unit.world import KINDS, Operator, cause_of, sha256, signer


def test_generating_twice_gives_the_same_key(world):
    blank = world.blank("blank")
    assert blank.send(apdu.GENERATE) == blank.send(apdu.GENERATE) == signer("blank").public


def test_a_blank_device_refuses_everything_else(world):
    blank = world.blank("blank")
    for made in (False, True):
        blank.select()
        for ins in EVERY_COMMAND:
            if ins not in (apdu.GENERATE, apdu.INFO, apdu.COUNTERS, apdu.PERSONALISE):
                data = bytes(4) if ins == apdu.JOURNAL else bytes(16)
                cause = cause_of(blank.send, ins, data)
                assert cause in (NOT_PERSONALISED, WRONG_LENGTH, MALFORMED, NOT_FOUND), hex(ins)
        if not made:
            assert cause_of(blank.send, apdu.PERSONALISE, bytes(418)) == NOT_PERSONALISED
            blank.send(apdu.GENERATE)


def test_info_tells_a_blank_device_from_a_personalised_one(world, wallet):
    blank = DeviceInfo.decode(world.blank("blank").send(apdu.INFO))
    assert (blank.flags, blank.key, blank.balance) == (0, bytes(32), 0)
    info = DeviceInfo.decode(wallet.send(apdu.INFO))
    assert (info.operator, info.device, info.key, info.issue) == (1, wallet.id, wallet.party.public_key, 1)
    assert (info.balance, info.in_doubt, info.head_seq, info.load_floor) == (50_000, 0, 2, 1)


def test_personalising_again_with_the_same_bytes_answers_as_the_first_time(world):
    device = world.blank("device")
    device.generate_key()
    data = world.personalisation(device, KINDS["wallet"])
    device.send(apdu.PERSONALISE, data)
    before = device.durable()
    device.send(apdu.PERSONALISE, data)
    assert device.durable() == before
    other = world.personalisation(device, KINDS["wallet"], issue=2)
    assert cause_of(device.send, apdu.PERSONALISE, other) == ALREADY_PERSONALISED
    assert cause_of(device.send, apdu.PERSONALISE, bytes(32) + data[32:]) == ALREADY_PERSONALISED
    assert device.durable() == before


@pytest.mark.parametrize("fail", ["before", "after"])
def test_a_personalisation_that_is_cut_can_be_run_again(world, fail):
    device = world.blank("device")
    device.generate_key()
    data = world.personalisation(device, KINDS["wallet"])
    device.journal.fail = fail
    assert cause_of(device.send, apdu.PERSONALISE, data) == SERVICE
    device.restart()
    device.send(apdu.PERSONALISE, data)
    assert device.certificate.issue == 1
    assert len(device.journal.stored) == 1


def test_rule_a_device_is_pinned_to_one_operator_at_personalisation(world, wallet):
    other = Operator(2, world.root)
    wallet.send(apdu.PUT, other.certificate.encode())  # believed as a peer's, nothing more
    statement = statement_of(wallet)
    certificate = other.certify(wallet.party.public_key, KINDS["wallet"], 2, base_seq=statement.seq)
    acknowledgement = other.acknowledge(certificate, statement.head)
    assert install_refused(wallet, certificate, acknowledgement) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, other.load(wallet.id, 2, 100)) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, other.order(wallet.id, 1, RETIRE)) == NOT_FOR_THIS_DEVICE
    assert put_refused(wallet, other.resolve(wallet.id, NO_HASH, 1)) == NOT_FOR_THIS_DEVICE
    theirs = other.revoke(1, [], since=None)  # of a known operator: taken as its own list, never as ours
    wallet.send(apdu.PUT, theirs.encode())
    assert (wallet.party.trust.epoch, wallet.party.trust.list_of(2).epoch) == (0, 1)
    # The same number, but not the key that the root certified.
    cheat = Operator(1, signer("another root"), name="cheat")
    assert put_refused(wallet, cheat.certificate) == BAD_CERTIFICATE
    assert put_refused(wallet, cheat.load(wallet.id, 2, 100)) == BAD_SIGNATURE
    assert put_refused(wallet, cheat.revoke(1, [])) == BAD_CERTIFICATE


def test_personalisation_checks_everything_before_it_writes(world):
    device = world.blank("device")
    device.generate_key()
    good = world.personalisation(device, KINDS["wallet"])
    cheat = Operator(1, signer("another root"), name="cheat")
    stranger = world.operator.certify(signer("stranger").public, KINDS["wallet"])
    key = device.party.public_key
    certificate = world.operator.certify(key, KINDS["wallet"])
    genesis = records.genesis(key, sha256)

    def data(operator=world.operator, first=certificate, **changes):
        acknowledgement = world.operator.acknowledge(first, changes.pop("base_hash", genesis), **changes)
        return world.root.public + operator.certificate.encode() + pair(first, acknowledgement)

    cases = (
        (good[:-1], WRONG_LENGTH),
        (bytes(32) + good[32:], BAD_CERTIFICATE),
        (data(cheat), BAD_CERTIFICATE),
        (data(first=stranger), NOT_FOR_THIS_DEVICE),
        (data(device=bytes(16)), NOT_FOR_THIS_DEVICE),
        (data(issue=2), MISMATCH),
        (data(base_hash=bytes(32)), WRONG_BASE),
        (data(request_floor=1), WRONG_BASE),
        (data(first=world.operator.certify(key, KINDS["wallet"], epoch=1)), REVOCATIONS_MISSING),
        (good[:-1] + bytes((good[-1] ^ 1,)), BAD_CERTIFICATE),
    )
    before = device.durable()
    for wrong, cause in cases:
        assert cause_of(device.send, apdu.PERSONALISE, wrong) == cause
        assert device.durable() == before
    device.send(apdu.PERSONALISE, good)
