"""Where inputs come from: the protocol's own test vectors, and a seeded generator that spoils and joins them."""

import json
from contextlib import suppress
from functools import cache
from random import Random

from protocol import apdu, framing
from protocol.objects import PERSON, Certificate, Statement
from protocol.tap import Payment, PaymentTap
from tests.fuzz.proofs import proof_files, proof_inputs
from tests.fuzz.stored import entries, journal_inputs, settings_files
from tests.fuzz.targets.device import AMOUNT, HONEST_LOAD, Bench
from tests.fuzz.targets.inputs import joined, pieces
from tests.micropython import ROOT, import_on_cpython
from tests.unit.world import REFERENCE, Link, LinkLost, meet, sale_tap

VECTORS = ROOT / "protocol" / "vectors"
LONGEST = 4_096
INTERESTING = (0, 1, 2, 4, 16, 127, 128, 253, 254, 255)
# Targets whose inputs are no messages led by their lengths
WHOLE = (
    "signed_object",
    "plain_layout",
    "record",
    "answer",
    "command",
    "response",
    "frames",
    "cobs",
    "settings",
    "entry",
    "proof_file",
)
MADE = {
    "settings": settings_files,
    "entry": entries,
    "journal": journal_inputs,
    "proof": proof_inputs,
    "proof_file": proof_files,
}
BLOCK_STARTS = (0x02, 0x03, 0x12, 0x13, 0xA2, 0xA3, 0xB2, 0xB3, 0xC2, 0xD0, 0xF2)


def _vectors(name: str) -> dict:
    return json.loads((VECTORS / f"{name}.json").read_text())


def _message(text: str) -> bytes:
    """Nothing stands for the one that never arrived."""
    return b"" if text == "cut" else bytes.fromhex(text)


@cache
def corpus(target: str) -> list[bytes]:
    """Inputs that reach deep into the target."""
    if target in MADE:
        return [data for data in MADE[target]() if len(data) <= LONGEST]
    every = _vectors("objects")
    encoded = [bytes.fromhex(one["encoded"]) for one in (*every["valid"], *every["invalid"])]
    stored = _vectors("records")
    recorded = [bytes.fromhex(one["stored"]) for one in (*stored["valid"], *stored["invalid"])]
    taps = [[_message(text) for text in tap["messages"]] for tap in _vectors("taps")["taps"]]
    sent = [message for tap in taps for message in tap[0::2] if message]
    heard = [message for tap in taps for message in tap[1::2] if message]
    if target in ("signed_object", "answer"):
        return encoded
    if target == "plain_layout":
        bodies = [one[4:] for one in recorded if len(one) > 4 and one[4] >= 0x20]
        return [one[:size] for one in bodies for size in (70, 103, 102)] + [
            bytes((kind, 1)) + bytes(size) for kind, size in ((0x23, 53), (0x30, 100), (0x31, 24))
        ]
    if target == "record":
        return recorded
    if target == "command":
        return sent
    if target == "response":
        return heard
    if target == "frames":
        return [b"\x10" + b"".join(framing.encode_frame(at, message) for at, message in enumerate(tap)) for tap in taps]
    if target == "cobs":
        return [framing.cobs_encode(message) for message in (*sent, *encoded)] + encoded
    if target in ("card", "blank_card"):
        hosts = [apdu.chained(ins, one) for one in encoded if one for ins in (apdu.PUT, apdu.CONFIRM, apdu.TRANSFER)]
        asked = [[apdu.command(ins, data)] for ins in range(0x10, 0x3A, 2) for data in (b"", bytes(4), bytes(16))]
        size = Certificate.size()
        pairs = [message[5 : 5 + size] for message in sent if message[1] == apdu.PAY]
        personal = [apdu.chained(apdu.INSTALL, certificate + bytes(136)) for certificate in pairs]
        tag = [apdu.select(apdu.NDEF_AID)]
        for file in (b"\xe1\x03", b"\xe1\x04"):
            tag += [b"\x00\xa4\x00\x0c\x02" + file, b"\x00\xb0\x00\x00\x02", b"\x00\xb0\x00\x02\x00"]
        live = _live()["wallet" if target == "card" else "blank"] * 20  # that many among what is refused early
        select = [apdu.select(apdu.AID)]
        other = [[*select, *messages] for messages in (*[tap[2::2] for tap in taps], *hosts, *asked, *personal)]
        return [joined(messages) for messages in (*live, *other, *[tag] * 20)]
    if target in ("sale_responses", "payment_responses"):
        return [joined(messages) for messages in _live()[target] * 5] + [joined(tap[1::2]) for tap in taps]
    if target in ("picc", "pcd"):
        lead = b"\xe0\x80" if target == "picc" else b"\x05\x78\x80\xd0\x00"
        messages = sent if target == "picc" else heard
        return [joined([lead, *_blocks(messages[at : at + 3])]) for at in range(0, len(messages), 3)] + [
            joined([lead, *[bytes((start,)) for start in BLOCK_STARTS]])
        ]
    found = _chip_inputs(sent)
    if target in ("spi", "i2c"):  # which go on where a UART is silent: not ready, no acknowledgement, garbage
        found += [joined([b"", b"\x00", *pieces(data), b"\x03" + data[:40]]) for data in found]
    return found


class _Recorder(Link):
    """Remembers what passed."""

    def __init__(self, cut_at: int = -1):
        super().__init__(cut_at=cut_at)
        self.sent: list[bytes] = []
        self.heard: list[bytes] = []

    def exchange(self, command, card):
        self.sent.append(command)
        self.heard.append(super().exchange(command, card))
        return self.heard[-1]


@cache
def _live() -> dict[str, list[list[bytes]]]:
    """Taps and syncs with the very devices that the targets talk to: with valid signatures, so they go all the way."""
    bench = Bench()
    operator = bench.world.operator
    wallet, terminal, friend = [bench.fresh(kind) for kind in ("wallet", "terminal", "friend")]
    found: dict[str, list[list[bytes]]] = {
        "wallet": [], "blank": [], "sale_responses": [], "payment_responses": []
    }  # fmt: skip

    def tap(made, card, cut_at: int = -1) -> _Recorder:
        link = _Recorder(cut_at)
        with suppress(LinkLost):
            meet(made, card, link)
        return link

    for cut_at in (3, -1):
        terminal.open(AMOUNT)
        link = tap(sale_tap(terminal), wallet, cut_at)
        found["wallet"].append(link.sent)
        found["sale_responses"].append(link.heard)
        payment = Payment(AMOUNT, PERSON, REFERENCE)
        link = tap(PaymentTap(friend.party, friend.perform, friend.payer, payment), bench.fresh("wallet"), cut_at)
        found["wallet"].append(link.sent)
        payment = Payment(AMOUNT, PERSON, REFERENCE)
        wallet = bench.fresh("wallet")
        link = tap(PaymentTap(wallet.party, wallet.perform, wallet.payer, payment), bench.fresh("friend"), cut_at)
        found["payment_responses"].append(link.heard)
        wallet, terminal, friend = [bench.fresh(kind) for kind in ("wallet", "terminal", "friend")]
    load = operator.load(wallet.id, 2, HONEST_LOAD)
    statement = Statement.decode(wallet.send(apdu.STATEMENT, bytes(16)))
    pair = [one.encode() for one in bench.world.base_for(wallet, statement)]
    listed = operator.revoke(1, [(friend.id, 5), (terminal.id, 0xFFFFFFFF)])
    changed = operator.revoke(2, [(friend.id, 0)], since=listed)
    retire = operator.order(wallet.id, 1, 2)
    start = [apdu.select(apdu.AID)]
    put = [start + apdu.chained(apdu.PUT, one.encode()) for one in (load, listed, retire)]
    found["wallet"] += put
    found["wallet"].append(put[1] + apdu.chained(apdu.PUT, changed.encode()))
    found["wallet"].append(
        [*start, apdu.command(apdu.STATEMENT, bytes(16)), *apdu.chained(apdu.INSTALL, b"".join(pair))]
    )
    blank = bench.device("blank")
    blank.generate_key()
    personal = bench.world.personalisation(blank, 0x12)
    found["blank"].append([*start, apdu.command(apdu.GENERATE), *apdu.chained(apdu.PERSONALISE, personal)])
    return found


def _blocks(messages: list[bytes]) -> list[bytes]:
    found = []
    for message in messages:
        for at in range(0, len(message), 200):
            more = at + 200 < len(message)
            found.append(bytes((0x02 | (0x10 if more else 0) | len(found) & 1,)) + message[at : at + 200])
    return found


def _chip_inputs(messages: list[bytes]) -> list[bytes]:
    """What a PN532 says: intact frames that answer commands, some of them in pieces."""
    pn532 = import_on_cpython("drivers.pn532")
    codes = (0x02, 0x08, 0x10, 0x12, 0x14, 0x32, 0x42, 0x4A, 0x88, 0x8C, 0x90)
    ok = [b"\x01\xd5" + bytes((code + 1,)) + b"\x00" for code in codes]
    version = b"\x01\xd5\x03\x32\x01\x06\x07"
    card = b"\x01\xd5\x4b\x01\x01\x00\x04\x20\x04\x08\x01\x02\x03"
    ats = b"\x01\xd5\x43\x00\x05\x78\x80\xd0\x00"
    activated = b"\x01\xd5\x8d\x08\xe0\x80"
    configured = ok[5]
    inputs = [
        joined(ok),
        joined([ok[4], version, ok[2], ok[3]]),
        joined([configured, configured, card, configured, ats, configured, b"\x01\xd5\x43\x00\x02\x90\x00"]),
        joined([configured, ok[1], activated, ok[10]]),
        joined([pn532._ACK + pn532.frame(version[1:])[:5], pn532.frame(version[1:])[5:], b"\x00\x00\xff\x00\xff\x00"]),
    ]
    for message in messages[:20]:
        block = b"\x01\xd5\x89\x00\x02" + message[:250]
        inputs.append(joined([configured, ok[1], activated, ok[10], block, ok[10], b"\x01\xd5\x89\x00\xc2", ok[10]]))
    return inputs


class Spoiler:
    """Inputs for one target, without end; the same seed gives the same ones."""

    def __init__(self, target: str, seed: int | str):
        self._random = Random(f"{target} {seed}")
        self._corpus = corpus(target)
        self._in_pieces = target not in WHOLE

    def next(self) -> bytes:
        random = self._random
        data = bytearray(random.choice(self._corpus))
        if self._in_pieces and random.random() < 0.7:
            messages = pieces(bytes(data))
            for _ in range(random.randrange(4)):
                self._shuffle(messages)
            return joined(messages[:40])[:LONGEST]
        for _ in range(random.choice((0, 1, 1, 1, 2, 3, 6))):
            self._spoil(data)
        return bytes(data[:LONGEST])

    def _shuffle(self, messages: list[bytes]) -> None:
        """Something that happens to whole messages, or to the inside of one."""
        random = self._random
        how = random.randrange(6)
        at = random.randrange(len(messages)) if messages else 0
        if how == 0 or not messages:
            messages[at:at] = pieces(random.choice(self._corpus))
        elif how == 1:
            del messages[at]
        elif how == 2:
            messages.insert(at, random.choice(messages))
        else:
            inside = bytearray(messages[at])
            self._spoil(inside)
            messages[at] = bytes(inside[:511])

    def _spoil(self, data: bytearray) -> None:
        random = self._random
        at = random.randrange(len(data) + 1)
        how = random.randrange(7)
        if how == 0 and data:
            data[at - 1] ^= 1 << random.randrange(8)
        elif how == 1 and data:
            data[at - 1] = random.choice(INTERESTING)
        elif how == 2:
            del data[at : at + random.choice((1, 2, 8, 64))]
        elif how == 3:
            data[at:at] = random.randbytes(random.choice((1, 2, 8, 64)))
        elif how == 4:
            data[at:at] = data[at : at + random.choice((4, 20, 64))]
        elif how == 5:
            other = random.choice(self._corpus)
            data[at:] = other[min(at, len(other)) :]
        else:
            del data[at:]
