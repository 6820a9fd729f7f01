"""What a city is like, in numbers: everything that its life is drawn from, and nothing that happens in it."""

from dataclasses import dataclass, fields

from protocol.objects import DAY_S, WALLET

FIRST_DAY = 20_000  # 4 October 2024, a Unix day
SLOT_S = 900  # the life of a city goes in quarters of an hour
SLOTS = DAY_S // SLOT_S

# When people pay, by hour: hardly at night, most at noon and in the evening.
PAYING_BY_HOUR = (1, 0, 0, 0, 0, 1, 4, 8, 7, 6, 6, 9, 13, 9, 6, 6, 7, 10, 14, 13, 9, 6, 4, 2)

# Shares of the wallets by class (`protocol.limits`), and what they load, in minor units: at first, and to go on.
WALLET_KINDS = ((WALLET << 4 | 2, 5), (WALLET << 4 | 3, 3), (WALLET << 4 | 4, 2))
FIRST_LOAD = 60_000
NEXT_LOAD = 50_000
LOW = 40_000  # below this a wallet is loaded at its next sync

MIDDLE_AMOUNT = 1_800  # minor units: half of the payments are smaller
SPREAD_OF_AMOUNTS = 0.8  # standard deviation of their logarithm
CHEAT_AMOUNTS = (5_000, 100_000)  # minor units; from the one to the other, evenly drawn
CHEAT_PAYMENTS_A_DAY = 60  # of each copy: it hurries to spend all before anybody knows


@dataclass(frozen=True)
class Plan:
    """A city. The same plan has the same life. Shares are of payments, from 0 to 1."""

    payments: int
    seed: int
    wallets: int
    merchants: int
    clones: int
    operators: int = 2
    payments_a_day: int = 3  # of each wallet
    busiest_terminal: int = 300  # payments a day that one terminal takes, before its merchant has another
    sync_days: int = 4  # between two syncs of a wallet, in the middle
    skipped_syncs: float = 0.1  # evenings on which a terminal stays offline
    between_people: float = 0.04
    refunds: float = 0.01
    torn: float = 0.01  # taps that end too early

    @classmethod
    def of(cls, payments: int, seed: int, wallets: int | None = None, clones: int | None = None) -> "Plan":
        """A city for so many payments: 100 of each wallet, but at most 30,000 wallets, which live longer then.

        Raises `ValueError` for what makes no city.
        """
        wallets = max(20, min(30_000, payments // 100)) if wallets is None else wallets
        clones = max(1, min(100, wallets // 500)) if clones is None else clones
        if payments < 1 or wallets < 2 or not 0 <= clones <= min(wallets, 100):
            raise ValueError("A city has payments, 2 wallets or more, and no more clones than wallets or 100")
        return cls(payments, seed, wallets, max(5, wallets // 20), clones)

    @property
    def days(self) -> int:
        """How long it takes, about."""
        return -(-self.payments // (self.wallets * self.payments_a_day))

    def facts(self) -> dict[str, int | float]:
        return {field.name: getattr(self, field.name) for field in fields(self)}
