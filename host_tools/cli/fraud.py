"""`jiaozi fraud`: proofs against devices that signed what no honest device signs; verified offline, kept as files."""

import re
from pathlib import Path
from typing import Annotated

import typer

from host_tools import fraud_file, keys
from host_tools.cli import currencies, options, output
from host_tools.cli import home as homes
from host_tools.cli.currencies import Currency
from host_tools.cli.device import kind_name
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home
from host_tools.crypto import sha256, verify
from host_tools.ledger.errors import LedgerMissing
from protocol import fraud
from protocol.fraud import Commitment, Finding, FraudProof, NotProven
from protocol.objects import KEY_BYTES, Certificate, OperatorCertificate, Receipt, Statement, Transfer, Void

app = typer.Typer(no_args_is_help=True, help="Proofs of fraud: what a device signed and no honest device signs.")

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A proof, as jiaozi fraud export writes it.")]
_HEX_KEY = re.compile(rf"[0-9a-fA-F]{{{2 * KEY_BYTES}}}")
_KEY_LINE_MAX = 256
_MEANINGS = {
    fraud.TWO_HISTORIES: "It signed two different histories of one journal.",
    fraud.RECEIPT_AND_VOID: "It signed that it was paid, and of the same payment that it never was and never will be.",
    fraud.CUMULATIVE: "It signed a later payment that leaves an earlier one out of what it has spent.",
}


@app.command("verify")
def verify_(
    file: _File,
    root: Annotated[
        str | None,
        typer.Option(
            "--root",
            metavar="KEY",
            show_default=False,
            help="The root's public key: 64 hex digits, or a file with it. Otherwise the folder's root key.",
        ),
    ] = None,
    home: options.Home = options.DEFAULT_HOME,
    as_json: options.Json = False,
) -> None:
    """Check a proof, with nothing but the root key: no ledger, no network, no passphrase. Exit code 22: not proven."""
    key = _root_key(root, Home(home))
    proof = fraud_file.read(file)
    try:
        finding = fraud.check(proof, key, sha256, verify)
    except NotProven as error:
        raise NotProven(
            f"{file} proves no fraud under the root key {output.short(key.hex())}: {error}. Nobody is accused by it."
            " Check that this is the right root key."
        ) from error
    facts = {"proven": True, **_facts(proof, finding), "root_key": key.hex()}
    currency = _currency(proof)
    lines = {
        "device": facts["device"],
        "kind": f"{facts['kind']}, of operator {facts['operator']}",
        "what": _MEANINGS[finding.kind],
        "first": _signed_text(proof.first, currency),
        "second": _signed_text(proof.second, currency),
    }
    who = f"device {output.short(facts['device'])} of operator {facts['operator']}"
    output.tell(as_json, facts, output.done(f"Proven: {who} signed what no honest one signs."), output.fields(lines))


@app.command("list")
def list_(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """List the proofs that the ledger holds, and the devices that it froze for what only it has seen."""
    with Home(home, ledger).ledger() as books:
        names = {row["id"]: row["name"] for row in books.devices()}
        frozen = {row["id"]: row["frozen"] for row in books.devices() if row["frozen"]}
        root = books.root_key() if frozen else b""
        found = [_facts(proof, fraud.check(proof, root, sha256, verify)) for proof in books.fraud_proofs()]
    proofs = [{"name": names.get(row["device"], ""), **row} for row in found]
    proven = {row["device"] for row in proofs}
    unproven = [{"device": who, "name": names[who], "frozen": why} for who, why in frozen.items() if who not in proven]
    rows = [(row["name"], output.short(row["device"]), str(row["operator"]), row["what"]) for row in proofs]
    parts = [output.listing(("name", "id", "operator", "proven"), rows, ("operator",))] if rows else ["No proofs."]
    parts += [
        output.warning(f"{row['name']} ({output.short(row['device'])}) is frozen without a proof: {row['frozen']}")
        for row in unproven
    ]
    output.tell(as_json, {"proofs": proofs, "frozen_without_proof": unproven}, *parts)


@app.command()
def export(
    device: options.Device,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="File to write; it must not exist yet.")],
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Write the proofs against a device to files, one for each: FILE, and if there are more, FILE-2 and so on."""
    with Home(home, ledger).ledger() as books:
        row = homes.find_device(books, device)
        proofs = books.fraud_proofs(bytes.fromhex(row["id"]))
    if not proofs:
        why = f"It is frozen: {row['frozen']}." if row["frozen"] else "It is not frozen."
        raise NotProven(f"The ledger holds no proof against {row['name']}. {why} Nothing was written.")
    files = [out] + [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(2, len(proofs) + 1)]
    taken = [file for file in files if file.exists()]
    if taken:
        raise BadInput(f"{taken[0]} exists, and nothing is overwritten. Nothing was written; name another file.")
    for file, proof in zip(files, proofs, strict=True):
        fraud_file.write_new(file, proof)
    facts = {"device": row["id"], "name": row["name"], "files": [str(file) for file in files]}
    lines = [output.done(f"{row['name']}: proof written to {file}") for file in files]
    output.tell(as_json, facts, *lines, f"Anybody can check it: jiaozi fraud verify {files[0]} --root KEY")


@app.command()
def submit(
    file: _File,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Bring a proof to the ledger, which checks it and freezes the device."""
    proof = fraud_file.read(file)
    with Home(home, ledger).ledger() as books:
        row = books.device(books.submit_fraud_proof(proof, homes.now()))
    facts = {"device": row["id"], "name": row["name"], "operator": row["operator"], "frozen": row["frozen"]}
    text = f"{row['name']} ({output.short(row['id'])}) of operator {row['operator']} is frozen: {row['frozen']}."
    output.tell(
        as_json,
        facts,
        output.done(text),
        "It gets no certificate, no load and no redemption any more. It is put on its operator's list of blocked"
        " devices with the operator's next sync.",
    )


def _root_key(given: str | None, here: Home) -> bytes:
    """Raises `BadInput`, `KeyFileError`, `OSError`."""
    if given is not None:
        return bytes.fromhex(given) if _HEX_KEY.fullmatch(given) else _key_in(Path(given))
    if here.root_key_file.exists():
        return _key_in(here.root_key_file)
    try:
        with here.ledger() as books:
            return books.root_key()
    except LedgerMissing:
        raise BadInput(
            f"There is no root key in {here.folder}. Give it with --root, as 64 hex digits or a file."
        ) from None


def _key_in(file: Path) -> bytes:
    """The public key in a key file of the root, or in hex in a text file's first line."""
    with file.open("rb") as opened:
        line = opened.read(_KEY_LINE_MAX).split(b"\n")[0].strip().decode(errors="replace")
    if _HEX_KEY.fullmatch(line):
        return bytes.fromhex(line)
    kind, key = keys.public_key(file)
    if kind != "root":
        raise BadInput(f"{file} is the key of an {kind}, not of the root. Name the root's.")
    return key


def _facts(proof: FraudProof, finding: Finding) -> dict:
    """Of a proof that was checked."""
    certificate = Certificate.decode(proof.certificate)
    return {
        "device": finding.device.hex(),
        "operator": certificate.operator,
        "kind": kind_name(certificate.kind),
        "what": finding.kind,
        "currency": output.currency_facts(_currency(proof)),
        "first": _signed_facts(proof.first),
        "second": _signed_facts(proof.second),
    }


def _currency(proof: FraudProof) -> Currency:
    operator = OperatorCertificate.decode(proof.operator_certificate)
    return currencies.by_number(operator.currency, operator.exponent)


def _signed_facts(commitment: Commitment) -> dict:
    """What was signed, by its own words; `records` are the records below that it stands for."""
    signed = commitment.signed
    facts: dict = {"records": len(commitment.bodies)}
    if signed[0] == Transfer.TYPE:
        transfer = Transfer.decode(signed)
        paid = {"payee": transfer.payee.hex(), "amount": transfer.amount, "cumulative": transfer.cumulative}
        return {"signed": "transfer", "seq": transfer.seq, **paid, **facts}
    if signed[0] == Receipt.TYPE:
        receipt = Receipt.decode(signed)
        return {"signed": "receipt", "seq": receipt.seq, "transfer": receipt.transfer.hex(), **facts}
    if signed[0] == Void.TYPE:
        return {"signed": "void", "transfer": Void.decode(signed).transfer.hex(), **facts}
    statement = Statement.decode(signed)
    return {"signed": "statement", "seq": statement.seq, "time": statement.time, **facts}


def _signed_text(commitment: Commitment, currency: Currency) -> str:
    facts = _signed_facts(commitment)
    if facts["signed"] == "transfer":
        amount = output.amount_text(facts["amount"], currency)
        text = f"transfer of {amount} to {output.short(facts['payee'])}, record {facts['seq']}"
    elif facts["signed"] == "receipt":
        text = f"receipt for payment {output.short(facts['transfer'])}, record {facts['seq']}"
    elif facts["signed"] == "void":
        text = f"void of payment {output.short(facts['transfer'])}"
    else:
        text = f"statement of {output.time_text(facts['time'])}, journal head {facts['seq']}"
    return f"{text}, with {facts['records']} records before it" if facts["records"] else text
