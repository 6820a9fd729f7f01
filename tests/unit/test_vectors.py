"""protocol/vectors: the committed files are what the code makes, an independent reading agrees with them, and so does
MicroPython.

The independent reading is a decoder of a few lines over the layout tables of docs/protocol.md: it shares no code with
`protocol`.
"""

import hashlib
import json
import re
from pathlib import Path

import nacl.exceptions
import nacl.signing
import pytest

from host_tools.crypto import sha256, verify
from protocol import fraud, records
from protocol.errors import DecodeError
from tests import make_vectors, micropython
from tests.unit.test_protocol_document import layouts

FOLDER = make_vectors.FOLDER
FILES = ("fraud.json", "keys.json", "objects.json", "records.json", "taps.json")


def load(name):
    return json.loads((FOLDER / name).read_text())


OBJECTS = load("objects.json")
RECORDS = load("records.json")


def name_of(entry):
    return "{}-{}".format(entry.get("object") or entry["record"], entry.get("reason") or entry.get("seq") or "")


def test_the_committed_files_are_what_the_code_makes():
    made = make_vectors.make()
    assert set(made) == set(FILES) == {path.name for path in FOLDER.iterdir()}
    for name, contents in made.items():
        assert (FOLDER / name).read_text() == make_vectors.text(contents), f"{name}: run python -m tests.make_vectors"


# --- read from the document's tables


def read_by_the_document(name, encoded):
    """(values, rest) as the tables of docs/protocol.md say."""
    layout = layouts()[name]
    assert encoded[0] == layout.type
    assert encoded[1] == 1
    values = {}
    for field in layout.fields[2:]:
        chunk = encoded[field.offset : field.offset + field.size]
        values[field.name] = int.from_bytes(chunk, "big") if field.is_integer else chunk.hex()
    return values, encoded[layout.body_size :]


def libsodium_accepts(public, message, signature):
    try:
        nacl.signing.VerifyKey(public).verify(message, signature)
    except nacl.exceptions.BadSignatureError:
        return False
    return True


@pytest.mark.parametrize("entry", OBJECTS["valid"], ids=name_of)
def test_valid_objects_read_by_the_document_s_tables(entry):
    encoded, message = bytes.fromhex(entry["encoded"]), bytes.fromhex(entry["message"])
    values, rest = read_by_the_document(entry["object"], encoded)
    assert values == entry["fields"]
    if entry["object"] == "Revocations":
        listed = [
            [rest[at : at + 16].hex(), int.from_bytes(rest[at + 16 : at + 20], "big")]
            for at in range(0, len(rest) - 64, 20)
        ]
        assert listed == entry["entries"]
        rest = rest[-64:]
    assert len(rest) == 64
    assert message.startswith(encoded[:-64])
    assert (message == encoded[:-64]) == (entry["object"] != "Request")
    assert libsodium_accepts(bytes.fromhex(entry["signer"]), message, rest)
    assert hashlib.sha256(message).hexdigest() == entry["hash"]


@pytest.mark.parametrize("entry", RECORDS["valid"], ids=name_of)
def test_valid_records_read_by_the_document_s_tables(entry):
    stored = bytes.fromhex(entry["stored"])
    assert int.from_bytes(stored[:4], "big") == entry["seq"]
    values, rest = read_by_the_document(entry["record"], stored[4:])
    assert (values["seq"], values["previous"]) == (entry["seq"], entry["previous"])
    body = stored[4 : len(stored) - len(rest)]
    assert hashlib.sha256(body).hexdigest() == entry["hash"]


def test_the_journals_of_the_vectors_are_chains():
    keys = {entry["name"]: bytes.fromhex(entry["public"]) for entry in load("keys.json")["keys"]}
    heads = {}
    for entry in RECORDS["valid"]:
        before = heads.get(entry["device"])
        if before:
            assert (entry["seq"], entry["previous"]) == (before["seq"] + 1, before["hash"])
        elif entry["seq"] == 1:
            assert entry["previous"] == hashlib.sha256(keys[entry["device"]]).hexdigest()
        heads[entry["device"]] = entry
    assert set(heads) == {"wallet", "friend", "terminal"}


def test_keys_are_the_hashes_of_their_names():
    for entry in load("keys.json")["keys"]:
        assert entry["seed"] == hashlib.sha256(entry["name"].encode()).hexdigest()
        assert bytes(nacl.signing.SigningKey(bytes.fromhex(entry["seed"])).verify_key).hex() == entry["public"]


# --- read by our code


@pytest.mark.parametrize("entry", OBJECTS["valid"], ids=name_of)
def test_valid_objects_read_by_our_code(entry):
    kind = make_vectors.kinds()[entry["object"]]
    this = kind.decode(bytes.fromhex(entry["encoded"]))
    assert make_vectors.fields_of(this) == entry["fields"]
    assert this.encode().hex() == entry["encoded"]


@pytest.mark.parametrize("entry", OBJECTS["invalid"], ids=name_of)
def test_invalid_objects_are_refused_for_their_reason(entry):
    kind, encoded = make_vectors.kinds()[entry["object"]], bytes.fromhex(entry["encoded"])
    if entry["reason"] == "signature":
        this = kind.decode(encoded)
        assert not libsodium_accepts(bytes.fromhex(entry["signer"]), bytes.fromhex(entry["message"]), this.signature)
        return
    with pytest.raises(DecodeError) as caught:
        kind.decode(encoded)
    assert caught.value.reason == entry["reason"]


@pytest.mark.parametrize("entry", RECORDS["invalid"], ids=name_of)
def test_invalid_records_are_refused_for_their_reason(entry):
    with pytest.raises(DecodeError) as caught:
        records.decode(bytes.fromhex(entry["stored"]))
    assert caught.value.reason == entry["reason"]


def proof_of(entry):
    this: dict = {name: bytes.fromhex(value) for name, value in entry["proof"].items() if isinstance(value, str)}
    for name in ("first", "second"):
        given = entry["proof"][name]
        bodies = tuple(bytes.fromhex(body) for body in given["bodies"])
        this[name] = fraud.Commitment(bytes.fromhex(given["signed"]), bodies)
    return fraud.FraudProof(**this)


def test_fraud_proofs_prove_what_they_say_and_nothing_else():
    root = next(bytes.fromhex(key["public"]) for key in load("keys.json")["keys"] if key["name"] == "root")
    for entry in load("fraud.json")["proven"]:
        found = fraud.check(proof_of(entry), root, sha256, verify)
        assert (found.device.hex(), found.kind) == (entry["device"], entry["kind"])
    for entry in load("fraud.json")["not_proven"]:
        with pytest.raises(fraud.NotProven):
            fraud.check(proof_of(entry), root, sha256, verify)
    assert {entry["kind"] for entry in load("fraud.json")["proven"]} == {
        fraud.TWO_HISTORIES,
        fraud.RECEIPT_AND_VOID,
        fraud.CUMULATIVE,
    }


def test_every_object_and_every_reason_has_vectors():
    names = {entry["object"] for entry in OBJECTS["valid"]}
    assert names == set(make_vectors.kinds())
    for name in names:
        reasons = {entry["reason"] for entry in OBJECTS["invalid"] if entry["object"] == name}
        assert {"empty", "type", "version", "length", "trailing", "signature"} <= reasons
    assert {entry["record"] for entry in RECORDS["valid"]} == {
        "Transfer",
        "Receipt",
        "Loading",
        "Closing",
        "Installation",
    }


# --- MicroPython

CHECK = """
import json, sys
from protocol import objects, records
from protocol.errors import DecodeError
from tests.unit.scenes import Scenes
from tests.unit.world import sha256, verify

def load(name):
    with open(sys.argv[1] + "/" + name) as file:
        return json.load(file)

def refusal(decode, data):
    try:
        decode(data)
    except DecodeError as error:
        return error.reason

wrong = []
seen = 0
vectors = load("objects.json")
for entry in vectors["valid"]:
    encoded, message = bytes.fromhex(entry["encoded"]), bytes.fromhex(entry["message"])
    this = getattr(objects, entry["object"]).decode(encoded)
    fields = {name: getattr(this, name) for name, _ in this.FIELDS}
    fields = {name: value.hex() if isinstance(value, bytes) else value for name, value in fields.items()}
    good = fields == entry["fields"] and this.encode() == encoded and sha256(message).hex() == entry["hash"]
    seen += 1
    if not good or not verify(bytes.fromhex(entry["signer"]), message, this.signature):
        wrong.append(entry["encoded"])
for entry in vectors["invalid"]:
    kind, encoded = getattr(objects, entry["object"]), bytes.fromhex(entry["encoded"])
    if entry["reason"] == "signature":
        signature = kind.decode(encoded).signature
        accepted = verify(bytes.fromhex(entry["signer"]), bytes.fromhex(entry["message"]), signature)
        found = None if accepted else "signature"
    else:
        found = refusal(kind.decode, encoded)
    seen += 1
    if found != entry["reason"]:
        wrong.append(entry)
vectors = load("records.json")
for entry in vectors["valid"]:
    record = records.decode(bytes.fromhex(entry["stored"]))
    records.check_links(record, sha256)
    seen += 1
    if (record.seq, sha256(record.body_bytes).hex()) != (entry["seq"], entry["hash"]):
        wrong.append(entry)
for entry in vectors["invalid"]:
    seen += 1
    if refusal(records.decode, bytes.fromhex(entry["stored"])) != entry["reason"]:
        wrong.append(entry)
scenes = Scenes()
taps = scenes.play()
print(json.dumps({"seen": seen, "wrong": wrong, "taps": taps, "chains": scenes.chains()}))
"""


def test_micropython_agrees_with_every_vector_and_plays_the_taps_to_the_same_bytes(tmp_path):
    target = tmp_path / "tests" / "unit"
    target.mkdir(parents=True)
    for name in ("world.py", "scenes.py"):
        (target / name).write_bytes((Path(__file__).parent / name).read_bytes())
    answer = micropython.run_json(CHECK, arguments=[str(FOLDER)], extra_path=[tmp_path], heap_size="8M")
    assert answer["wrong"] == []
    assert answer["seen"] == sum(len(vectors[kind]) for vectors in (OBJECTS, RECORDS) for kind in ("valid", "invalid"))
    assert answer["taps"] == load("taps.json")["taps"]
    assert answer["chains"] == RECORDS["valid"]


def test_the_document_names_every_file():
    text = (FOLDER.parents[1] / "docs" / "protocol.md").read_text()
    assert set(re.findall(r"`(\w+\.json)`", text)) == set(FILES)
