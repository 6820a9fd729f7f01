"""What the operators' devices have paid each other's, netted: what the operators owe each other for some days.

A posting between accounts of two operators moves their positions, and only Transfers make such postings: from a purse
of the payer's operator, or from its pending or suspense, to a purse of the payee's, when the payment is posted (or
decided for the payee, or booked to it at the deadline); and back, when it turns out void or refused.
"""

from collections import Counter
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from host_tools.ledger.reports.figures import TO_PAYEE
from host_tools.ledger.reports.span import Span
from host_tools.ledger.schema import accounts, postings


class _Flow(NamedTuple):
    """What devices of `payer` paid devices of `payee`; `back` is of what came back."""

    payer: int
    payee: int
    back: bool


def positions(connection: Connection, span: Span, operator: int | None = None) -> dict:
    """`pairs` of operators that had to do with each other, and the multilateral `net` of each.

    Of a pair: `paid` is what devices of `operator` paid devices of `other`, of which `paid_back` came back; `received`
    and `received_back` the other way round; `owed` is what `operator` owes `other` for that, below 0 if it is owed. A
    net above 0 is to be received, and all nets add up to 0. With `operator` only its own.
    """
    amounts, counts = _flows(connection, span)
    known = sorted({(min(flow.payer, flow.payee), max(flow.payer, flow.payee)) for flow in amounts})
    if operator is not None:
        known = sorted((operator, *({*pair} - {operator})) for pair in known if operator in pair)
    net = net_of(amounts)
    return {
        "pairs": [_pair(first, second, amounts, counts) for first, second in known],
        "net": [{"operator": number, "net": net[number]} for number in sorted(net) if operator in (None, number)],
    }


def _pair(first: int, second: int, amounts: Counter[_Flow], counts: Counter[_Flow]) -> dict:
    there, there_back = _Flow(first, second, False), _Flow(first, second, True)
    here, here_back = _Flow(second, first, False), _Flow(second, first, True)
    return {
        "operator": first,
        "other": second,
        "paid": amounts[there],
        "paid_count": counts[there],
        "paid_back": amounts[there_back],
        "paid_back_count": counts[there_back],
        "received": amounts[here],
        "received_count": counts[here],
        "received_back": amounts[here_back],
        "received_back_count": counts[here_back],
        "owed": amounts[there] - amounts[there_back] - amounts[here] + amounts[here_back],
    }


COLUMNS = tuple(_pair(0, 0, Counter(), Counter()))  # of `pairs`


def net_positions(connection: Connection, span: Span) -> dict[int, int]:
    """By operator, what it gets from all others together; those that had nothing to do with others are left out."""
    return net_of(_flows(connection, span)[0])


def net_of(amounts: Counter[_Flow]) -> dict[int, int]:
    net: Counter[int] = Counter()
    for flow, amount in amounts.items():
        net[flow.payee] += -amount if flow.back else amount
        net[flow.payer] -= -amount if flow.back else amount
    return dict(net)


def _flows(connection: Connection, span: Span) -> tuple[Counter[_Flow], Counter[_Flow]]:
    """Amounts and numbers of postings."""
    amounts: Counter[_Flow] = Counter()
    counts: Counter[_Flow] = Counter()
    source, destination = accounts.alias("source"), accounts.alias("destination")
    columns = (source.c.operator, destination.c.operator, postings.c.reason)
    crossing = (
        select(*columns, func.sum(postings.c.amount), func.count())
        .select_from(postings)
        .join(source, source.c.id == postings.c.source)
        .join(destination, destination.c.id == postings.c.destination)
        .where(span.holds(postings.c.at), source.c.operator != destination.c.operator)  # the central bank has none
        .group_by(*columns)
    )
    for out_of, into, reason, amount, count in connection.execute(crossing):
        flow = _Flow(out_of, into, False) if reason in TO_PAYEE else _Flow(into, out_of, True)
        amounts[flow] += int(amount)
        counts[flow] += count
    return amounts, counts
