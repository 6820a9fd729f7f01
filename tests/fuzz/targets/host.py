"""What only a host reads: fraud proofs. Whatever is put together, nobody is named but who signed what convicts."""

from host_tools import fraud_file
from protocol import fraud
from tests.fuzz.targets.inputs import pieces
from tests.unit.world import device_id, sha256, signer, verify

ROOT = "root"
CHEATS = ("fuzz cheat", "fuzz fence")  # devices that signed what no honest one can, by the names of their keys
KINDS = (fraud.TWO_HISTORIES, fraud.RECEIPT_AND_VOID, fraud.CUMULATIVE)

_CHEATS = {device_id(signer(name).public, sha256) for name in CHEATS}


def proof_of(data: bytes) -> fraud.FraudProof:
    """The first piece's first byte says how many bodies the first commitment has; what is missing is empty."""
    parts = pieces(data)
    parts += [b""] * (5 - len(parts))
    at = min(4 + (parts[0][0] if parts[0] else 0), len(parts) - 1)
    first = fraud.Commitment(parts[3], tuple(parts[4:at]))
    return fraud.FraudProof(parts[1], parts[2], first, fraud.Commitment(parts[at], tuple(parts[at + 1 :])))


def pieces_of(proof: fraud.FraudProof) -> list[bytes]:
    """What `proof_of` makes this proof of."""
    first, second = proof.first, proof.second
    count = bytes((len(first.bodies),))
    head = [count, proof.operator_certificate, proof.certificate]
    return [*head, first.signed, *first.bodies, second.signed, *second.bodies]


def proof(data: bytes) -> None:
    this = proof_of(data)
    _judge(this)
    assert fraud_file.decode(fraud_file.encode(this)) == this, "a file says otherwise"


def proof_file(data: bytes) -> None:
    try:
        this = fraud_file.decode(data)
    except fraud_file.FraudFileError:
        return
    assert fraud_file.decode(fraud_file.encode(this)) == this, "a file says otherwise"
    _judge(this)


def _judge(this: fraud.FraudProof) -> None:
    try:
        finding = fraud.check(this, signer(ROOT).public, sha256, verify)
    except fraud.NotProven:
        return
    assert finding.device in _CHEATS and finding.kind in KINDS, "an honest device is accused"


TARGETS = (proof, proof_file)
