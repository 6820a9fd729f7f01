"""Fraud proofs to start from: each kind by a device that cheats, and all that an honest one ever says, two by two."""

from itertools import combinations

from host_tools import fraud_file
from protocol import apdu, records
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Receipt, Statement, Transfer, Void
from tests.fuzz.targets.host import CHEATS, pieces_of
from tests.fuzz.targets.inputs import joined
from tests.unit.world import Device, World, sale, sha256, signer

CHEAT, FENCE = CHEATS


def proof_inputs() -> list[bytes]:
    return [joined(pieces_of(one)) for one in _proofs()]


def proof_files() -> list[bytes]:
    return [fraud_file.encode(one) for one in _proofs()]


def _proofs() -> list[FraudProof]:
    world = World()
    wallet, till = world.device("fuzz wallet", "wallet", 50_000), world.device("fuzz till", "terminal")
    cheat, fence = world.device(CHEAT, "wallet", 50_000), world.device(FENCE, "terminal")
    said = _sales(till, wallet, 3)
    honest = [
        _proof(device, *pair)
        for device in (wallet, till)
        for pair in combinations([_with_bodies(device, one) for one in (*said[device.name], _statement(device))], 2)
    ]
    clone = world.blank(CHEAT)
    clone.journal.stored, clone.settings.values = list(cheat.journal.stored), dict(cheat.settings.values)
    clone.seed_made = True
    clone.restart()
    one, other = _sales(till, cheat, 2)[CHEAT], _sales(fence, clone, 2)
    two = [_with_bodies(device, signed) for device, signed in ((cheat, one[-1]), (clone, other[CHEAT][-1]))]
    credited = records.decode(fence.journal.stored[-1])
    void = Void(transfer=sha256(credited.transfer.body())).sign(signer(FENCE).sign).encode()
    falling = Transfer.decode(one[-1])
    falling.cumulative, falling.seq = falling.amount, falling.seq + 3
    guilty = [
        _proof(cheat, *two),
        _proof(cheat, Commitment(one[0], ()), Commitment(other[CHEAT][0], ())),
        _proof(fence, Commitment(credited.receipt.encode(), ()), Commitment(void, ())),
        _proof(fence, _with_bodies(fence, _statement(fence)), Commitment(void, ())),
        _proof(cheat, Commitment(one[0], ()), Commitment(falling.sign(signer(CHEAT).sign).encode(), ())),
    ]
    return honest + guilty


def _sales(till: Device, wallet: Device, count: int) -> dict[str, list[bytes]]:
    """So many sales; what payer and payee signed, by name."""
    said: dict[str, list[bytes]] = {till.name: [], wallet.name: []}
    for amount in range(count):
        sale(till, wallet, 100 + amount)
        credited = records.decode(till.journal.stored[-1])
        said[wallet.name].append(credited.transfer.encode())
        said[till.name].append(credited.receipt.encode())
    return said


def _statement(device: Device) -> bytes:
    return device.send(apdu.STATEMENT, bytes(16))


def _with_bodies(device: Device, signed: bytes) -> Commitment:
    """With every record body below."""
    kind = {one.TYPE: one for one in (Transfer, Receipt, Statement)}[signed[0]]
    top = kind.decode(signed).seq - (kind is not Statement)
    bodies = [records.decode(stored).body_bytes for stored in device.journal.stored[:top]]
    return Commitment(signed, tuple(reversed(bodies)))


def _proof(device: Device, first: Commitment, second: Commitment) -> FraudProof:
    assert device.party.trust
    return FraudProof(device.party.trust.own.encode(), device.certificate.encode(), first, second)
