"""The radio: ISO-DEP on both sides, and the PN532 on a UART, SPI and I2C."""

from tests.fuzz.targets.firmware import module
from tests.fuzz.targets.inputs import pieces

errors, iso_dep, nfc, pn532, pn532_i2c, pn532_spi = [
    module("drivers." + name) for name in ("errors", "iso_dep", "nfc", "pn532", "pn532_i2c", "pn532_spi")
]

INTACT = b"\x01"  # leads a message that stands for a whole frame around it
LONGEST_WRITE = 320
LONGEST_READ = 275  # the longest frame there is
POLL, POLL_IN = 3, 1  # MicroPython's MP_STREAM_POLL and MP_STREAM_POLL_RD


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


class _Port:
    """A port whose clock goes on whenever somebody waits."""

    LINE_DELAY_MS = 0

    def __init__(self):
        self._now = 0
        self.waits = 0

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


class _Uart(_Port):
    """It brings what it was given, piece by piece."""

    def __init__(self, messages: list[bytes]):
        _Port.__init__(self)
        self._brought = [b"".join(_parts(message)) for message in messages]
        self._at = 0

    def read(self) -> bytes:
        if self._at < len(self._brought):
            self._at += 1
            return self._brought[self._at - 1]
        return b""

    def write(self, data: bytes) -> None:
        assert len(data) <= LONGEST_WRITE

    def set_baudrate(self, baudrate: int) -> None:
        pass


class _Bus(_Port):
    """A host's SPI or I2C with a chip at its end that says what it was given.

    A piece led by an odd byte is ready until it is fetched; led by an even one it is a look at which nothing is ready;
    an empty one is a chip that does not acknowledge its address once. What a host reads beyond is zeros.
    """

    def __init__(self, messages: list[bytes]):
        _Port.__init__(self)
        self._brought = []
        for message in messages:
            is_intact = message[:1] == INTACT
            self._brought += [INTACT + part for part in _parts(message)] if is_intact else [message]
        self._at = 0
        self._asked = 0
        self._selected = False

    def line(self, kind: str):
        return pn532_spi.SpiLine(self._open, {}, self) if kind == "spi" else pn532_i2c.I2cLine(self, self)

    def _here(self):
        return self._brought[self._at] if self._at < len(self._brought) else None

    def sleep_ms(self, delay: int) -> None:
        self._now += delay if self._at < len(self._brought) else 100 * delay  # the rest is silence: not look by look

    def wait(self, sources: list, timeout_ms: int) -> None:
        """As select.poll asks streams on a chip."""
        until = self._now + timeout_ms
        _Port.wait(self, sources, 1)
        for source in sources:
            while not source.stream.ioctl(POLL, POLL_IN) and self._now < until:
                self._now += 10

    # machine.I2C

    def readfrom(self, address: int, count: int) -> bytes:
        assert address == 0x24 and 0 < count <= 1 + LONGEST_READ
        here = self._here()
        if here == b"":
            self._at += 1
            raise OSError(19)
        here = here or b"\x00"
        if count > 1 or not here[0] & 1:
            self._at += 1
        return (here + bytes(count))[:count]

    def writeto(self, address: int, data: bytes) -> None:
        assert address == 0x24 and 0 < len(data) <= LONGEST_WRITE
        if self._here() == b"":
            self._at += 1
            raise OSError(19)

    # machine.SPI, and the machine.Pin that selects

    def _open(self, spec: dict, mode: int, lsb_first: bool):
        assert mode == 0 and lsb_first
        return self, self._select

    def _select(self, level: int) -> None:
        assert self._selected == bool(level), "selects twice"
        self._selected = not level

    def write(self, data: bytes) -> None:
        assert self._selected and len(data) <= LONGEST_WRITE
        self._asked = data[0]
        assert self._asked in (1, 2, 3)

    def read(self, count: int) -> bytes:
        assert self._selected and 0 < count <= LONGEST_READ
        here = self._here() or b"\x00"
        if self._asked == 2 and here[0] & 1:
            return (b"\x01" + bytes(count))[:count]
        self._at += 1
        return ((here if self._asked == 2 else here[1:]) + bytes(count))[:count]


def _parts(message: bytes) -> list[bytes]:
    """A message as it is, or, led by 1, as the payload of an intact frame behind an ACK."""
    if message[:1] == INTACT:
        return [pn532._ACK, pn532.frame(message[1:])]
    return [message]


def _one_command_after_the_other(line, port) -> None:
    this = pn532.Pn532(line, port)
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


def _as_a_card(line, port) -> None:
    this = nfc.NfcPort(line, port)
    this._is_open = True
    try:
        this.start_listening()
        for _ in range(4):
            if this.poll():
                this.serve(_answered, _nothing)
                break
    except (errors.ChipError, errors.CardGone):
        pass


def _as_a_reader(line, port) -> None:
    this = nfc.NfcPort(line, port)
    this._is_open = True
    try:
        this.start_polling()
        for _ in range(4):
            if this.find_card(200):
                this.send(b"\x00\xa4\x04\x00\x00")
                assert len(this.receive()) <= iso_dep.MAX_RESPONSE
                this.release()
    except (errors.ChipError, errors.CardGone):
        pass


def _answered(raw: bytes) -> bytes:
    return b"\x90\x00"


def _nothing() -> None:
    pass


def chip(data: bytes) -> None:
    """Anything on the PN532's UART: an answer, a named error, or silence, in bounded time and memory."""
    uart = _Uart(pieces(data))
    _one_command_after_the_other(uart, uart)


def radio(data: bytes) -> None:
    """Anything on the PN532's UART while we are a card, and then a reader."""
    for role in (_as_a_card, _as_a_reader):
        uart = _Uart(pieces(data))
        role(uart, uart)


def spi(data: bytes) -> None:
    """Anything that a chip on SPI says, to a driver alone, to a card and to a reader."""
    _on_a_bus("spi", data)


def i2c(data: bytes) -> None:
    _on_a_bus("i2c", data)


def _on_a_bus(kind: str, data: bytes) -> None:
    for use in (_one_command_after_the_other, _as_a_card, _as_a_reader):
        bus = _Bus(pieces(data))
        line = bus.line(kind)
        use(line, bus)
        assert not bus._selected, "the chip stays selected"
        assert len(line._input) <= LONGEST_READ


TARGETS = (picc, pcd, chip, radio, spi, i2c)
