"""One scene with its start kept, to be played again and again with a cut in it, and judged every time."""

from bank import Bank, Wrong
from nor import SECTOR_BYTES, WEAK, Cut
from scenes import SCENES
from table import Table

ROUTES = ("tap", "sync")
_OF_ERASE = (0, 1, 31, 32, SECTOR_BYTES // 2, SECTOR_BYTES - 32, SECTOR_BYTES - 1, WEAK)


def bytes_of(kind: str, length: int):
    """Where an operation is cut: what is written, to the journal or below littlefs, at every byte; an erase, which has
    no order of bytes on a chip, at both ends, in the middle, and over all of its sector (`WEAK`).
    """
    return range(length) if kind in ("program", "write") else _OF_ERASE


class Theatre:
    """One scene with its start kept, to be played again and again."""

    def __init__(self, name: str):
        self.name = name
        self.scene = SCENES[name]()
        self.table = Table(Bank())
        try:
            self.scene.build(self.table)
        except BaseException:  # Cut and Broken too: what is mounted stays mounted for the next scene
            self.close()
            raise
        self.kept = self.table.keep()

    def points(self) -> list:
        """(side, op, byte, route) of everything that can be cut, from an uncut play."""
        self.open(1)
        logs = {}
        for name, seat in self.table.seats.items():
            seat.power.log.clear()
            logs[name] = seat.power.log
        self.scene.play(self.table)
        found = []
        for side, log in sorted(logs.items()):
            for op in range(len(log)):
                for byte in bytes_of(*log[op]):
                    found += [(side, op, byte, route) for route in ROUTES]
        for message in range(self.table.messages):
            found += [("air", message, 0, route) for route in ROUTES]
        return found

    def open(self, seed: int) -> None:
        self.table.put_back(self.kept, seed)
        for seat in self.table.seats.values():
            if not seat.start():
                raise Wrong("no start")
            self.scene.started(seat)

    def close(self) -> None:
        for seat in self.table.seats.values():
            seat.stop()

    def play(self, point) -> None:
        """Cut, start again, tap again or sync, pay again. Raises Wrong, Broken, or what a device raised."""
        side, op, byte, route = point
        table, scene = self.table, self.scene
        dice = (op * 7919 + byte * 31 + len(self.name)) & 0xFFFF
        self.open(dice)
        if side == "air":
            table.tear_at = op
        else:
            table.seats[side].power.cut(op, byte)
        self._guarded(scene.play)
        if side != "air" and not table.seats[side].dead:
            raise Wrong("the cut was never reached")
        self._start_again(dice)
        table.check_all()
        self._guarded(scene.again if route == "tap" else self.sync_all, dice)
        if any([seat.dead for seat in table.seats.values()]):
            raise Wrong("power went twice")
        table.check_all()
        table.check_wishes()
        if route == "sync":
            table.check_settled()
        scene.next(table)
        for seat in table.seats.values():
            seat.tidy()
        table.check_all()
        table.check_wishes()
        if scene.by_ledger:
            self.sync_all(table, dice)
        table.check_settled()
        for seat in table.seats.values():
            seat.start()
            scene.started(seat)
        table.check_all()

    def _guarded(self, action, dice: int = -1) -> None:
        table = self.table
        try:
            action(table) if dice < 0 or action != self.sync_all else action(table, dice)
        except Cut:
            pass
        except Exception:  # a device that has lost power may say anything: nobody hears it
            if not any([seat.dead for seat in table.seats.values()]):
                raise
        for _, error in table.crashes:
            raise error

    def _start_again(self, dice: int) -> None:
        """Dead devices start; in a share of the cases the start is cut as well, or the other side restarts too."""
        for seat in self.table.seats.values():
            if not seat.dead and dice % 5:
                continue
            party = seat.device.party if seat.device else None
            seen = (party.purse.head_seq, party.purse.head_hash) if party else (0, b"")
            for cut in range(dice % 4):
                # Twice at most: what a cut start leaves behind is cut again.
                seat.start((dice >> 3) % (4 + cut * 3), (dice >> 5) % 300)
            if not seat.start():
                raise Wrong("no start")
            self.scene.started(seat)
            self.table.check(seat)
            if seat.books and seat.books.seq < seen[0]:
                raise Wrong("%s: committed records are gone" % seat.name)
            if seat.books and seen[0] and seen[0] == seat.books.seq and seat.books.head != seen[1]:
                raise Wrong("%s: another record than was committed" % seat.name)

    def sync_all(self, table, dice: int) -> None:
        for wish in table.wishes:
            wish.cancel_if_asked()
        names = sorted(table.seats)
        if dice & 1:
            names.reverse()
        if self.scene.lone:
            self.scene.again(table)  # before it has a key or while it has a PIN there is nothing else to do
        for name in names + names:
            table.sync(table.seats[name])
