"""What a city has shown, as one dictionary: speeds, double spends and when they were known, the loss."""

from collections.abc import Sequence

from host_tools.city.city import City
from host_tools.city.clones import Clone
from host_tools.ledger import Ledger


def of(city: City, ledger: Ledger, lived_s: float) -> dict:
    """The facts after `city.run`, which took `lived_s` seconds. Raises `BooksBroken`."""
    ledger.check()
    counts, watch = city.counts, city.watch
    rows = {bytes.fromhex(row["id"]): row for row in ledger.devices(city.now)}
    frozen = {who for who, row in rows.items() if row["frozen"]}
    surfaced = {who for who, clone in watch.clones.items() if clone.surfaced}
    reconciliation = ledger.reconciliation()
    living_s = lived_s - counts.settling_s
    found_later = [spend.hours for spend in watch.double_spends if spend.hours is not None]
    each = [_cheat(city, clone, rows[who]) for who, clone in watch.clones.items()]
    facts = {
        "plan": city.plan.facts(),
        "days": (city.now - city.began) / 86_400,
        "terminals": len(city.people.terminals()),
        **counts.facts(),
        "seconds": {"making": round(living_s, 1), "settling": round(counts.settling_s, 1)},
        "made_per_second": round(counts.made / living_s) if living_s else None,
        "settled_per_second": round(counts.made / counts.settling_s) if counts.settling_s else None,
        "clones": {
            "made": len(watch.clones),
            "surfaced": len(surfaced),
            "frozen": len(frozen & watch.clones.keys()),
            "surfaced_and_not_frozen": len(watch.missed | (surfaced - frozen)),
            "over_their_bound": sum(cheat["loss"] > cheat["bound"] for cheat in each),
            "each": each,
        },
        "double_spends": {
            "made": len(watch.double_spends),
            "known_later": len(found_later),
            "after_the_wallet_was_known": sum(spend.unaware for spend in watch.double_spends),
            "never_known": sum(not spend.unaware and spend.hours is None for spend in watch.double_spends),
        },
        "hours_to_detection": spread_of(found_later),
        "loss": -sum(reconciliation["guarantee"].values()),
        "loss_bound": sum(clone.bound for clone in watch.clones.values()),
        "honest_frozen": len(frozen - watch.clones.keys()),
        "pending": sum(reconciliation["pending"].values()),
        "suspense": sum(reconciliation["suspense"].values()),
        "difference": reconciliation["difference"],
    }
    return facts | {"wrong": wrong(facts)}


def _cheat(city: City, clone: Clone, row: dict) -> dict:
    """One clone, with each of its double spends. Hours are from the city's first second."""

    def hour(at: int | None) -> float | None:
        return None if at is None else round((at - city.began) / 3_600, 2)

    return {
        "wallet": row["id"],
        "loss": row["guaranteed"],
        "bound": clone.bound,
        "known_at_hour": hour(clone.detected_at),
        "double_spends": [
            {
                "at_hour": hour(spend.at),
                "amount": spend.amount,
                "hours_to_detection": None if spend.hours is None else round(spend.hours, 2),
                "payee_unaware": spend.unaware,
            }
            for spend in city.watch.double_spends
            if spend.wallet == clone.copies[0].id
        ],
    }


def spread_of(hours: Sequence[float]) -> dict[str, float | None]:
    """Median, 95th percentile (both by nearest rank) and maximum; None of nothing."""
    ranked = sorted(hours)

    def rank(percent: int) -> float | None:
        return round(ranked[max(0, -(-len(ranked) * percent // 100) - 1)], 2) if ranked else None

    return {"median": rank(50), "percentile_95": rank(95), "max": rank(100)}


def wrong(facts: dict) -> list[str]:
    """What must not be, in words; empty in a sound ledger."""
    found = []
    if facts["honest_frozen"]:
        found.append(f"{facts['honest_frozen']} honest devices are frozen")
    if facts["clones"]["surfaced_and_not_frozen"]:
        found.append(f"{facts['clones']['surfaced_and_not_frozen']} clones surfaced and were not frozen")
    if facts["clones"]["over_their_bound"]:
        found.append(f"{facts['clones']['over_their_bound']} clones cost more than the threat model allows")
    if facts["loss"] > facts["loss_bound"]:
        found.append(f"the loss of {facts['loss']} is over its bound of {facts['loss_bound']}")
    if facts["difference"] or facts["suspense"]:
        found.append(f"{facts['difference']} are missing, and {facts['suspense']} lie in suspense")
    for reason, count in (facts["withheld"] | facts["dead_letters"]).items():
        found.append(f"{count} times: {reason}")
    return found
