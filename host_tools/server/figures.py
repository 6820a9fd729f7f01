"""The endpoints of reports over some days (`host_tools.ledger.reports`): of the token's operator, page by page."""

from host_tools.ledger.errors import BooksBroken, UnknownDevice
from host_tools.ledger.reports.activity import AT_END, AT_END_OF_DEVICE
from host_tools.ledger.reports.figures import FIGURES
from host_tools.ledger.reports.span import MAX_DAYS, Span
from host_tools.server.endpoint import Endpoint
from host_tools.server.service import Call
from host_tools.server.shapes import Flag, Hex, Many, Maybe, Number, Record, Shape, Text
from host_tools.server.store import PAGE

LAST_DAY = 0xFFFF  # as the protocol counts them: in the year 2149

_AMOUNT = Number(-(1 << 63), about="Minor units")
_COUNT = Number()
_DAY = Number(0, LAST_DAY, about="A Unix day, UTC")
_OPERATOR = Number(1, 0xFFFF)
_ABOUT = {figure.name: figure.about for figure in FIGURES if figure.about}
_FIGURES: dict[str, Shape] = {
    field: shape
    for name, about in _ABOUT.items()
    for field, shape in ((name, Number(about=f"Minor units: {about}")), (f"{name}_count", _COUNT))
}
_CASES: dict[str, Shape] = {"dead_letters": _COUNT, "evidence": _COUNT}


def _line(of: dict[str, Shape], ends: dict[str, str], more: dict[str, Shape]) -> Record:
    at_end: dict[str, Shape] = {f"{name}_at_end": _AMOUNT for name in ends.values()}
    return Record(of | _FIGURES | at_end | _CASES | more)


OPERATOR_LINE = _line({"operator": _OPERATOR}, AT_END, {"net_position": _AMOUNT, "frozen_devices": Number(about="Now")})
DAY_LINE = _line({"day": _DAY}, AT_END, {})
DAY_OF_DEVICE = _line({"day": _DAY}, AT_END_OF_DEVICE, {})
DEVICE_LINE = _line(
    {"device": Hex(16), "name": Text(100), "operator": _OPERATOR},
    AT_END_OF_DEVICE,
    {"frozen": Maybe(Text(200, 0, about="Now"))},
)
PAIR = Record(
    {"operator": _OPERATOR, "other": _OPERATOR}
    | {
        f"{name}{field}": shape
        for name in ("paid", "paid_back", "received", "received_back")
        for field, shape in (("", Number(about="Minor units")), ("_count", _COUNT))
    }
    | {"owed": Number(-(1 << 63), about="To `other`; below 0: by it")}
)

_SPAN: dict[str, Shape] = {
    "day": Number(0, LAST_DAY, about="The first Unix day, UTC"),
    "days": Number(1, MAX_DAYS, about="How many, with the first"),
}
_PAGED_BY_DAY = Record(_SPAN | {"after": _DAY}, frozenset({"after"}))

_BROKEN = (BooksBroken,)


def _span(call: Call) -> Span:
    return Span.of(call.query["day"], call.query["day"] + call.query["days"] - 1)


def by_operator(call: Call) -> dict:
    (line,) = call.ledger.by_operator(_span(call), call.operator)
    return line


def by_day(call: Call) -> dict:
    return _days(call, None)


def by_day_of_device(call: Call) -> dict:
    return _days(call, call.own_device())


def _days(call: Call, device: bytes | None) -> dict:
    """So many days from the first, or from the one after `after`: a page is a span of its own."""
    span = _span(call)
    first = max(span.first, call.query.get("after", -1) + 1)
    last = min(span.last, first + PAGE - 1)
    lines = call.ledger.by_day(Span(first, last), call.operator, device) if first <= last else []
    return {"lines": lines, "more": last < span.last}


def by_device(call: Call) -> dict:
    lines = call.ledger.by_device(_span(call), call.operator, call.query.get("after", b""), PAGE)
    return {"lines": lines, "more": len(lines) == PAGE}


def positions(call: Call) -> dict:
    found = call.ledger.positions(_span(call), call.operator)
    after = call.query.get("after", 0)
    pairs = [pair for pair in found["pairs"] if pair["other"] > after]
    net = sum(row["net"] for row in found["net"])  # its own, or none
    return {"pairs": pairs[:PAGE], "net": net, "more": len(pairs) > PAGE}


REPORTS = (
    Endpoint("GET", "/v1/reports/operator", "report_operator", "What moved over some days, in sums",
             {200: OPERATOR_LINE}, by_operator, scope="reports", query=Record(_SPAN),
             refusals=_BROKEN),
    Endpoint("GET", "/v1/reports/days", "report_days", "The same, day by day",
             {200: Record({"lines": Many(DAY_LINE), "more": Flag()})}, by_day, scope="reports", query=_PAGED_BY_DAY,
             refusals=_BROKEN),
    Endpoint("GET", "/v1/reports/devices", "report_devices", "The same, device by device, in the order of their ids",
             {200: Record({"lines": Many(DEVICE_LINE), "more": Flag()})}, by_device, scope="reports",
             query=Record(_SPAN | {"after": Hex(16)}, frozenset({"after"})), refusals=_BROKEN),
    Endpoint("GET", "/v1/reports/devices/{device}/days", "report_device_days", "One device's days",
             {200: Record({"lines": Many(DAY_OF_DEVICE), "more": Flag()})}, by_day_of_device, scope="reports",
             query=_PAGED_BY_DAY, refusals=(UnknownDevice, *_BROKEN)),
    Endpoint("GET", "/v1/reports/positions", "report_positions",
             "What the operator owes each other one for the payments of some days, netted",
             {200: Record({"pairs": Many(PAIR), "net": Number(-(1 << 63), about="What it gets from all others"),
                           "more": Flag()})}, positions, scope="reports",
             query=Record(_SPAN | {"after": Number(0, 0xFFFF)}, frozenset({"after"}))),
)  # fmt: skip
