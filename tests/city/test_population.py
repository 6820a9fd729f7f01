"""The uploads of the settlement's benchmark: as many as asked for, in disorder, and all of them good."""

import pytest

from host_tools.city.population import AT_ONCE, payee_uploads, population, upload_of
from host_tools.crypto import sha256, verify
from host_tools.ledger import LedgerError, Upload
from protocol import records
from protocol.objects import NONCE_BYTES, Receipt, Statement, Transfer


def people(bench, n_wallets=20, n_terminals=6, seed=1, keeps_journals=False):
    key = bench.operator.key
    return population(bench.ledger, key, 1, n_wallets, n_terminals, seed, bench.now, keeps_journals)


def transfers_of(upload) -> list[Transfer]:
    credits_ = [records.decode(data) for data in upload.records if data[4] == Receipt.TYPE]
    return [record.transfer for record in credits_]


def settle(bench, uploads):
    brought = []
    for upload in uploads:
        nonce, _ = bench.ledger.begin_sync(upload.device, bench.now)
        brought.append(Upload(bench.operator.key, upload.statement(nonce), upload.records))
    return bench.ledger.settle_many(brought, bench.now)


def test_uploads_hold_as_many_transfers_as_asked_for_in_statements_of_one_to_the_largest(bench):
    uploads = list(payee_uploads(people(bench), 400, seed=2, largest=30))
    sizes = [len(transfers_of(upload)) for upload in uploads]
    assert sum(sizes) == 400
    assert all(0 < size <= 30 for size in sizes)
    assert len(set(sizes)) > 5, "of all sizes"


def test_transfers_of_a_wallet_come_out_of_their_order(bench):
    arrived: dict[bytes, list[int]] = {}
    for upload in payee_uploads(people(bench), 400, seed=2, largest=30):
        for transfer in transfers_of(upload):
            arrived.setdefault(transfer.payer, []).append(transfer.seq)
    assert len(arrived) == 20
    unordered = [seqs for seqs in arrived.values() if seqs != sorted(seqs)]
    assert len(unordered) > 10
    assert all(len(set(seqs)) == len(seqs) for seqs in arrived.values())


def test_the_same_seed_makes_the_same_bytes(bench, tmp_path):
    (tmp_path / "other").mkdir()
    other = type(bench)(tmp_path / "other")
    first = [upload.records for upload in payee_uploads(people(bench), 100, seed=2)]
    again = [upload.records for upload in payee_uploads(people(other), 100, seed=2)]
    third = [upload.records for upload in payee_uploads(people(other, seed=3), 100, seed=3)]
    other.ledger.close()
    assert first == again != third


def test_a_statement_covers_the_nonce_and_is_signed_by_its_device(bench):
    here = people(bench)
    upload = next(payee_uploads(here, 50, seed=2, largest=5))
    nonce = bytes(range(NONCE_BYTES))
    statement = Statement.decode(upload.statement(nonce))
    device = next(terminal for terminal in here.terminals if terminal.id == upload.device)
    assert statement.verified_by(device.key, verify)
    assert (statement.nonce, statement.seq, statement.head) == (nonce, upload.seq, upload.head)
    assert statement.watermark > max(transfer.number for transfer in transfers_of(upload))
    assert upload.head == sha256(records.decode(upload.records[-1]).body_bytes)


def test_all_of_it_settles_and_the_wallets_sync_afterwards(bench):
    here = people(bench, keeps_journals=True)
    for answer in settle(bench, payee_uploads(here, 120, seed=2, largest=20)):
        assert not isinstance(answer, LedgerError)
        assert answer.certified and not answer.dead_letters
    unfunded = [row for row in bench.ledger.devices(bench.now) if row["purse"] < 0]
    assert unfunded, "the payees came first"
    for answer in settle(bench, [upload_of(wallet) for wallet in here.wallets]):
        assert not isinstance(answer, LedgerError)
        assert answer.certified and not answer.dead_letters
    bench.ledger.check()
    rows = {row["id"]: row for row in bench.ledger.devices(bench.now)}
    for device in here.wallets + here.terminals:
        assert rows[device.id.hex()]["purse"] == device.balance
        assert rows[device.id.hex()]["frozen"] is None
    books = bench.ledger.reconciliation()
    assert not any(books["pending"].values()) and not any(books["loads_in_transit"].values())


def test_wallets_that_may_pay_no_more_are_told(bench):
    with pytest.raises(ValueError, match="more wallets"):
        list(payee_uploads(people(bench, n_wallets=1), 250, seed=2))
    assert sum(len(transfers_of(upload)) for upload in payee_uploads(people(bench, 1, seed=2), 249, seed=2)) == 249


def test_what_is_in_memory_is_bounded_by_the_open_uploads_not_by_the_number_of_transfers(bench):
    here = people(bench, n_wallets=40, n_terminals=50)
    most = 0
    for _ in payee_uploads(here, 5_000, seed=2, largest=10):
        most = max(most, sum(len(terminal.journal or ()) for terminal in here.terminals))
    assert most <= AT_ONCE * 10 + 50, "and the terminals' first installations"
    assert all(wallet.journal is None for wallet in here.wallets)
