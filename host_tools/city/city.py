"""The life of a city: people pay all day long with no network, and their devices sync in the evening, or days later.

Everything is drawn from the plan's seed, so the same plan makes the same uploads in the same order; only the ledger's
nonces differ. What is in memory are the devices and the records that they have not brought yet: a city that lives
longer needs no more.
"""

from random import Random

from host_tools.city.clones import Clone, Watch
from host_tools.city.counter import Counts
from host_tools.city.device import Device
from host_tools.city.people import CURRENCY, first_second, settle_down
from host_tools.city.plan import (
    CHEAT_AMOUNTS,
    CHEAT_PAYMENTS_A_DAY,
    MIDDLE_AMOUNT,
    PAYING_BY_HOUR,
    SLOT_S,
    SLOTS,
    SPREAD_OF_AMOUNTS,
    Plan,
)
from host_tools.city.syncs import Calendar, Settler
from host_tools.city.taps import Outcome, Tap, Torn, spread
from host_tools.ledger import Ledger
from protocol.errors import (
    EXPIRED,
    INSUFFICIENT_BALANCE,
    OVER_SUM_LIMIT,
    REVOKED,
    TOO_LONG_OFFLINE,
    TOO_MANY_RECORDS,
    Refused,
)
from protocol.objects import PERSON, REFUND, SALE

_NEEDS_SYNC = (EXPIRED, INSUFFICIENT_BALANCE, OVER_SUM_LIMIT, TOO_LONG_OFFLINE, TOO_MANY_RECORDS)
_GIVES_UP = 5  # refusals in a row after which a copy is thrown away
_TORN = (Torn.BEFORE_CREDIT, Torn.BEFORE_CONFIRM)
_MOST_IDLE_DAYS = 3
_COUNTED_SLOTS = 4  # what is held is counted every hour


class CityIsIdle(Exception):
    """Nobody could pay for days: the plan asks for more than its devices may do."""


class City:
    """One city, in one ledger. `run` is its whole life; `counts` and `watch` say what became of it."""

    def __init__(self, ledger: Ledger, plan: Plan):
        self.plan = plan
        self.counts = Counts()
        self.watch = Watch()
        self.began = first_second()
        self.people = settle_down(ledger, plan, self.began)
        self._random = Random(f"life {plan.seed}")
        self._tap = Tap(CURRENCY)
        self._calendar = Calendar(plan, Random(f"syncs {plan.seed}"))
        self._settler = Settler(ledger, self.people, self.watch, self.counts)
        self._forks = self._plan_forks()
        self._everybody: list[Device] = self.people.wallets + self.people.terminals()
        self.now = self.began

    def run(self, progress=lambda done, of: None) -> None:
        """Live until the planned payments are made, and sync everybody a last time. Raises `LedgerError`."""
        for device in self._everybody:
            self._calendar.plan_next(device, -1)
        day = idle = 0
        while self.counts.made < self.plan.payments:
            before = self.counts.made
            self._day(day)
            progress(min(self.counts.made, self.plan.payments), self.plan.payments)
            day += 1
            idle = idle + 1 if self.counts.made == before else 0
            if idle == _MOST_IDLE_DAYS:
                raise CityIsIdle(f"Nobody could pay for {idle} days: plan more wallets")
        self._last_syncs(day)

    def _plan_forks(self) -> dict[int, list[int]]:
        """Wallets that will be cloned, by the day, within the first half of the city's life.

        They are of the best class there is, which may hold and pay most.
        """
        best = min(wallet.certificate.kind for wallet in self.people.wallets)
        able = [i for i, wallet in enumerate(self.people.wallets) if wallet.certificate.kind == best]
        forks: dict[int, list[int]] = {}
        for index in self._random.sample(able, min(self.plan.clones, len(able))):
            forks.setdefault(self._random.randrange(max(1, self.plan.days // 2)), []).append(index)
        return forks

    def _day(self, day: int) -> None:
        daily = self.plan.wallets * self.plan.payments_a_day
        carried = 0.0
        loads = self._prepare_forks(day)
        for slot in range(SLOTS):
            self.now = self.began + (day * SLOTS + slot) * SLOT_S
            share = PAYING_BY_HOUR[slot * 24 // SLOTS] / sum(PAYING_BY_HOUR) * 24 / SLOTS
            carried += daily * share
            count, carried = int(carried), carried % 1
            self._pay_all(count)
            for clone in self.watch.clones.values():
                self._cheat(clone, CHEAT_PAYMENTS_A_DAY * share)
            self._sync(day, slot, loads)

    def _pay_all(self, count: int) -> None:
        """Everybody's payments in a quarter of an hour, evenly spread over it."""
        random, people = self._random, self.people
        payers = random.choices(people.wallets, cum_weights=people.activity, k=count)
        merchants = random.choices(people.merchants, cum_weights=people.popularity, k=count)
        began = self.now
        for i, (payer, merchant) in enumerate(zip(payers, merchants, strict=True)):
            self.now = began + i * SLOT_S // count
            amount = 1 + int(MIDDLE_AMOUNT * random.lognormvariate(0, SPREAD_OF_AMOUNTS))
            what = random.random()
            if what < self.plan.between_people:
                other = random.choice(people.wallets)
                if other is not payer and other.id not in self.watch.clones:
                    self._pay(payer, other, amount, PERSON)
                continue
            payee = random.choice(merchant)
            paid = self._pay(payer, payee, amount, SALE)
            if paid and what > 1 - self.plan.refunds and payer.id not in self.watch.clones:
                self._pay(payee, payer, amount, REFUND)

    def _pay(self, payer: Device, payee: Device, amount: int, purpose: int) -> bool:
        """One tap, if the city's payments are not made yet. Returns whether the payee has the money."""
        clone = self.watch.clones.get(payer.id)
        if self.counts.made >= self.plan.payments or (clone is not None and self._gave_up(clone, payer)):
            return False
        random = self._random
        torn = random.choice(_TORN) if random.random() < self.plan.torn else Torn.NOWHERE
        before = payee.head_seq
        try:
            outcome = self._tap.pay(payer, payee, amount, purpose, random.randbytes(16), self.now, torn)
        except Refused as refusal:
            self._refused(payer, refusal.cause)
            return False
        self.counts.outcomes[outcome] += 1
        if outcome is not Outcome.SETTLED_OLDER:
            self.counts.made += 1
            if clone is not None:
                closings = 0 if outcome is Outcome.IN_DOUBT else 1
                self._cheated(
                    clone, payer, payer.head_seq - closings, amount, payee if payee.head_seq > before else None
                )
        spread(*((payee, payer) if purpose == SALE else (payer, payee)))
        return outcome is Outcome.PAID

    def _cheated(self, clone: Clone, payer: Device, seq: int, amount: int, payee: Device | None) -> None:
        copy = clone.copy_of(payer)
        clone.refusals[copy] = 0
        self.watch.paid(clone, copy, seq, amount, payee, self.now)

    def _refused(self, payer: Device, cause: int) -> None:
        self.counts.refused[cause] += 1
        clone = self.watch.clones.get(payer.id)
        if clone is not None:
            copy = clone.copy_of(payer)
            clone.refusals[copy] = clone.refusals[copy] + 1 if cause == REVOKED else 0
        if cause in _NEEDS_SYNC and not payer.powered and (clone is None or payer is clone.copies[0]):
            self._calendar.hurry(payer, (self.now - self.began) // SLOT_S // SLOTS)

    def _cheat(self, clone: Clone, chance: float) -> None:
        for device in clone.copies:
            if self._random.random() >= chance:
                continue
            payee = self._random.choice(
                self._random.choices(self.people.merchants, cum_weights=self.people.popularity)[0]
            )
            self._pay(device, payee, self._random.randint(*CHEAT_AMOUNTS), SALE)

    def _gave_up(self, clone: Clone, payer: Device) -> bool:
        return clone.refusals[clone.copy_of(payer)] >= _GIVES_UP

    # Syncs

    def _prepare_forks(self, day: int) -> dict[int, int]:
        """Who is cloned today syncs first and fills the purse. Returns what is loaded, by id() of the device."""
        loads: dict[int, int] = {}
        for index in self._forks.get(day, ()):
            wallet = self.people.wallets[index]
            self._calendar.put(wallet, day)
            held = wallet.balance + wallet.in_doubt_sum
            loads[id(wallet)] = max(1, wallet.certificate.balance_limit - held)
        return loads

    def _sync(self, day: int, slot: int, loads: dict[int, int]) -> None:
        devices = self._calendar.due(day * SLOTS + slot)
        if not devices:
            return
        if slot % _COUNTED_SLOTS == 0:
            held = sum(len(device.journal or ()) for device in self._everybody)
            self.counts.most_held = max(self.counts.most_held, held)
        self.now = self.began + (day * SLOTS + slot + 1) * SLOT_S
        self._settler.sync(devices, self.now, loads)
        for device in devices:
            self._calendar.plan_next(device, day)
            if loads.pop(id(device), 0):
                self._fork(device)

    def _fork(self, wallet: Device) -> None:
        """A flash clip: from here on there are two."""
        bound = 2 * wallet.certificate.sum_limit - wallet.balance
        clone = Clone([wallet, wallet.copy()], wallet.head_seq, bound, careless=self._random.random() < 0.5)
        self.watch.clones[wallet.id] = clone
        if not clone.careless:
            self._calendar.never(wallet)

    def _last_syncs(self, day: int) -> None:
        """One more evening on which every device but the cheats' comes: nothing stays hidden."""
        self.now = self.began + (day + 1) * SLOTS * SLOT_S
        honest = [device for device in self._everybody if device.id not in self.watch.clones]
        self._random.shuffle(honest)
        for first in range(0, len(honest), 200):
            self._settler.sync(honest[first : first + 200], self.now, {})
