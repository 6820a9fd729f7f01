"""Makes `protocol/vectors/*.json`: bytes that every implementation must produce, accept or refuse (docs/protocol.md,
"Test vectors").

    .venv/bin/python -m tests.make_vectors

Everything follows from seeds (SHA-256 of the names below), so that the same code makes the same files. A changed
vector is a changed protocol: `tests/unit/test_vectors.py` fails until the files are made again on purpose.
"""

import json
from pathlib import Path

from protocol import apdu, fraud, objects, records
from protocol.objects import (
    CLOSE_PROMPT,
    MAX_DELTA,
    NO_HASH,
    PAID,
    REFUND,
    RETIRE,
    REVOKED_ALTOGETHER,
    SALE,
    TAKE_PIN_AWAY,
    UNBLOCK_PIN,
    VOID,
    Order,
    Receipt,
    Request,
    Revocations,
    Statement,
    Transfer,
    Void,
    device_id,
)
from protocol.trust import operator_entry_id
from tests.unit.scenes import Scenes
from tests.unit.world import CURRENCY, KINDS, NOW, REFERENCE, Operator, World, revocations, sale, sha256, signer

FOLDER = Path(__file__).resolve().parents[1] / "protocol" / "vectors"
NAMES = ("root", "operator 1", "operator 2", "wallet", "friend", "terminal", "foreign")


def keys() -> list[dict]:
    return [{"name": name, "seed": sha256(name.encode()).hex(), "public": signer(name).public.hex()} for name in NAMES]


def fields_of(this) -> dict:
    values = {name: getattr(this, name) for name, _ in this.FIELDS}
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}


def valid(this, by: str, message: bytes | None = None) -> dict:
    """One object with its bytes, its hash, and what its signature covers."""
    message = message or this.body()
    entry = {
        "object": type(this).__name__,
        "fields": fields_of(this),
        "encoded": this.encode().hex(),
        "message": message.hex(),
        "hash": sha256(message).hex(),
        "signer": signer(by).public.hex(),
    }
    if isinstance(this, Revocations):
        entry["entries"] = [[who.hex(), issue] for who, issue in this.entries]
    return entry


def valid_objects() -> list[dict]:
    root = signer("root")
    bank, other = Operator(1, root), Operator(2, root, currency=978, issue=7)
    wallet, terminal = signer("wallet"), signer("terminal")
    wallet_id, terminal_id = device_id(wallet.public, sha256), device_id(terminal.public, sha256)
    paying = bank.certify(wallet.public, KINDS["wallet"], issue=3, base_seq=4, epoch=2)
    paid = bank.certify(terminal.public, KINDS["terminal"])
    request = Request(amount=12_345, number=258, random=b"8 random", time=NOW, purpose=SALE, reference=REFERENCE, lot=0)
    message = request.signed_message(sha256(paid.body()), NO_HASH, CURRENCY)
    request.signature = terminal.sign(message)
    bound = Request(amount=1, number=0, random=bytes(8), time=0, purpose=REFUND, reference=bytes(8), lot=0)
    bound_message = bound.signed_message(sha256(paying.body()), sha256(paid.body()), CURRENCY)
    bound.signature = wallet.sign(bound_message)
    transfer = Transfer(
        seq=5,
        previous=sha256(b"the record before"),
        payer=wallet_id,
        payee=terminal_id,
        amount=12_345,
        lot=0,
        lot_amount=0,
        request=sha256(message),
        number=258,
        payer_issue=3,
        payee_issue=1,
        cumulative=112_345,
    ).sign(wallet.sign)
    transfer_hash = sha256(transfer.body())
    receipt = Receipt(seq=2, previous=sha256(terminal.public), transfer=transfer_hash).sign(terminal.sign)
    entries = [(wallet_id, 4), (terminal_id, REVOKED_ALTOGETHER)]
    complete = bank.revoke(2, entries)
    delta = bank.revoke(3, [(wallet_id, 0), (terminal_id, 9)], since=complete)
    statement = Statement(
        device=wallet_id,
        nonce=bytes(range(16)),
        seq=5,
        head=transfer_hash,
        watermark=257,
        request_floor=1,
        load_floor=2,
        issue=3,
        time=NOW,
    ).sign(wallet.sign)
    conditions = dict(lot=9, lot_valid_until=20_100, lot_mccs=bytes.fromhex("1543154400000000"), lot_payee=terminal_id)
    return [
        valid(bank.certificate, "root"),
        valid(other.certificate, "root"),
        valid(paying, "operator 1"),
        valid(paid, "operator 1"),
        valid(bank.acknowledge(paying, sha256(b"record 4"), request_floor=257, load_floor=1), "operator 1"),
        valid(request, "terminal", message),
        valid(bound, "wallet", bound_message),
        valid(transfer, "wallet"),
        valid(receipt, "terminal"),
        valid(Void(transfer=transfer_hash).sign(terminal.sign), "terminal"),
        valid(bank.resolve(wallet_id, transfer_hash, PAID), "operator 1"),
        valid(bank.resolve(wallet_id, transfer_hash, VOID), "operator 1"),
        valid(bank.load(wallet_id, 2, 100_000), "operator 1"),
        valid(bank.load(wallet_id, 3, 4_294_967_295, **conditions), "operator 1"),
        valid(complete, "operator 1"),
        valid(bank.revoke(1, []), "operator 1"),
        valid(delta, "operator 1"),
        valid(revocations(root, 0, 1, [(operator_entry_id(2), 8)]), "root"),
        valid(statement, "wallet"),
        valid(bank.order(wallet_id, 1, RETIRE), "operator 1"),
        valid(bank.order(wallet_id, 2, UNBLOCK_PIN, TAKE_PIN_AWAY), "operator 1"),
        valid(bank.order(wallet_id, 3, CLOSE_PROMPT), "operator 1"),
    ]


# (object, field, wrong value): a value that the layout can hold and the object forbids.
FORBIDDEN = (
    ("OperatorCertificate", "operator", 0),
    ("OperatorCertificate", "currency", 1_000),
    ("OperatorCertificate", "exponent", 5),
    ("OperatorCertificate", "valid_from", 65_535),
    ("Certificate", "operator", 0),
    ("Certificate", "issue", 0),
    ("Certificate", "kind", 0x10),
    ("Certificate", "kind", 0x15),
    ("Certificate", "kind", 0x21),
    ("Certificate", "kind", 0x42),
    ("Certificate", "mcc", 10_000),
    ("Certificate", "valid_until", 0),
    ("Request", "amount", 0),
    ("Request", "purpose", 0),
    ("Request", "purpose", 6),
    ("Transfer", "seq", 0),
    ("Transfer", "amount", 0),
    ("Transfer", "cumulative", 12_344),
    ("Transfer", "lot", 1),
    ("Transfer", "lot_amount", 1),
    ("Receipt", "seq", 0),
    ("Resolution", "outcome", 0),
    ("Resolution", "outcome", 3),
    ("Load", "number", 0),
    ("Load", "amount", 0),
    ("Load", "lot_valid_until", 1),
    ("Revocations", "epoch", 0),
    ("Revocations", "count", 101),
    ("Revocations", "predecessor", 1),
    ("Order", "number", 0),
    ("Order", "what", 0),
    ("Order", "what", 4),
    ("Order", "argument", 1),
)


def kinds() -> dict:
    return {
        kind.__name__: kind for kind in vars(objects).values() if isinstance(kind, type) and getattr(kind, "TYPE", 0)
    }


def overwritten(kind, encoded: bytes, field: str, value: int) -> bytes:
    at = 2
    for name, size in kind.FIELDS:
        if name == field:
            return encoded[:at] + value.to_bytes(size, "big") + encoded[at + size :]
        at += abs(size)
    raise KeyError(field)


def invalid_objects(good: list[dict]) -> list[dict]:
    """Each with the reason a decoder must name; `signature` is found by verifying, after decoding."""
    found = []

    def add(name: str, encoded: bytes, reason: str, **more):
        found.append({"object": name, "encoded": encoded.hex(), "reason": reason, **more})

    first = {}
    for entry in good:
        first.setdefault(entry["object"], entry)
    for name, entry in first.items():
        encoded = bytes.fromhex(entry["encoded"])
        add(name, b"", "empty")
        add(name, bytes((encoded[0] ^ 0x80,)) + encoded[1:], "type")
        add(name, encoded[:1] + b"\x02" + encoded[2:], "version")
        add(name, encoded[:-1], "length")
        add(name, encoded[:40], "length")
        add(name, encoded + b"\x00", "trailing")
        more = {"signer": entry["signer"]}
        # In R, in S, and (a Request's signature covers more than its bytes) the body's last bit.
        for at in (-64, -32):
            wrong = encoded[:at] + bytes((encoded[at] ^ 1,)) + encoded[at + 1 :]
            add(name, wrong, "signature", message=entry["message"], **more)
        other = first["Void" if name != "Void" else "Receipt"]
        add(name, encoded[:-64] + bytes.fromhex(other["encoded"])[-64:], "signature", message=entry["message"], **more)
    for name, field, value in FORBIDDEN:
        encoded = overwritten(kinds()[name], bytes.fromhex(first[name]["encoded"]), field, value)
        add(name, encoded, "value", why=field)
    transfer = bytes.fromhex(first["Transfer"]["encoded"])
    add("Transfer", transfer[:54] + transfer[38:54] + transfer[70:], "value", why="payer is payee")
    listed = bytes.fromhex(first["Revocations"]["encoded"])
    add("Revocations", listed[:46] + listed[66:86] + listed[46:66] + listed[86:], "value", why="order of entries")
    add("Revocations", listed[:46] + listed[46:66] * 2 + listed[86:], "value", why="an id twice")
    head = (
        overwritten(Revocations, listed[:46], "predecessor", 1)[:12] + b"\x01" * 32 + (MAX_DELTA + 1).to_bytes(2, "big")
    )
    many = b"".join([bytes((n,)) * Revocations.ENTRY_BYTES for n in range(MAX_DELTA + 1)])
    add("Revocations", head + many + listed[-64:], "value", why="a delta too long")
    add("Order", overwritten(Order, bytes.fromhex(good[-1]["encoded"]), "argument", 2), "value", why="argument")
    return found


def invalid_records(good: list[dict]) -> list[dict]:
    found = []
    for entry in {entry["record"]: entry for entry in good}.values():
        stored = bytes.fromhex(entry["stored"])
        for wrong, reason in (
            (stored[:3], "length"),
            (stored[:-1], "length"),
            (stored + b"\x00", "trailing"),
            (bytes((stored[0] ^ 1,)) + stored[1:], "value"),
            (stored[:4] + b"\x7f" + stored[5:], "type"),
            (stored[:5] + b"\x02" + stored[6:], "version"),
        ):
            found.append({"record": entry["record"], "stored": wrong.hex(), "reason": reason})
    return found


def fraud_proofs() -> dict:
    """Each kind of proof, and what is none: in the form of a proof's file, without its head."""
    world = World()
    terminal, wallet = world.device("terminal", "terminal"), world.device("wallet", balance=50_000)
    committed: dict[str, list] = {"terminal": [], "wallet": []}
    for amount in (100, 200):
        sale(terminal, wallet, amount)
        for device in (terminal, wallet):
            record = records.decode(device.journal.stored[-1 if device is terminal else -2])
            committed[device.name].append(record.receipt if device is terminal else record.transfer)
    (first, second), receipt = committed["wallet"], committed["terminal"][0]
    bodies = {record.seq: record.body_bytes for record in map(records.decode, wallet.journal.stored)}
    statement = Statement.decode(wallet.send(apdu.STATEMENT, bytes(16)))

    def changed(this, **values):
        again = type(this).decode(this.encode())
        for name, value in values.items():
            setattr(again, name, value)
        return again.sign(signer("wallet").sign)

    void = Void(transfer=receipt.transfer).sign(signer("terminal").sign)
    other = Void(transfer=sha256(b"another")).sign(signer("terminal").sign)
    branch = changed(first, amount=101, cumulative=101)
    below = [bodies[seq] for seq in range(statement.seq, first.seq, -1)]

    def proof(device, *pair, kind=None):
        this: dict = {"operator_certificate": world.operator.certificate.encode().hex()}
        this["certificate"] = device.certificate.encode().hex()
        for name, (signed, under) in zip(("first", "second"), pair, strict=True):
            this[name] = {"signed": signed.encode().hex(), "bodies": [body.hex() for body in under]}
        return {"proof": this, "device": device.id.hex(), "kind": kind} if kind else {"proof": this}

    proven = [
        proof(wallet, (first, []), (branch, []), kind=fraud.TWO_HISTORIES),
        proof(wallet, (statement, below), (branch, []), kind=fraud.TWO_HISTORIES),
        proof(wallet, (second, []), (changed(first, seq=second.seq - 1), []), kind=fraud.TWO_HISTORIES),
        proof(terminal, (void, []), (receipt, []), kind=fraud.RECEIPT_AND_VOID),
        proof(wallet, (first, []), (changed(second, seq=99, cumulative=299), []), kind=fraud.CUMULATIVE),
    ]
    renewed = world.operator.certify(wallet.party.public_key, wallet.certificate.kind, issue=2)
    renewed.base_seq = first.seq - 1
    leaves_out = proof(
        wallet, (first, []), (changed(second, seq=99, cumulative=299, payer_issue=2), []), kind=fraud.CUMULATIVE
    )
    leaves_out["proof"]["certificate"] = renewed.sign(world.operator.key.sign).encode().hex()
    counts_all = proof(wallet, (first, []), (changed(second, seq=99, cumulative=300, payer_issue=2), []))
    counts_all["proof"]["certificate"] = leaves_out["proof"]["certificate"]
    proven.append(leaves_out)
    not_proven = [
        counts_all,
        proof(wallet, (first, []), (second, [])),
        proof(wallet, (statement, below), (second, [])),
        proof(wallet, (statement, []), (branch, [])),  # a gap
        proof(wallet, (statement, below[1:]), (branch, [])),
        proof(wallet, (statement, below[::-1]), (branch, [])),
        proof(terminal, (receipt, []), (other, [])),
        proof(wallet, (receipt, []), (void, [])),  # another device's words
        proof(wallet, (first, []), (changed(second, seq=99, cumulative=300), [])),
        proof(wallet, (first, []), (changed(second, seq=99, cumulative=200, payer_issue=2), [])),
        proof(wallet, (first, []), (changed(branch, payer=terminal.id, payee=wallet.id), [])),
    ]
    return {"proven": proven, "not_proven": not_proven}


def make() -> dict[str, dict]:
    """File name: contents."""
    good = valid_objects()
    scenes = Scenes()
    taps, chains = scenes.play(), scenes.chains()
    return {
        "keys.json": {"keys": keys()},
        "objects.json": {"valid": good, "invalid": invalid_objects(good)},
        "taps.json": {"taps": taps},
        "records.json": {"valid": chains, "invalid": invalid_records(chains)},
        "fraud.json": fraud_proofs(),
    }


def text(contents: dict) -> str:
    return json.dumps(contents, indent=1) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, contents in make().items():
        (FOLDER / name).write_text(text(contents))
        print(FOLDER / name)
