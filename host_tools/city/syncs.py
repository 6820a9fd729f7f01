"""When devices sync, and what that is: bursts of uploads to the ledger, and its answers back into the devices."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from host_tools.city.clones import Watch
from host_tools.city.counter import Counts
from host_tools.city.device import Device
from host_tools.city.people import People
from host_tools.city.plan import LOW, NEXT_LOAD, SLOTS, Plan
from host_tools.ledger import Ledger, LedgerError, Upload

BURST_RECORDS = 20_000  # of one call of the ledger: some of its batches, so that it checks one while it posts another
EVENING = 20.0  # hour of most syncs


class Calendar:
    """Which devices sync in which quarter of an hour (counted from the city's first). Each stands in it once."""

    def __init__(self, plan: Plan, random: Random):
        self._plan = plan
        self._random = random
        self._due: dict[int, list[Device]] = {}
        self._slot_of: dict[int, int] = {}  # by id() of the device: copies of one have the same device id

    def plan_next(self, device: Device, day: int) -> None:
        """After a sync: a terminal's next one is tomorrow evening, unless it stays offline; a wallet's in some days."""
        later = 1
        if device.powered:
            while self._random.random() < self._plan.skipped_syncs:
                later += 1
        else:
            later += int(self._random.expovariate(1 / max(1, self._plan.sync_days - 1)))
        self.put(device, day + later)

    def put(self, device: Device, day: int) -> None:
        """In the evening of that day, in place of what was planned."""
        hour = min(max(self._random.gauss(EVENING, 1.5), 6.0), 23.9)
        slot = day * SLOTS + int(hour * SLOTS / 24)
        self._slot_of[id(device)] = slot
        self._due.setdefault(slot, []).append(device)

    def hurry(self, device: Device, day: int) -> None:
        """It cannot pay any more: not later than that evening."""
        if self._slot_of[id(device)] >= (day + 1) * SLOTS:
            self.put(device, day)

    def due(self, slot: int) -> list[Device]:
        """Who syncs now, in random order: payers before their payees, and after them."""
        now = [device for device in self._due.pop(slot, ()) if self._slot_of.get(id(device)) == slot]
        self._random.shuffle(now)
        return now

    def never(self, device: Device) -> None:
        self._slot_of[id(device)] = -1


class Settler:
    """Carries bursts of devices to the ledger."""

    def __init__(self, ledger: Ledger, people: People, watch: Watch, counts: Counts):
        self._ledger = ledger
        self._people = people
        self._watch = watch
        self._counts = counts

    def sync(self, devices: list[Device], now: int, top_up: dict[int, int]) -> None:
        """Sync them all. `top_up` are amounts to load, by id() of the device. Raises `LedgerError`."""
        self._order_loads(devices, now, top_up)
        with self._settling():
            begun = self._ledger.begin_syncs([device.id for device in devices], now)
        burst: list[tuple[Device, Upload]] = []
        records = 0
        for device, (nonce, first) in zip(devices, begun, strict=True):
            kept = device.records_from(first)
            signer = self._people.bank_of(device).signer
            burst.append((device, Upload(signer, device.statement(nonce, now), kept)))
            self._counts.uploaded(kept)
            records += len(kept)
            if records >= BURST_RECORDS:
                self._settle(burst, now)
                burst, records = [], 0
        if burst:
            self._settle(burst, now)

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """The ledger's time, beside what the devices take."""
        started = time.perf_counter()
        yield
        self._counts.settling_s += time.perf_counter() - started

    def _order_loads(self, devices: list[Device], now: int, top_up: dict[int, int]) -> None:
        wanted: dict[int, list[tuple[bytes, int]]] = {number: [] for number in self._people.banks}
        for device in devices:
            amount = top_up.get(id(device), 0)
            if not device.powered and not amount and device.balance < LOW and device.id not in self._watch.clones:
                amount = NEXT_LOAD
            if amount:
                wanted[device.certificate.operator].append((device.id, amount))
        with self._settling():
            for number, loads in wanted.items():
                self._ledger.order_loads(self._people.banks[number].signer, loads, now)

    def _settle(self, burst: list[tuple[Device, Upload]], now: int) -> None:
        with self._settling():
            answers = self._ledger.settle_many([upload for _, upload in burst], now)
        touched: set[bytes] = set()
        for (device, _), answer in zip(burst, answers, strict=True):
            if isinstance(answer, LedgerError):
                raise answer
            self._counts.dead_letters.update(answer.dead_letters)
            touched |= self._watch.uploaded(device)
            if not answer.certified and device.id not in self._watch.clones:
                self._counts.withheld[answer.note] += 1
            device.take(answer.objects, self._people.bank_of(device).signer.public)
        for who in sorted(touched):
            self._watch.judged(who, self._ledger.device(who, now)["frozen"] is not None, now)
