"""Cheats: wallets of which two copies pay on from the same journal position, and when the ledger knows.

A double spend is a payment at a journal position that another copy has used already. It has reached the ledger once
objects that the copies signed for one position, with different hashes, have been uploaded; the ledger must have frozen
the wallet by then, and may have earlier (`cumulative falls`).
"""

from dataclasses import dataclass, field

from host_tools.city.device import Device


@dataclass
class Clone:
    """One wallet and its copies, of which the first is the wallet itself. Times are Unix seconds.

    `bound` is what the threat model says that it can gain at most: the sum limit for each copy, less what the purse
    held. `careless` is one whose first copy goes on to sync.
    """

    copies: list[Device]
    fork_seq: int
    bound: int
    careless: bool
    detected_at: int | None = None
    shown: list[set[int]] = field(default_factory=list)  # of each copy, the positions that the ledger has seen
    refusals: list[int] = field(default_factory=list)  # of each copy: how often it was refused as revoked, in a row

    def __post_init__(self):
        self.shown = [set() for _ in self.copies]
        self.refusals = [0 for _ in self.copies]

    def copy_of(self, device: Device) -> int:
        """Which of the copies this is."""
        return next(i for i, copy in enumerate(self.copies) if copy is device)

    def is_double(self, copy: int, seq: int) -> bool:
        """Whether another copy has used this position."""
        return any(other.head_seq >= seq for i, other in enumerate(self.copies) if i != copy)

    def show(self, copy: int, first: int, last: int) -> None:
        """The ledger has these positions of a copy; up to the fork they are everybody's."""
        self.shown[copy].update(range(max(first, self.fork_seq + 1), last + 1))

    @property
    def surfaced(self) -> bool:
        """Whether the ledger has two histories in its hands."""
        seen: set[int] = set()
        for positions in self.shown:
            if seen & positions:
                return True
            seen |= positions
        return False


@dataclass
class DoubleSpend:
    """One payment at a position that another copy had used. Times are Unix seconds.

    `unaware`: the ledger knew of the wallet by then, and the payee had not heard. Otherwise `detected_at` is when the
    ledger knew, None for never.
    """

    wallet: bytes
    amount: int
    at: int
    unaware: bool
    detected_at: int | None = None

    @property
    def hours(self) -> float | None:
        """From the payment to its detection."""
        return None if self.detected_at is None else (self.detected_at - self.at) / 3_600


@dataclass
class Watch:
    """All clones of a city, and what is known of their double spends."""

    clones: dict[bytes, Clone] = field(default_factory=dict)  # by device id
    double_spends: list[DoubleSpend] = field(default_factory=list)  # limits keep them few
    missed: set[bytes] = field(default_factory=set)  # whose double spend surfaced, and who was not frozen
    _waiting: dict[bytes, list[tuple[Clone, int, int, int]]] = field(default_factory=dict)

    def paid(self, clone: Clone, copy: int, seq: int, amount: int, payee: Device | None, now: int) -> None:
        """A copy has paid at `seq`; `payee` is who has just credited that, if anybody has: its journal shows it."""
        if payee is not None:
            self._waiting.setdefault(payee.id, []).append((clone, copy, seq, payee.head_seq))
        if clone.is_double(copy, seq):
            unaware = clone.detected_at is not None
            self.double_spends.append(DoubleSpend(clone.copies[0].id, amount, now, unaware))

    def uploaded(self, device: Device) -> set[bytes]:
        """A device's whole journal is in the ledger now. Returns the ids of the clones of which that shows anything."""
        touched: set[bytes] = set()
        for clone, copy, seq, credited_seq in self._waiting.pop(device.id, ()):
            if credited_seq <= device.head_seq:
                clone.show(copy, seq - 1, seq)
                touched.add(clone.copies[0].id)
        clone = self.clones.get(device.id)
        if clone is not None:
            clone.show(clone.copy_of(device), clone.fork_seq + 1, device.head_seq)
            touched.add(device.id)
        return touched

    def judged(self, who: bytes, frozen: bool, now: int) -> None:
        """What the ledger holds of a clone, of which something was uploaded by `now`."""
        clone = self.clones[who]
        if frozen and clone.detected_at is None:
            clone.detected_at = now
            for spend in self.double_spends:
                if spend.wallet == who:
                    spend.detected_at = now
        elif not frozen and clone.surfaced:
            self.missed.add(who)
