"""protocol.revocations: a complete list and its delta, as one. Runs on MicroPython too."""

from protocol.errors import REVOCATIONS_MISSING, DecodeError
from protocol.objects import ID_BYTES, MAX_DELTA, MAX_REVOCATIONS, REVOKED_ALTOGETHER, Revocations
from protocol.revocations import RevocationList, setting
from tests.unit.world import Operator, cause_of, raises, sha256, signer

OPERATOR = Operator(1, signer("root"))


def who(n):
    return bytes((n,)) * 16


def listed(*objects):
    this = RevocationList()
    for one in objects:
        this = this.with_newer(one, sha256)
    return this


COMPLETE = OPERATOR.revoke(5, [(who(1), 3), (who(2), REVOKED_ALTOGETHER), (who(9), 4)])
DELTA = OPERATOR.revoke(7, [(who(2), 0), (who(3), 8), (who(9), 6)], since=COMPLETE)


def test_an_empty_list_revokes_nobody_and_helps_nobody():
    this = RevocationList()
    assert (this.epoch, this.entry(who(1)), this.stored, this.newer_than(0)) == (0, 0, b"", b"")


def test_a_complete_list_says_who_is_revoked():
    this = listed(COMPLETE)
    assert this.epoch == 5
    assert [this.entry(who(n)) for n in (0, 1, 2, 3, 9, 10)] == [0, 3, REVOKED_ALTOGETHER, 0, 4, 0]


def test_an_id_is_found_at_the_beginning_of_an_entry_only():
    inside = bytes(8) + bytes((3,)) * 8  # ends in one entry's number and begins in the middle of its id
    entries = [(bytes(15) + b"\x01", 0), (bytes((3,)) * 16, 5)]
    this = listed(OPERATOR.revoke(1, entries))
    assert bytes(4) + bytes((3,)) * 12 in this.complete
    assert this.entry(bytes(4) + bytes((3,)) * 12) == 0
    assert this.entry(inside) == 0
    assert this.entry(bytes((3,)) * 16) == 5
    both = listed(OPERATOR.revoke(2, [(bytes(16), 0), (bytes(3) + b"\x07" + bytes(12), 9)]))
    assert this.complete != both.complete
    assert both.entry(bytes(3) + b"\x07" + bytes(12)) == 9
    signature = listed(COMPLETE).complete[-ID_BYTES:]
    assert listed(COMPLETE).entry(signature) == 0
    assert listed(COMPLETE).entry(listed(COMPLETE).complete[-64:][:ID_BYTES]) == 0  # where one more entry would stand


def test_a_delta_s_entries_stand_in_the_place_of_the_complete_list_s():
    this = listed(COMPLETE, DELTA)
    assert this.epoch == 7
    assert [this.entry(who(n)) for n in (1, 2, 3, 9)] == [3, 0, 8, 6]


def test_a_delta_says_all_since_the_complete_list_and_replaces_the_one_before():
    later = OPERATOR.revoke(8, [(who(4), 2)], since=COMPLETE)
    this = listed(COMPLETE, DELTA, later)
    assert (this.epoch, this.stored) == (8, COMPLETE.encode() + later.encode())
    assert [this.entry(who(n)) for n in (2, 3, 4)] == [REVOKED_ALTOGETHER, 0, 2]


def test_a_complete_list_ends_the_delta():
    newer = OPERATOR.revoke(8, [])
    this = listed(COMPLETE, DELTA, newer)
    assert (this.epoch, this.stored, this.entry(who(1))) == (8, newer.encode(), 0)


def test_rule_a_delta_needs_the_complete_list_it_names():
    other = OPERATOR.revoke(5, [(who(1), 4)])  # the same epoch, other words
    assert cause_of(listed, DELTA) == REVOCATIONS_MISSING
    assert cause_of(listed, other, DELTA) == REVOCATIONS_MISSING
    assert cause_of(listed, OPERATOR.revoke(4, []), DELTA) == REVOCATIONS_MISSING
    on_a_delta = OPERATOR.revoke(8, [], since=DELTA)
    assert cause_of(listed, COMPLETE, DELTA, on_a_delta) == REVOCATIONS_MISSING


def test_what_brings_another_device_further():
    this = listed(COMPLETE, DELTA)
    assert [this.newer_than(epoch) for epoch in (0, 4)] == [COMPLETE.encode()] * 2
    assert [this.newer_than(epoch) for epoch in (5, 6)] == [DELTA.encode()] * 2
    assert [this.newer_than(epoch) for epoch in (7, 8)] == [b""] * 2


def test_any_two_devices_reach_the_newer_one_s_state_in_two_objects():
    newest = OPERATOR.revoke(10, [(who(6), 2)])
    states = (
        listed(),
        listed(COMPLETE),
        listed(COMPLETE, DELTA),
        listed(newest),
        listed(newest, OPERATOR.revoke(11, [], since=newest)),
    )
    for behind in states:
        for ahead in states:
            if ahead.epoch <= behind.epoch:
                continue
            now = behind
            for _ in range(2):
                newer = ahead.newer_than(now.epoch)
                now = now.with_newer(Revocations.decode(newer), sha256) if newer else now
            assert now.stored == ahead.stored


def test_what_is_stored_is_read_back():
    full = OPERATOR.revoke(5, [(who(n), n + 1) for n in range(MAX_REVOCATIONS)])
    delta = OPERATOR.revoke(6, [(who(n), 200) for n in range(MAX_DELTA)], since=full)
    for objects in ((), (COMPLETE,), (COMPLETE, DELTA), (full,), (full, delta), (OPERATOR.revoke(1, []),)):
        stored = listed(*objects).stored
        again = RevocationList(stored)
        assert again.stored == stored
        assert again.complete == (objects[0].encode() if objects else b"")
        assert again.delta == (objects[1].encode() if len(objects) > 1 else b"")
    assert len(listed(full, delta).stored) <= 3_400  # storage.settings takes no more


def test_a_delta_has_at_most_forty_entries():
    long = OPERATOR.revoke(6, [(who(n), 1) for n in range(MAX_DELTA)], since=COMPLETE).encode()
    assert Revocations.decode(long).count == MAX_DELTA
    longer = long[:44] + (MAX_DELTA + 1).to_bytes(2, "big") + long[46:-64] + b"\xff" * 20 + long[-64:]
    assert raises(DecodeError, Revocations.decode, longer).reason == "value"


def test_a_list_has_a_setting_of_its_own():
    assert [setting(issuer) for issuer in (0, 1, 65_535)] == ["revoked 0", "revoked 1", "revoked 65535"]
