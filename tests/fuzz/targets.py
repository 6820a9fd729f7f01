"""What is fuzzed: each target takes any bytes and raises only if the code behind it breaks a promise.

Runs on CPython and on MicroPython. A target lets through no exception of the code it tests but those it names; it
asserts what must hold besides: one encoding of each value, nothing durable changed by what was refused, memory bounded.
"""

try:
    from tests.micropython import import_on_cpython

    errors, iso_dep, nfc, pn532 = [
        import_on_cpython("drivers." + name) for name in ("errors", "iso_dep", "nfc", "pn532")
    ]
except ImportError:  # on the device
    from drivers import errors, iso_dep, nfc, pn532  # pyright: ignore[reportMissingImports]

from protocol import apdu, framing, info, objects, records
from protocol.errors import NAMES, DecodeError, Refused, RefusedByPeer
from protocol.revocations import RevocationList
from protocol.states import CREDITED
from protocol.tap import NOT_PAID, PAID, Payment, PaymentTap, SaleTap
from tests.unit.world import REFERENCE, World, sha256, signer, verify

REASONS = ("empty", "type", "version", "length", "trailing", "value")


def _by_type(*kinds) -> dict:
    return {kind.TYPE: kind for kind in kinds}


SIGNED = _by_type(
    objects.OperatorCertificate,
    objects.Certificate,
    objects.Acknowledgement,
    objects.Request,
    objects.Transfer,
    objects.Receipt,
    objects.Void,
    objects.Resolution,
    objects.Load,
    objects.Revocations,
    objects.Statement,
    objects.Order,
)
PLAIN = _by_type(
    records.Loading,
    records.Closing,
    records.Installation,
    records.SnapshotHead,
    info.DeviceInfo,
    info.Counters,
)


def pieces(data: bytes) -> list[bytes]:
    """Cut an input into messages: each is led by its length, two bytes of which the upper counts for one bit."""
    found = []
    at = 0
    while at + 2 <= len(data):
        length = (data[at] & 1) << 8 | data[at + 1]
        found.append(bytes(data[at + 2 : at + 2 + length]))
        at += 2 + length
    return found


def joined(messages: list[bytes]) -> bytes:
    """The input that `pieces` cuts into these messages of at most 511 bytes."""
    return b"".join([len(message).to_bytes(2, "big") + message for message in messages])


def _check_reason(error: DecodeError) -> None:
    assert error.reason in REASONS, error.reason


def _check_cause(cause: int) -> None:
    assert cause in NAMES, cause


# Decoders


def signed_object(data: bytes) -> None:
    for kind in _kinds(SIGNED, data):
        this = _decoded(kind, data)
        if this is not None:
            assert this.encode() == data, "two encodings of one object"
            again = kind.decode(this.encode())
            assert again.body() == this.body()
            if kind is objects.Revocations:
                held = RevocationList(data)
                assert held.epoch == this.epoch and held.newer_than(this.epoch) == b""
                for who, minimum in this.entries:
                    assert held.entry(who) == minimum, "a list that answers otherwise than it says"


def plain_layout(data: bytes) -> None:
    for kind in _kinds(PLAIN, data):
        this = _decoded(kind, data)
        assert this is None or this.body() == data, "two encodings of one layout"


def _kinds(table: dict, data: bytes) -> list:
    """The one that the first byte names, or all if it names none."""
    kind = table.get(data[0] if data else 0)
    return [kind] if kind else list(table.values())


def _decoded(kind, data: bytes):
    try:
        return kind.decode(data)
    except DecodeError as error:
        _check_reason(error)
        return None


def record(data: bytes) -> None:
    try:
        this = records.decode(data)
    except DecodeError as error:
        _check_reason(error)
        return
    body = this.body
    if isinstance(body, objects.Transfer):
        again = records.debit(this.transfer, this.payee_key, this.flags)
    elif isinstance(body, objects.Receipt):
        again = records.credit(this.receipt, this.transfer)
    elif isinstance(body, records.Loading):
        again = records.loading(body, this.load)
    elif isinstance(body, records.Closing):
        again = records.closing(body, this.evidence)
    else:
        again = records.installation(body, this.certificate, this.acknowledgement, this.snapshot, this.in_doubt)
    assert again == data, "two encodings of one record"
    assert len(data) <= records.INSTALLATION_MAX_BYTES
    try:
        records.check_links(this, sha256)
    except DecodeError:
        pass


def answer(data: bytes) -> None:
    """What a payee says of a Transfer."""
    try:
        assert objects.decode_answer(data).encode() == data
    except DecodeError as error:
        _check_reason(error)


def command(data: bytes) -> None:
    try:
        this = apdu.decode_command(data)
    except Refused as refusal:
        _check_cause(refusal.cause)
        return
    assert len(this.data) <= apdu.MAX_DATA_BYTES and (this.le is None or 0 < this.le <= 256)
    head = bytes((this.cla, this.ins, this.p1, this.p2))
    again = head + (bytes((len(this.data),)) + this.data if this.data else b"")
    assert data in (again, again + bytes(((this.le or 0) & 0xFF,)))


def response(data: bytes) -> None:
    try:
        apdu.decode_hello(apdu.parse_response(data))
    except (RefusedByPeer, DecodeError):
        pass


# The serial link


def frames(data: bytes) -> None:
    """The first byte says in what pieces the line brings the rest; a good frame among garbage arrives whole."""
    if not data:
        return
    step, line = data[0] + 1, data[1:]
    whole, cut = framing.FrameDecoder(), framing.FrameDecoder()
    expected = whole.feed(line)
    found = []
    for at in range(0, len(line), step):
        found += cut.feed(line[at : at + step])
        assert len(cut._pending) <= cut._longest, "more than a frame is kept"
    assert found == expected and cut.dropped_frames == whole.dropped_frames
    for sequence, payload in found:
        assert len(payload) <= framing.MAXIMUM_PAYLOAD_BYTES
        assert whole.feed(framing.encode_frame(sequence, payload))[-1] == (sequence, payload)
    payload = line[: framing.MAXIMUM_PAYLOAD_BYTES]
    again = whole.feed(
        framing.encode_frame(step - 1, payload)
    )  # its first 00 may complete what the line left unfinished
    assert again[-1] == (step - 1, payload) and len(again) <= 2, "garbage cost a good frame"


def cobs(data: bytes) -> None:
    encoded = framing.cobs_encode(data)
    assert b"\x00" not in encoded and len(encoded) <= len(data) + len(data) // 254 + 1
    assert framing.cobs_decode(encoded) == data
    try:
        framing.cobs_decode(data)
    except DecodeError:
        pass


# A device


class Bench:
    """Devices that targets talk to; `fresh` puts one back to what it was when it was made."""

    def __init__(self):
        self.world = World()
        self._made: dict = {}

    def device(self, kind: str):
        """As the last input left it in memory; what was durable about it has not changed since it was made."""
        if kind not in self._made:
            device = self._make(kind)
            self._made[kind] = (device, list(device.journal.stored), dict(device.settings.values))
        return self._made[kind][0]

    def _make(self, kind: str):
        if kind == "blank":
            return self.world.blank("fuzz blank")
        return self.world.device("fuzz " + kind, "terminal" if kind == "terminal" else "wallet", 50_000)

    def fresh(self, kind: str):
        device = self.device(kind)
        _, stored, values = self._made[kind]
        device.journal.stored = list(stored)
        device.journal.first_seq = 1
        device.settings.values = dict(values)
        device.seed_made = kind != "blank"
        device.restart()
        return device


_bench = Bench()
OK = (0x90, 0x61)
AMOUNT = 700
HONEST_LOAD = 5_000  # of the one Load in the corpus that the wallet accepts; one payment of AMOUNT is there as well


def card(data: bytes) -> None:
    """Commands to a wallet that is in use; whatever it refuses leaves it as it was."""
    _commands("wallet", data)


def blank_card(data: bytes) -> None:
    """Commands to a device that has not been personalised."""
    _commands("blank", data)


def _commands(kind: str, data: bytes) -> None:
    device = _bench.device(kind)
    device.select()
    before = first = device.durable()
    money = device.total() if device.party else 0
    made = device.party is not None
    for raw in pieces(data):
        answered = device.card.process(raw)
        _check_answer(device, answered)
        assert device.durable() == before or answered[-2] in OK, "a refusal changed what is durable"
        device.card.after()
        before = device.durable()
    device.card.reset()
    assert not device.card._chain and not device.card._rest
    if kind == "wallet":
        assert device.total() <= money + HONEST_LOAD + AMOUNT, "money out of garbage"
    if before != first or made != (device.party is not None) or device.flags & apdu.BUSY:
        _bench.fresh(kind)


def _check_answer(device, answered: bytes) -> None:
    """Fits one frame; a refusal names a cause; nothing piles up between commands."""
    assert 2 <= len(answered) <= apdu.ONE_FRAME_BYTES, len(answered)
    if answered[-2] not in OK:
        assert len(answered) == 3, answered
        _check_cause(answered[0])
    assert len(device.card._chain) <= apdu.MAX_CHAIN_BYTES
    assert len(device.card._rest) <= apdu.MAX_CHAINED_RESPONSE_BYTES
    if len(device.events) > 100:
        device.events.clear()


def sale_responses(data: bytes) -> None:
    """A card that answers a terminal with anything has paid if its Transfer says so, and else not."""
    terminal = _bench.fresh("terminal")
    money = terminal.total()
    terminal.open(AMOUNT)
    tap = SaleTap(terminal.party, terminal.perform, terminal.payee)
    _responses(tap, data)
    gained = terminal.total() - money
    assert gained == (AMOUNT if terminal.payee.state == CREDITED else 0), "paid by garbage"
    assert not gained or _signed(records.decode(terminal.journal.stored[-1]).transfer, "fuzz wallet"), (
        "a forged Transfer"
    )
    assert tap.moved != PAID or gained, "shows paid and is not"
    assert tap.moved != NOT_PAID or not gained, "shows not paid and is"


def payment_responses(data: bytes) -> None:
    """A card that answers a paying wallet with anything: its money may come in doubt, and goes by a Receipt only."""
    wallet = _bench.fresh("wallet")
    money = wallet.total()
    tap = PaymentTap(wallet.party, wallet.perform, wallet.payer, Payment(AMOUNT, objects.PERSON, REFERENCE))
    _responses(tap, data)
    assert money - wallet.total() == (AMOUNT if tap.moved == PAID else 0), "gone by garbage"
    if tap.moved == PAID:
        assert _signed(records.decode(wallet.journal.stored[-1]).evidence, "fuzz friend"), "a forged Receipt"
    assert tap.moved != NOT_PAID or not wallet.purse.in_doubt, "shows not paid and may be"


def _signed(this, name: str) -> bool:
    return verify(signer(name).public, this.body(), this.signature)


def _responses(tap, data: bytes) -> None:
    try:
        for raw in pieces(data):
            sent = tap.command()
            if sent is None:
                break
            apdu.decode_command(sent)
            tap.meanwhile()
            tap.response(raw)
        assert len(tap.exchanges) < 30
        tap.after()
    except (Refused, DecodeError):
        pass


# The radio


def picc(data: bytes) -> None:
    """A reader that sends any blocks to us as a card: commands come out bounded, and blocks that it can take."""
    blocks = pieces(data)
    if not blocks:
        return
    rats = (blocks[0] + b"\xe0\x80")[:2]
    this = iso_dep.Picc(rats)
    longest = max(this._fsd, 16) - 2
    for block in blocks[1:]:
        sent = this.receive(block)
        assert sent is None or 0 < len(sent) <= longest, sent
        assert len(this._parts) <= iso_dep.MAX_COMMAND + 1
        taken = this.command
        if taken is not None:
            assert len(taken) <= iso_dep.MAX_COMMAND + 1
            if block[-1:] == b"\x00":
                assert this.extend() == b"\xf2\x01"
                continue
            sent = this.respond((taken + b"\x90\x00")[: iso_dep.MAX_RESPONSE])
            assert 0 < len(sent) <= longest and this.command is None


def pcd(data: bytes) -> None:
    """A card that sends any blocks to us as a reader: it answers, or it is gone, and both soon."""
    blocks = pieces(data)
    if not blocks:
        return
    try:
        this = iso_dep.Pcd(blocks[0])
    except ValueError:
        return
    assert 0 < this.timeout_ms <= 40_000 and 0 <= this.guard_ms < 40_000
    longest = this._fsc - 2
    sent = this.request(bytes(range(5, 255)))
    assert len(sent) <= longest
    for block in blocks[1:]:
        try:
            sent = this.receive(block if block else None)
        except errors.CardGone:
            return
        assert len(this.response) <= iso_dep.MAX_RESPONSE
        if sent is None:
            sent = this.request(b"\x00\xa4\x04\x00\x00")
        assert 0 < len(sent) <= longest and 0 < this.timeout_ms <= 2_500_000


class _Line:
    """A UART that brings what it was given, piece by piece, and a port whose clock goes on whenever somebody waits."""

    def __init__(self, brought: list[bytes]):
        self._brought = brought
        self._at = 0
        self._now = 0
        self.waits = 0

    def read(self) -> bytes:
        if self._at < len(self._brought):
            self._at += 1
            return self._brought[self._at - 1]
        return b""

    def write(self, data: bytes) -> None:
        assert len(data) <= 320

    def set_baudrate(self, baudrate: int) -> None:
        pass

    def ticks_ms(self) -> int:
        return self._now

    def ticks_diff(self, later: int, earlier: int) -> int:
        return later - earlier

    def sleep_ms(self, delay: int) -> None:
        self._now += delay

    def random_bytes(self, count: int) -> bytes:
        return bytes(count)

    def wait(self, sources: list, timeout_ms: int) -> None:
        self.waits += 1
        assert self.waits < 5_000, "waits without end"
        self._now += max(1, min(timeout_ms, 50))


def _chip_bytes(message: bytes) -> bytes:
    """A message as it is, or, led by 1, as the payload of an intact frame behind an ACK."""
    if message[:1] == b"\x01":
        return pn532._ACK + pn532.frame(message[1:])
    return message


def chip(data: bytes) -> None:
    """Anything on the PN532's line: an answer, a named error, or silence, in bounded time and memory."""
    line = _Line([_chip_bytes(message) for message in pieces(data)])
    this = pn532.Pn532(line, line)
    for code in (pn532.GET_FIRMWARE_VERSION, pn532.IN_COMMUNICATE_THRU):
        try:
            this.send(code)
            got = this.receive(300)
        except errors.ChipError:
            continue
        assert got is None or isinstance(got, bytes)
        assert len(this._input) <= 1024
    try:
        this.open()
    except errors.ChipError:
        pass
    assert len(this._input) <= 1024


def radio(data: bytes) -> None:
    """Anything on the PN532's line while we are a card, and then a reader."""
    messages = [_chip_bytes(message) for message in pieces(data)]
    line = _Line(messages)
    this = nfc.NfcPort(line, line)
    this._is_open = True
    try:
        this.start_listening()
        for _ in range(4):
            if this.poll():
                this.serve(_answered, _nothing)
                break
    except (errors.ChipError, errors.CardGone):
        pass
    line = _Line(messages)
    this = nfc.NfcPort(line, line)
    this._is_open = True
    try:
        this.start_polling()
        for _ in range(4):
            if this.find_card(200):
                this.send(b"\x00\xa4\x04\x00\x00")
                assert 0 < len(this.receive()) <= iso_dep.MAX_RESPONSE
                this.release()
    except (errors.ChipError, errors.CardGone):
        pass


def _answered(raw: bytes) -> bytes:
    return b"\x90\x00"


def _nothing() -> None:
    pass


TARGETS = {
    target.__name__: target
    for target in (
        signed_object,
        plain_layout,
        record,
        answer,
        command,
        response,
        frames,
        cobs,
        card,
        blank_card,
        sale_responses,
        payment_responses,
        picc,
        pcd,
        chip,
        radio,
    )
}
