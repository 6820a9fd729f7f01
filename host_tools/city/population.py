"""Signed uploads for the settlement's benchmark: many payees' Statements, each with the Transfers of many payers.

The payers are wallets that have made several payments on one base, spread over payees that sync at different times, so
a wallet's Transfers reach the ledger out of their order. The payees' answers are not fed back: a payee goes on under
its first Certificate, as one whose host drops what the ledger says. So everything can be made before a clock is
started, but for the Statements: these cover the ledger's nonce (`PayeeUpload.statement`).
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from host_tools.city import encoding
from host_tools.city.device import Device
from host_tools.city.enrolment import Entry, enrol, open_bank
from host_tools.city.lists import Lists
from host_tools.city.taps import Tap
from host_tools.crypto import Signer, sha256
from host_tools.ledger import Ledger
from protocol.errors import Refused
from protocol.limits import default_limits
from protocol.objects import SALE, TERMINAL, WALLET

WALLET_KIND = WALLET << 4 | 2
TERMINAL_KIND = TERMINAL << 4
MCC = 5411

LARGEST_AMOUNT = 200  # minor units: a wallet's records run out before its sum, and a terminal holds a million payments
AT_ONCE = 32  # payees that collect payments at the same time


@dataclass
class PayeeUpload:
    """What one device brings in one sync: `records` are the stored records up to its head, `seq` with hash `head`."""

    device: bytes
    seq: int
    head: bytes
    records: list[bytes]
    _rest: tuple[int, int, int, int, int] = field(repr=False)  # a Statement's other fields, from its watermark on
    _sign: Callable[[bytes], bytes] = field(repr=False)

    def statement(self, nonce: bytes) -> bytes:
        """The device's Statement over the ledger's nonce, signed now."""
        body = encoding.statement_body(self.device, nonce, self.seq, self.head, *self._rest)
        return body + self._sign(body)


@dataclass
class Population:
    """Personalised wallets, loaded up to their limit, and terminals of one operator, at Unix second `now`."""

    wallets: list[Device]
    terminals: list[Device]
    tap: Tap
    now: int


def population(
    ledger: Ledger,
    signer: Signer,
    operator: int,
    n_wallets: int,
    n_terminals: int,
    seed: int,
    now: int,
    keeps_journals: bool = False,
) -> Population:
    """Register and fund everybody; the same seed makes the same keys, and of one ledger each seed is good for one.

    A wallet can pay 249 times on its one base: plan 8,000 wallets for 100,000 payments, mostly 5 to 20 of each,
    and at least one for 200. The wallets have taken their loads and not synced yet, so these lie in transit and the
    purses will be unfunded, as those of all payers are whose payees sync first. With `keeps_journals` the wallets can
    sync as well (`upload_of`).
    """
    certificate = ledger.operator_certificate(operator)
    lists = Lists()
    wallets = [Device(_seed(seed, "wallet", i), lists, keeps_journals) for i in range(n_wallets)]
    terminals = [Device(_seed(seed, "terminal", i), lists) for i in range(n_terminals)]
    load = default_limits(WALLET_KIND)["balance_limit"]
    bank = open_bank(ledger, signer, operator, f"population {seed}", n_wallets * load, now)
    payers = [Entry(wallet, f"wallet {i}", WALLET_KIND, 0, load) for i, wallet in enumerate(wallets)]
    payees = [Entry(terminal, f"terminal {i}", TERMINAL_KIND, MCC, 0) for i, terminal in enumerate(terminals)]
    enrol(ledger, bank, payers + payees, now)
    return Population(wallets, terminals, Tap(certificate.currency), now)


def payee_uploads(
    population: Population, n_transfers: int, seed: int, largest: int = 500, smallest: int = 1
) -> Iterator[PayeeUpload]:
    """Uploads with `n_transfers` credits in all, `smallest` to `largest` in each (evenly drawn), the rest in the last.

    Uploads of one payee come in the order of its journal, and as far apart as the number of payees allows: the ledger
    settles no two of one device in one batch. Raises `ValueError` when the wallets can pay no more.
    """
    random = Random(seed)
    wallets = list(population.wallets)
    idle = deque(random.sample(population.terminals, len(population.terminals)))
    busy: list[tuple[Device, int, int]] = []  # and the lengths of its journal: before, and at which it syncs
    for _ in range(n_transfers):
        if len(busy) < AT_ONCE and idle:
            payee = idle.popleft()
            before = len(payee.journal or ())
            busy.append((payee, before, before + random.randint(smallest, largest)))
        place = random.randrange(len(busy))
        payee, _, wanted = busy[place]
        _pay_somebody(population, random, wallets, payee)
        if len(payee.journal or ()) >= wanted:
            busy[place] = busy[-1]
            busy.pop()
            idle.append(payee)
            yield upload_of(payee)
    for payee, before, _ in busy:
        if len(payee.journal or ()) > before:
            yield upload_of(payee)


def _pay_somebody(city: Population, random: Random, wallets: list[Device], payee: Device) -> None:
    """A wallet pays; one that its Certificate stops is taken off the list."""
    while wallets:
        place = random.randrange(len(wallets))
        try:
            amount = random.randint(1, LARGEST_AMOUNT)
            city.tap.pay(wallets[place], payee, amount, SALE, random.randbytes(16), city.now)
            return
        except Refused:
            wallets[place] = wallets[-1]
            wallets.pop()
    raise ValueError("No wallet can pay any more: make a population with more wallets")


def upload_of(device: Device) -> PayeeUpload:
    """What the device's host carries now: everything since its last upload. The device keeps none of it."""
    records, device.journal = device.journal or [], []
    floors = (device.next_number, device.acknowledgement.request_floor, device.load_floor)
    rest = (*floors, device.certificate.issue, device.acknowledgement.time)
    return PayeeUpload(device.id, device.head_seq, device.head_hash, records, rest, device.sign)


def _seed(seed: int, kind: str, number: int) -> bytes:
    return sha256(f"{seed} {kind} {number}".encode())
