"""Who lives in the city: operators with their accounts, wallets, merchants with their terminals."""

from dataclasses import dataclass
from itertools import accumulate
from random import Random

from host_tools.city.device import Device
from host_tools.city.enrolment import Bank, Entry, enrol, open_bank
from host_tools.city.lists import Lists
from host_tools.city.plan import FIRST_DAY, FIRST_LOAD, WALLET_KINDS, Plan
from host_tools.crypto import Signer, sha256
from host_tools.ledger import Ledger
from protocol.objects import DAY_S, TERMINAL, OperatorCertificate

CURRENCY, EXPONENT = 156, 2  # CNY in fen: any currency would do
MCCS = (5411, 5812, 5814, 5541, 4111, 5912, 5311, 5942)
FUNDS = 10**14  # minor units of each operator's account
_YEARS = 10 * 365


@dataclass
class People:
    """Everybody, with the weights by which wallets and merchants are drawn (cumulative, as `Random.choices` wants)."""

    banks: dict[int, Bank]
    wallets: list[Device]
    activity: list[float]
    merchants: list[list[Device]]
    popularity: list[float]

    def bank_of(self, device: Device) -> Bank:
        return self.banks[device.certificate.operator]

    def terminals(self) -> list[Device]:
        return [terminal for merchant in self.merchants for terminal in merchant]


def settle_down(ledger: Ledger, plan: Plan, now: int) -> People:
    """Found the city in an empty ledger. The keys follow from the plan's seed."""
    random = Random(f"people {plan.seed}")
    root = _signer(plan, "root", 0)
    ledger.set_root(root.public)
    banks = {number: _operator(ledger, plan, root, number, now) for number in range(1, plan.operators + 1)}
    lists = Lists()
    wallets = [Device(_seed(plan, "wallet", i), lists, powered=False) for i in range(plan.wallets)]
    popularity = [1 / rank for rank in range(1, plan.merchants + 1)]  # Zipf's law
    sold_a_day = plan.wallets * plan.payments_a_day
    merchants: list[list[Device]] = []
    for rank, share in enumerate(popularity):
        tills = 1 + int(sold_a_day * share / sum(popularity) / plan.busiest_terminal)
        merchants.append([Device(_seed(plan, f"terminal {rank}", i), lists) for i in range(tills)])
    entries: dict[int, list[Entry]] = {number: [] for number in banks}
    kinds = random.choices(*zip(*WALLET_KINDS, strict=True), k=plan.wallets)
    for i, (wallet, kind) in enumerate(zip(wallets, kinds, strict=True)):
        entries[1 + i % plan.operators].append(Entry(wallet, f"wallet {i}", kind, 0, FIRST_LOAD))
    for rank, merchant in enumerate(merchants):
        for i, terminal in enumerate(merchant):
            name, mcc = f"merchant {rank}, terminal {i}", MCCS[rank % len(MCCS)]
            entries[1 + rank % plan.operators].append(Entry(terminal, name, TERMINAL << 4, mcc, 0))
    for number, bank in banks.items():
        enrol(ledger, bank, entries[number], now)
    activity = list(accumulate(random.lognormvariate(0, 0.5) for _ in wallets))
    return People(banks, wallets, activity, merchants, list(accumulate(popularity)))


def _operator(ledger: Ledger, plan: Plan, root: Signer, number: int, now: int) -> Bank:
    signer = _signer(plan, "operator", number)
    certificate = OperatorCertificate(
        operator=number,
        issue=1,
        key=signer.public,
        currency=CURRENCY,
        exponent=EXPONENT,
        valid_from=FIRST_DAY,
        valid_until=FIRST_DAY + _YEARS,
    )
    ledger.add_operator(certificate.sign(root.sign))
    return open_bank(ledger, signer, number, "the city", FUNDS, now)


def first_second() -> int:
    return FIRST_DAY * DAY_S


def _seed(plan: Plan, kind: str, number: int) -> bytes:
    return sha256(f"city {plan.seed} {kind} {number}".encode())


def _signer(plan: Plan, kind: str, number: int) -> Signer:
    return Signer(_seed(plan, kind, number))
