"""protocol.records and protocol.purse: strict reading, links, and that memory is a fold over the journal. Runs on
MicroPython too.
"""

from protocol import apdu, records
from protocol.errors import DecodeError, LocalError
from protocol.objects import PAID, VOID, Receipt, Void
from protocol.purse import Purse
from tests.unit.world import Link, LinkLost, World, meet, raises, replay, sale, sale_tap, sha256


def one_of_each():
    """A payer's and a payee's journal that hold every kind of record: (payer, payee)."""
    world = World()
    wallet = world.device("wallet", balance=50_000)
    terminal = world.device("terminal", "terminal")
    sale(terminal, wallet, 1_000)
    terminal.open(2_000)
    raises(LinkLost, meet, sale_tap(terminal), wallet, Link(cut_at=3))  # in doubt
    return wallet, terminal


def kinds(device):
    return [stored[4] for stored in device.journal.stored]


def test_a_journal_holds_what_happened_in_order():
    wallet, terminal = one_of_each()
    assert kinds(wallet) == [0x22, 0x20, 0x05, 0x21, 0x05]
    assert kinds(terminal) == [0x22, 0x06]


def test_every_record_survives_a_round_trip_and_its_links_hold():
    wallet, terminal = one_of_each()
    for stored in wallet.journal.stored + terminal.journal.stored:
        record = records.decode(stored)
        records.check_links(record, sha256)
        assert stored[:4] == record.seq.to_bytes(4, "big")
        assert stored[4 : 4 + len(record.body_bytes)] == record.body_bytes


def test_no_record_is_longer_than_what_is_reserved_for_it():
    wallet, terminal = one_of_each()
    longest = {0x05: records.DEBIT_RECORD_BYTES, 0x06: records.CREDIT_RECORD_BYTES, 0x20: records.LOAD_RECORD_BYTES}
    longest[0x21] = records.CLOSING_MAX_BYTES
    longest[0x22] = records.INSTALLATION_MAX_BYTES
    for stored in wallet.journal.stored + terminal.journal.stored:
        assert len(stored) <= longest[stored[4]]


def test_every_cut_and_every_extension_of_a_record_is_refused():
    wallet, terminal = one_of_each()
    for stored in wallet.journal.stored + terminal.journal.stored:
        for length in range(len(stored)):
            raises(DecodeError, records.decode, stored[:length])
        raises(DecodeError, records.decode, stored + b"\x00")


def test_the_seq_before_the_body_must_be_the_body_s():
    wallet, _ = one_of_each()
    for stored in wallet.journal.stored:
        assert raises(DecodeError, records.decode, b"\x00\x00\x00\x63" + stored[4:]).reason == "value"


def test_unknown_kinds_and_flags_are_refused():
    wallet, _ = one_of_each()
    debit = wallet.journal.stored[2]
    assert raises(DecodeError, records.decode, debit[:4] + b"\x0b" + debit[5:]).reason == "type"
    assert raises(DecodeError, records.decode, debit[:-1] + b"\x03").reason == "value"


def test_an_installation_keeps_what_is_in_doubt():
    wallet, _ = one_of_each()
    wallet_debit = wallet.purse.in_doubt[0]
    world = World()
    world.sync(wallet)
    record = records.decode(wallet.journal.stored[-1])
    assert [transfer.encode() for transfer, _, _ in record.in_doubt] == [wallet_debit.transfer.encode()]
    stored = wallet.journal.stored[-1]
    assert raises(DecodeError, records.decode, stored[:-1] + b"\x03").reason == "value"


def test_a_snapshot_never_claims_more_in_doubt_than_a_device_has_slots():
    raises(
        LocalError,
        records.SnapshotHead,
        balance=0,
        cumulative=0,
        unconfirmed=0,
        load_floor=0,
        last_load=bytes(32),
        count=9,
    )


def test_links_a_closing_must_tell_what_its_evidence_says():
    wallet, terminal = one_of_each()
    closing = records.decode(wallet.journal.stored[3])
    assert closing.body.outcome == PAID
    assert isinstance(closing.evidence, Receipt)
    void = Void(transfer=closing.body.transfer).sign(terminal.party.sign)
    closing.evidence = void
    raises(DecodeError, records.check_links, closing, sha256)
    closing.body.evidence = sha256(void.body())
    raises(DecodeError, records.check_links, closing, sha256)  # the outcome still says paid
    closing.body.outcome = VOID
    records.check_links(closing, sha256)


def test_links_a_credit_a_load_and_an_installation_must_hash_what_stands_beside_them():
    wallet, terminal = one_of_each()
    credit = records.decode(terminal.journal.stored[1])
    credit.transfer = records.decode(wallet.journal.stored[4]).transfer
    raises(DecodeError, records.check_links, credit, sha256)
    load = records.decode(wallet.journal.stored[1])
    load.load.amount += 1
    raises(DecodeError, records.check_links, load, sha256)
    installation = records.decode(wallet.journal.stored[0])
    installation.certificate.issue += 1
    raises(DecodeError, records.check_links, installation, sha256)


def test_the_chain_starts_at_the_hash_of_the_key():
    wallet, _ = one_of_each()
    first = records.decode(wallet.journal.stored[0])
    assert first.body.previous == sha256(wallet.party.public_key) == records.genesis(wallet.party.public_key, sha256)


def state(purse):
    debits = [(debit.hash, debit.payee_key, debit.flags) for debit in purse.in_doubt]
    counters = (purse.balance, purse.cumulative, purse.unconfirmed, purse.load_floor, purse.last_load)
    return (purse.head_seq, purse.head_hash, purse.certificate_hash, counters, debits)


def test_memory_is_a_fold_over_the_journal():
    wallet, terminal = one_of_each()
    for device in (wallet, terminal):
        before = state(device.purse)
        device.restart()
        assert state(device.purse) == before


def test_memory_is_the_same_after_records_were_dropped():
    wallet, _ = one_of_each()
    World().sync(wallet)
    assert wallet.journal.first_seq == 6  # 5 was the head at the statement
    before = state(wallet.purse)
    wallet.restart()
    assert state(wallet.purse) == before


def test_a_record_that_does_not_continue_the_chain_is_refused():
    wallet, _ = one_of_each()
    stored = wallet.journal.stored
    for order in ([0, 2], [0, 1, 1], [0, 1, 3], [1, 3]):
        purse = Purse(wallet.party.public_key, sha256)
        raises(LocalError, replay, purse, [stored[at] for at in order])
    other = Purse(b"k" * 32, sha256)  # another device's journal
    raises(LocalError, replay, other, stored)


def test_a_journal_without_an_installation_is_refused():
    wallet, _ = one_of_each()
    purse = Purse(wallet.party.public_key, sha256)
    raises(LocalError, replay, purse, wallet.journal.stored[1:3])


def test_a_debit_is_closed_once_only():
    wallet, _ = one_of_each()
    closing = wallet.journal.stored[3]
    forged = (6).to_bytes(4, "big") + closing[4:6] + (6).to_bytes(4, "big") + wallet.purse.head_hash + closing[42:]
    raises(LocalError, wallet.purse.apply, forged)


def test_a_host_can_read_every_record_by_its_seq():
    wallet, _ = one_of_each()
    for seq in range(1, 6):
        assert wallet.send(apdu.JOURNAL, seq.to_bytes(4, "big")) == wallet.journal.stored[seq - 1]
