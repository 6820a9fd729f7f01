"""One device in RAM: what outlives power, what runs on it now, and the port that the firmware sees of it."""

from bank import AID, GET_RESPONSE, SELECT, SW_MORE, SW_OK, Refusal, Wrong, sha256
from books import Books
from image import Card, Device, vfs
from nor import Chip, Cut, Disk, Flash, Power

_LFS = {"readsize": 32, "progsize": 32, "lookahead": 32}
MAX_TIDYING = 1_000  # a sector each, and what else there may be


class Port:
    """Everything that a port offers, for one power-on."""

    def __init__(self, board, power: Power):
        self._board = board
        self._power = power

    def open_flash(self, spec: dict) -> Flash:
        self._board.flash = Flash(self._board.journal, self._power)
        return self._board.flash

    def data_path(self, name: str) -> str:
        return self._board.folder + "/" + name

    def random_bytes(self, count: int) -> bytes:
        self._board.randoms += 1
        return sha256(b"%s %d" % (self._board.folder.encode(), self._board.randoms))[:count]

    key_bytes = random_bytes

    def device_secret(self, make: bool) -> bytes:
        return sha256(self._board.folder.encode())

    def ticks_ms(self) -> int:
        return self._board.time_ms

    def ticks_us(self) -> int:
        return self._board.time_ms * 1000

    def ticks_diff(self, late: int, early: int) -> int:
        return late - early

    def sleep_ms(self, ms: int) -> None:
        self._board.time_ms += ms

    def wait(self, uarts: list, timeout_ms: int) -> None:
        self.sleep_ms(timeout_ms)

    def reset(self) -> None:
        raise Cut


class Board:
    """Journal flash, the file system's flash, and the numbers of its random generator."""

    def __init__(self, name: str, journal_bytes: int, disk_bytes: int):
        self.folder = "/" + name
        self.journal = Chip(journal_bytes, 1)
        self.disk = Chip(disk_bytes, 2)
        self.flash = Flash(self.journal, Power())  # the journal's, of the present power-on
        self.randoms = 0
        self.time_ms = 0
        vfs.VfsLfs2.mkfs(Disk(self.disk, Power()), **_LFS)

    def keep(self):
        return self.journal.keep(), self.disk.keep(), self.randoms

    def put_back(self, kept, seed: int) -> None:
        journal, disk, self.randoms = kept
        self.journal.put_back(journal, seed)
        self.disk.put_back(disk, seed + 1)
        self.time_ms = 0


class Seat:
    """One device. `power`, `device` and `card` are new at every start; `id` and `books` are those of its key."""

    device: Device
    books: Books

    def __init__(self, name: str, board: Board, kind: int, operator: int):
        self.name = name
        self.board = board
        self.kind = kind
        self.operator = operator
        self.id = b""
        self.books = None  # pyright: ignore[reportAttributeAccessIssue]  (tests of a device without a key know it)
        self.device = None
        self.power = Power()
        self.mounted = False

    @property
    def dead(self) -> bool:
        return self.power.dead

    def start(self, cut_op: int = -1, cut_byte: int = 0) -> bool:
        """Power on; False if it went again before the start was over."""
        self.stop()
        self.power = Power()
        if cut_op >= 0:
            self.power.cut(cut_op, cut_byte)
        try:
            vfs.mount(vfs.VfsLfs2(Disk(self.board.disk, self.power), **_LFS), self.board.folder)
            self.mounted = True
            self.device = Device(Port(self.board, self.power), {"label": "journal"})
        except Cut:
            return False
        except OSError as error:
            if self.dead:
                return False
            raise Wrong("%s: file system %s" % (self.name, error))  # noqa: B904  (MicroPython does not chain)
        if self.dead:
            return False
        if self.device.fault:
            raise Wrong("%s: out of service: %s" % (self.name, self.device.fault))
        self.card = Card(self.device)
        return True

    def stop(self) -> None:
        """Power off."""
        if self.mounted:
            vfs.umount(self.board.folder)
            self.mounted = False
        self.power.dead = True
        self.device = None

    def process(self, command: bytes) -> bytes:
        """One command as a card; `after` has run. Raises Cut if power went before the answer was out."""
        response = self.card.process(command)
        if self.dead:
            raise Cut
        try:
            self.card.after()
        except Cut:
            pass
        return response

    def send(self, ins: int, data: bytes = b"") -> bytes:
        """A host's command, chained as needed. Raises Refusal, and Cut."""
        self._checked(bytes([0, SELECT, 4, 0, len(AID)]) + AID)
        while len(data) > 255:
            self._checked(bytes([0x90, ins, 0, 0, 255]) + data[:255])
            data = data[255:]
        length = bytes([len(data)]) if data else b""
        answer = self._checked(bytes([0x80, ins, 0, 0]) + length + data + b"\0")
        found = answer[:-2]
        while answer[-2] == SW_MORE:
            answer = self._checked(bytes([0, GET_RESPONSE, 0, 0, 0]))
            found += answer[:-2]
        return found

    def _checked(self, command: bytes) -> bytes:
        answer = self.process(command)
        if self.dead:
            raise Cut
        if answer[-2] != SW_MORE and answer[-2:] != SW_OK.to_bytes(2, "big"):
            raise Refusal(answer[0])
        return answer

    def tidy(self) -> None:
        """What a device does between taps."""
        tidy = getattr(self.device, "tidy", None)
        for _ in range(MAX_TIDYING):
            if not tidy or not tidy():
                return
            if self.dead:
                raise Cut
        raise Wrong(self.name + ": tidying never ends")
