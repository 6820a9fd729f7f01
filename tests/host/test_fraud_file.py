"""`jiaozi fraud`, with proofs that cheating devices really made: what proves, and all the ways a file does not."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from host_tools import fraud_file, keys
from host_tools.cli.exits import Exit
from host_tools.fraud_file import FraudFileError
from protocol import apdu, fraud, records
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Statement, Transfer, Void
from tests.host.command import PASSPHRASE, failed, in_json, jiaozi
from tests.ledger.world import Town, clone, sale
from tests.unit.world import Device, sha256, signer

PROJECT = Path(__file__).parents[2]


class Case(NamedTuple):
    """A town in which a copied wallet has paid twice from one balance, and the proof of it in a file."""

    town: Town
    wallet: Device
    proof: FraudProof
    file: Path

    @property
    def root(self) -> str:
        return self.town.root.public.hex()

    def changed(self, change: Callable[[dict], Any]) -> Path:
        """The file with one thing in it changed."""
        content = json.loads(self.file.read_text())
        change(content)
        other = self.file.with_name("changed.json")
        other.write_text(json.dumps(content))
        return other


def _transfer(wallet: Device) -> Transfer:
    """The last one that a wallet has signed."""
    stored = [data for data in wallet.journal.stored if data[4] == Transfer.TYPE]
    return Transfer.decode(stored[-1][4 : 4 + Transfer.size()])


def _paid_twice(town: Town) -> tuple[list[Device], Device, FraudProof]:
    """Two shops that a wallet and its copy have paid from one balance, the wallet, and the proof; nobody has synced."""
    shops, wallet = [town.device(name, "terminal") for name in ("shop", "kiosk")], town.device("Ana", balance=900)
    twin = clone(wallet)
    sale(shops[0], wallet, 300)
    sale(shops[1], twin, 700)
    return shops, wallet, _against(town, wallet, *[_transfer(device).encode() for device in (wallet, twin)])


@pytest.fixture
def case(tmp_path: Path) -> Case:
    town = Town(tmp_path)
    shops, wallet, proof = _paid_twice(town)
    folder = tmp_path / "far away"
    folder.mkdir()
    file = folder / "proof.json"
    fraud_file.write_new(file, proof)
    for shop in shops:
        town.sync(shop)
    return Case(town, wallet, proof, file)


# What proves


def test_anybody_verifies_a_proof_with_nothing_but_the_file_and_the_root_key(case: Case):
    """In a folder of its own, without home, ledger, passphrase and link: as a process, so that nothing is left over."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "HOME": str(case.file.parent)}
    command = [sys.executable, "-m", "host_tools.cli.main", "fraud", "verify", "proof.json", "--root", case.root]
    before = sorted(os.listdir(case.file.parent))
    done = subprocess.run(
        command, cwd=case.file.parent, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (Exit.OK, "")
    for word in (case.wallet.id.hex(), "Proven", "operator 1", "two different histories", "3.00 CNY", "7.00 CNY"):
        assert word in done.stdout
    assert sorted(os.listdir(case.file.parent)) == before


def test_the_facts_of_a_proof(case: Case):
    facts = in_json("fraud", "verify", case.file, "--root", case.root)
    assert facts["proven"] is True
    assert (facts["device"], facts["operator"], facts["what"]) == (case.wallet.id.hex(), 1, fraud.TWO_HISTORIES)
    assert (facts["kind"], facts["currency"]["code"], facts["root_key"]) == ("wallet-2", "CNY", case.root)
    assert (facts["first"]["amount"], facts["second"]["amount"]) == (300, 700)
    assert facts["first"]["seq"] == facts["second"]["seq"]


def test_the_root_key_comes_from_a_file_or_from_the_home(case: Case, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    failed(jiaozi("fraud", "verify", case.file, "--home", home), Exit.USAGE, "no root key", "--root")
    text = tmp_path / "root.txt"
    text.write_text(case.root.upper() + "\n")
    assert in_json("fraud", "verify", case.file, "--root", text, "--home", home)["proven"]
    keys.create(home / "root.key", "root", PASSPHRASE, seed=sha256(b"root"), cost=keys.INTERACTIVE)
    assert in_json("fraud", "verify", case.file, "--home", home)["proven"]
    assert in_json("fraud", "verify", case.file, "--root", home / "root.key")["proven"]


def test_the_ledgers_root_counts_where_there_is_no_key_file(case: Case, tmp_path: Path):
    case.town.ledger.close()  # what is in its log goes into the file
    (tmp_path / "ledger.sqlite").rename(tmp_path / "ledger.db")
    assert in_json("fraud", "verify", case.file, "--home", tmp_path)["proven"]


def test_a_statement_with_the_records_below_it_proves_as_well(case: Case):
    """The records are preimages: they need no signature of their own."""
    wallet = case.wallet
    sale(case.town.named("shop"), wallet, 20)
    statement = wallet.send(apdu.STATEMENT, bytes(16))
    head = Statement.decode(statement).seq
    seq = Transfer.decode(case.proof.second.signed).seq
    bodies = tuple(_body(wallet, at) for at in range(head, seq - 1, -1))
    proof = case.proof._replace(first=Commitment(statement, bodies))
    file = case.file.with_name("statement.json")
    fraud_file.write_new(file, proof)
    facts = in_json("fraud", "verify", file, "--root", case.root)
    assert (facts["what"], facts["first"]["signed"]) == (fraud.TWO_HISTORIES, "statement")
    assert facts["first"]["records"] == len(bodies) > 1
    assert "journal head" in jiaozi("fraud", "verify", file, "--root", case.root).out


def _against(town: Town, device: Device, first: bytes, second: bytes) -> FraudProof:
    operator = town.ledger.operator_certificate(1).encode()
    return FraudProof(operator, device.certificate.encode(), Commitment(first, ()), Commitment(second, ()))


def test_a_payee_that_took_and_declined_one_payment(tmp_path: Path):
    town = Town(tmp_path)
    shop, wallet = town.device("shop", "terminal"), town.device("Ana", balance=900)
    sale(shop, wallet, 300)
    receipt = records.decode(shop.journal.stored[-1]).receipt
    void = Void(transfer=receipt.transfer).sign(signer("shop").sign)
    file = tmp_path / "proof.json"
    fraud_file.write_new(file, _against(town, shop, receipt.encode(), void.encode()))
    facts = in_json("fraud", "verify", file, "--root", town.root.public.hex())
    assert (facts["device"], facts["what"]) == (shop.id.hex(), fraud.RECEIPT_AND_VOID)
    assert (facts["first"]["signed"], facts["second"]["signed"]) == ("receipt", "void")
    shown = jiaozi("fraud", "verify", file, "--root", town.root.public.hex()).out
    assert "never was" in shown and f"void of payment {receipt.transfer.hex()[:8]}" in shown


def test_a_payer_that_leaves_out_what_it_has_spent(tmp_path: Path):
    town = Town(tmp_path)
    shop, wallet = town.device("shop", "terminal"), town.device("Ana", balance=900)
    sale(shop, wallet, 300)
    first = _transfer(wallet)
    later = Transfer.decode(first.encode())
    later.seq, later.cumulative = first.seq + 5, later.amount
    later.sign(signer("Ana").sign)
    file = tmp_path / "proof.json"
    fraud_file.write_new(file, _against(town, wallet, first.encode(), later.encode()))
    assert in_json("fraud", "verify", file, "--root", town.root.public.hex())["what"] == fraud.CUMULATIVE
    assert "leaves an earlier one out" in jiaozi("fraud", "verify", file, "--root", town.root.public.hex()).out


def _body(device: Device, seq: int) -> bytes:
    stored = device.journal.record(seq)
    assert stored is not None
    return records.decode(stored).body_bytes


# What does not prove: a code of its own, one line, no traceback


def test_a_proof_under_another_root_is_none(case: Case):
    other = signer("another root").public.hex()
    result = jiaozi("fraud", "verify", case.file, "--root", other)
    failed(result, Exit.NOT_PROVEN, f"under the root key {other[:8]}", "the root has not signed", "Nobody is accused")
    error = json.loads(jiaozi("fraud", "verify", case.file, "--root", other, "--json").out)["error"]
    assert (error["exit"], error["name"]) == (22, "not_proven")


def _flip(text: str, at: int) -> str:
    """One bit of hex text changed."""
    return text[:at] + "0123456789abcdef"[int(text[at], 16) ^ 1] + text[at + 1 :]


def test_whatever_bit_of_a_proof_is_changed_it_proves_nothing(case: Case):
    """Every eighth byte of everything in it: a field or a signature, of the root, the operator or the device."""
    content = json.loads(case.file.read_text())
    for path in (("operator_certificate",), ("certificate",), ("first", "signed"), ("second", "signed")):
        size = len(content[path[0]] if len(path) == 1 else content[path[0]][path[1]])
        for at in range(0, size, 16):

            def change(inner: dict, at: int = at, path: tuple = path) -> None:
                for name in path[:-1]:
                    inner = inner[name]
                inner[path[-1]] = _flip(inner[path[-1]], at)

            failed(jiaozi("fraud", "verify", case.changed(change), "--root", case.root), Exit.NOT_PROVEN)


def test_the_same_transfer_twice_and_two_of_two_positions_prove_nothing(case: Case):
    def same(content: dict) -> None:
        content["second"] = content["first"]

    failed(jiaozi("fraud", "verify", case.changed(same), "--root", case.root), Exit.NOT_PROVEN)
    sale(case.town.named("shop"), case.wallet, 20)
    later = _transfer(case.wallet).encode().hex()
    result = case.changed(lambda content: content["second"].update(signed=later))
    # Its record follows the first one's: one history, honestly grown.
    failed(jiaozi("fraud", "verify", result, "--root", case.root), Exit.NOT_PROVEN)


def test_another_devices_signature_accuses_nobody(case: Case):
    """An honest shop's Statement, called a second history of the payer."""
    statement = case.town.named("shop").send(apdu.STATEMENT, bytes(16)).hex()
    file = case.changed(lambda content: content["second"].update(signed=statement))
    failed(jiaozi("fraud", "verify", file, "--root", case.root), Exit.NOT_PROVEN)


CHANGES: dict[str, tuple[Callable[[dict], Any], str]] = {
    "another format": (lambda c: c.update(format="jiaozi key 1"), "format"),
    "another version": (lambda c: c.update(version=2), "version"),
    "a version that only equals": (lambda c: c.update(version=True), "version"),
    "a missing key": (lambda c: c.pop("certificate"), "'certificate'"),
    "a key too many": (lambda c: c.update(comment="x"), "does not belong"),
    "a key too many inside": (lambda c: c["first"].update(comment="x"), "first"),
    "a commitment that is none": (lambda c: c.update(second=[]), "second is no JSON object"),
    "bodies that are no list": (lambda c: c["first"].update(bodies="00"), "no list"),
    "a body that is no hex": (lambda c: c["first"].update(bodies=[7]), "hex"),
    "half a byte": (lambda c: c.update(certificate=c["certificate"][:-1]), "hex"),
    "capital hex": (lambda c: c.update(certificate=c["certificate"].upper()), "hex"),
    "hex with spaces": (lambda c: c.update(certificate=" " + c["certificate"]), "hex"),
    "a letter that is no digit": (lambda c: c.update(certificate="g" + c["certificate"][1:]), "hex"),
    "digits of another script": (lambda c: c.update(certificate="٠٠"), "hex"),
    "a truncated certificate": (lambda c: c.update(certificate=c["certificate"][:-2]), ""),
    "a truncated signature": (lambda c: c["first"].update(signed=c["first"]["signed"][:-2]), ""),
    "nothing signed": (lambda c: c["first"].update(signed=""), ""),
    "another object": (lambda c: c["first"].update(signed=c["certificate"]), ""),
    "a body that fits nothing": (lambda c: c["first"].update(bodies=["00" * 130]), ""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_is_not_exactly_a_proof_proves_nothing(case: Case, change: str):
    alter, word = CHANGES[change]
    result = jiaozi("fraud", "verify", case.changed(alter), "--root", case.root)
    failed(result, Exit.NOT_PROVEN, word)


CONTENTS = {
    "empty": b"",
    "a letter": b"dear aunt",
    "binary": bytes(range(256)),
    "a list": b"[]",
    "a number": b"7",
    "too deep": b"[" * 100_000,
    "a number without end": b"9" * 10_000,
    "doubled names": b'{"format": "jiaozi fraud proof", "format": "jiaozi fraud proof"}',
    "utf-16": '{"format": 1}'.encode("utf-16"),
}


@pytest.mark.parametrize("content", CONTENTS)
def test_a_file_that_is_something_else_proves_nothing(case: Case, content: str):
    file = case.file.with_name("other")
    file.write_bytes(CONTENTS[content])
    failed(jiaozi("fraud", "verify", file, "--root", case.root), Exit.NOT_PROVEN, "is no fraud proof", "other")


def test_a_truncated_file_proves_nothing(case: Case):
    data = case.file.read_bytes()
    other = case.file.with_name("half")
    for size in range(0, len(data) - 2, 97):  # without its last brace and line end it is no JSON
        other.write_bytes(data[:size])
        failed(jiaozi("fraud", "verify", other, "--root", case.root), Exit.NOT_PROVEN, "not JSON")


def test_a_file_of_any_size_is_not_read_whole(case: Case):
    big = case.file.with_name("big")
    with big.open("wb") as file:
        file.truncate(1 << 40)
    failed(jiaozi("fraud", "verify", big, "--root", case.root), Exit.NOT_PROVEN, "longer than")


def test_a_pipe_and_a_folder_and_nothing_do_not_hang(case: Case):
    pipe = case.file.with_name("pipe")
    os.mkfifo(pipe)
    failed(jiaozi("fraud", "verify", pipe, "--root", case.root), Exit.NOT_PROVEN, "no regular file")
    failed(jiaozi("fraud", "verify", case.file.parent, "--root", case.root), Exit.NOT_PROVEN, "no regular file")
    failed(jiaozi("fraud", "verify", "/nothing", "--root", case.root), Exit.USAGE, "/nothing")
    failed(jiaozi("fraud", "verify", case.file, "--root", "abc"), Exit.USAGE, "abc")


def test_what_is_written_is_read_back_and_never_overwritten(case: Case):
    assert fraud_file.read(case.file) == case.proof
    before = case.file.read_bytes()
    with pytest.raises(FileExistsError):
        fraud_file.write_new(case.file, case.proof._replace(certificate=b""))
    assert case.file.read_bytes() == before
    with pytest.raises(FraudFileError):
        fraud_file.decode(before.replace(b'"version": 1', b'"version": 1.0'))


# With a ledger


def test_the_ledgers_proofs_are_listed_and_exported_once(case: Case, tmp_path: Path):
    at = ("--ledger", case.town.url)
    (proof,) = in_json("fraud", "list", *at)["proofs"]
    assert (proof["name"], proof["device"], proof["what"]) == ("Ana", case.wallet.id.hex(), fraud.TWO_HISTORIES)
    assert "Ana" in jiaozi("fraud", "list", *at).out
    out = tmp_path / "ana.json"
    assert in_json("fraud", "export", "Ana", "--out", out, *at)["files"] == [str(out)]
    assert in_json("fraud", "verify", out, "--root", case.root)["device"] == case.wallet.id.hex()
    before = out.read_bytes()
    failed(jiaozi("fraud", "export", "Ana", "--out", out, *at), Exit.USAGE, "nothing is overwritten")
    assert out.read_bytes() == before
    failed(jiaozi("fraud", "export", "shop", "--out", tmp_path / "shop", *at), Exit.NOT_PROVEN, "not frozen")
    assert not (tmp_path / "shop").exists()


def test_every_proof_has_a_file_of_its_own(case: Case, tmp_path: Path):
    third = clone(case.wallet)
    third.journal.stored = third.journal.stored[: Transfer.decode(case.proof.first.signed).seq - 1]
    third.restart()
    sale(case.town.named("shop"), third, 111)
    case.town.sync(case.town.named("shop"))
    at = ("--ledger", case.town.url)
    files = in_json("fraud", "export", "Ana", "--out", tmp_path / "ana.json", *at)["files"]
    assert len(files) >= 2 and files[1] == str(tmp_path / "ana-2.json")
    for file in files:
        assert in_json("fraud", "verify", file, "--root", case.root)["proven"]


def test_a_rolled_back_device_is_frozen_without_a_proof(tmp_path: Path):
    town = Town(tmp_path)
    shop, wallet = town.device("shop", "terminal"), town.device("Ana", balance=900)
    old = clone(wallet)
    sale(shop, wallet, 300)
    town.sync(wallet)
    town.settle(old, *town.statement(old))
    at = ("--ledger", town.url)
    facts = in_json("fraud", "list", *at)
    assert facts["proofs"] == [] and facts["frozen_without_proof"][0]["name"] == "Ana"
    assert "without a proof: rolled back" in jiaozi("fraud", "list", *at).out
    result = jiaozi("fraud", "export", "Ana", "--out", tmp_path / "ana", *at)
    failed(result, Exit.NOT_PROVEN, "rolled back", "Nothing was written")


def test_a_proof_from_elsewhere_freezes_the_device(tmp_path: Path):
    """Two shops that never sync have shown each other what one wallet paid them."""
    town = Town(tmp_path)
    _, wallet, proof = _paid_twice(town)
    file = tmp_path / "proof.json"
    fraud_file.write_new(file, proof)
    at = ("--ledger", town.url)
    assert "No proofs" in jiaozi("fraud", "list", *at).out
    said = in_json("fraud", "submit", file, *at)
    assert (said["name"], said["device"]) == ("Ana", wallet.id.hex()) and said["frozen"]
    assert town.frozen(wallet) == said["frozen"]
    assert in_json("fraud", "submit", file, *at) == said
    assert [row["name"] for row in in_json("fraud", "list", *at)["proofs"]] == ["Ana"]
    assert "frozen" in jiaozi("fraud", "submit", file, *at).out


def test_a_submission_that_proves_nothing_freezes_nobody(tmp_path: Path):
    town = Town(tmp_path)
    shop, wallet = town.device("shop", "terminal"), town.device("Ana", balance=900)
    sale(shop, wallet, 300)
    file = tmp_path / "proof.json"
    fraud_file.write_new(file, _against(town, wallet, *[_transfer(wallet).encode()] * 2))
    failed(jiaozi("fraud", "submit", file, "--ledger", town.url), Exit.NOT_PROVEN)
    assert town.frozen(wallet) is None


def test_the_longest_proof_that_can_be_made_can_be_read(case: Case):
    most = Commitment(case.proof.first.signed, (bytes(Transfer.body_size()),) * fraud.MAX_BODIES)
    proof = case.proof._replace(first=most, second=most)
    assert fraud_file.decode(fraud_file.encode(proof)) == proof
