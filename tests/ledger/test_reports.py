"""Reports over days: what each posting counts as, by operator, by device and by day, and what operators owe each other.

Every line is held against the books themselves: what it says has moved is what lies elsewhere at the end.
"""

import pytest

from host_tools.ledger.errors import BooksBroken, InvalidInput
from host_tools.ledger.reports.activity import AT_END
from host_tools.ledger.reports.figures import FIGURES, NAMES
from host_tools.ledger.reports.span import MAX_DAYS, Span
from host_tools.ledger.schema import postings
from protocol.objects import DAY_S
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_CONFIRM, LOST_TRANSFER, Link, clone, pay_person, sale
from tests.unit.world import TODAY, LinkLost

YESTERDAY_AND_TODAY = Span(TODAY - 1, TODAY)
# What goes into a purse, and out of it
INTO = {"loaded", "received", "voided", "guaranteed", "from_owners"}
OUT_OF = {"paid", "redeemed", "taken_back", "to_suspense", "repaid", "to_owners"}


def explained(line: dict) -> int:
    """What a line's figures leave in purses."""
    return sum(line[name] for name in INTO) - sum(line[name] for name in OUT_OF)


def torn(terminal, wallet, amount: int, cut_at: int) -> None:
    with pytest.raises(LinkLost):
        sale(terminal, wallet, amount, link=Link(cut_at=cut_at))


@pytest.fixture
def market(town):
    """Two operators; on the first day sales among and between them, on the next one a void and a clone."""
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal", operator=2)
    ann, ben = town.device("ann", balance=1_000), town.device("ben", balance=500, operator=2)
    sale(shop, ann, 100)
    sale(kiosk, ann, 250)
    pay_person(ben, ann, 70)
    stall = town.device("stall", "terminal", operator=2)
    sale(stall, ann, 5)  # from now on it knows ann's operator, and a tap has as many messages as among its own
    torn(stall, ann, 30, LOST_TRANSFER)
    torn(kiosk, ann, 20, LOST_CONFIRM)
    for device in (ann, shop):
        town.sync(device)
    town.now += DAY_S
    twin = clone(ben)
    sale(shop, ben, 400)
    sale(kiosk, twin, 380)
    for device in (kiosk, stall, shop, ben, ann):
        town.sync(device)
    return town


@every_engine
def test_lines_of_operators_say_what_moved_and_their_ends_are_the_books(market):
    first, second = market.ledger.by_operator(Span(TODAY, TODAY + 1))
    assert (first["operator"], second["operator"]) == (1, 2)
    assert (first["issued"], first["issued_count"], second["issued"]) == (1_000 + 2_000, 2, 1_000 + 1_000 + 1_500)
    assert (first["load_ordered"], first["loaded"], first["loaded_count"]) == (1_000, 1_000, 1)
    # ann paid 100, 250, 5, 30 and 20, of which 30 never arrived; ben 70, and 780 as two
    assert (first["paid"], first["paid_count"], first["voided"]) == (405, 5, 30)
    assert (second["paid"], second["paid_count"]) == (70 + 780, 3)
    assert (first["received"], second["received"]) == (100 + 70 + 400, 250 + 5 + 20 + 380)
    assert (second["guaranteed"], second["guarantee_at_end"], second["frozen_devices"]) == (350, -350, 1)
    assert (first["guaranteed"], first["frozen_devices"], first["evidence"], second["evidence"]) == (0, 0, 0, 1)
    sums = market.sums()
    for kind in AT_END.values():
        assert first[f"{kind}_at_end"] + second[f"{kind}_at_end"] == sums[kind]
    assert market.ledger.by_operator(Span(TODAY, TODAY + 1), operator=2) == [second]


@every_engine
def test_days_follow_each_other_and_add_up_to_the_span(market):
    span = Span(TODAY - 1, TODAY + 1)
    before, first, second = market.ledger.by_day(span)
    assert [line["day"] for line in (before, first, second)] == [TODAY - 1, TODAY, TODAY + 1]
    assert not any(value for name, value in before.items() if name != "day")
    whole = market.ledger.by_operator(span)
    for name in (*NAMES, *[f"{name}_count" for name in NAMES], "dead_letters", "evidence"):
        assert first[name] + second[name] == sum(line[name] for line in whole), name
    for line, earlier in ((first, before), (second, first)):
        assert line["purses_at_end"] == earlier["purses_at_end"] + explained(line)
        assert sum(line[f"{kind}_at_end"] for kind in AT_END.values()) == first["issued"]
    assert first["pending_at_end"] == 30 + 20 and second["pending_at_end"] == 0
    assert {kind: second[f"{kind}_at_end"] for kind in AT_END.values()} == market.sums()


def test_an_older_span_does_not_change_by_what_happens_later(market):
    before = market.ledger.by_day(YESTERDAY_AND_TODAY)
    lines = market.ledger.by_operator(YESTERDAY_AND_TODAY)
    market.now += 5 * DAY_S
    shop, ann = market.named("shop"), market.named("ann")
    sale(shop, ann, 11)
    market.sync(shop)
    assert market.ledger.by_day(YESTERDAY_AND_TODAY) == before
    assert market.ledger.by_operator(YESTERDAY_AND_TODAY) == lines


@every_engine
def test_each_devices_line_explains_its_purse(market):
    span = Span(TODAY - 1, TODAY + 1)
    lines = {line["name"]: line for line in market.ledger.by_device(span)}
    assert lines.keys() == {"shop", "kiosk", "stall", "ann", "ben"}
    for name, line in lines.items():
        device = market.named(name)
        assert line["device"] == device.id.hex()
        assert line["purse_at_end"] == market.purse(device) == explained(line)
    assert lines["ben"]["frozen"].startswith("two histories")
    assert (lines["ann"]["paid"], lines["ann"]["voided"], lines["ann"]["received"]) == (405, 30, 70)
    whole = market.ledger.by_operator(span)
    for name in ("loaded", "paid", "received", "redeemed", "guaranteed", "evidence", "dead_letters"):
        assert sum(line[name] for line in lines.values()) == sum(line[name] for line in whole)


@every_engine
def test_devices_come_in_pages_and_an_operator_has_its_own(market):
    span = Span(TODAY, TODAY + 1)
    whole = market.ledger.by_device(span)
    pages, after = [], b""
    while page := market.ledger.by_device(span, after=after, most=3):
        pages += page
        after = bytes.fromhex(page[-1]["device"])
    assert pages == whole
    own = market.ledger.by_device(span, operator=2)
    assert own == [line for line in whole if line["operator"] == 2] and len(own) == 3


@every_engine
def test_the_days_of_one_device(market):
    ben = market.named("ben")
    first, second = market.ledger.by_day(Span(TODAY, TODAY + 1), device=ben.id)
    (line,) = [line for line in market.ledger.by_device(Span(TODAY, TODAY + 1)) if line["name"] == "ben"]
    assert (first["paid"], second["paid"], second["guaranteed"]) == (70, 780, line["guaranteed"])
    assert (first["purse_at_end"], second["purse_at_end"]) == (430, 0)
    assert (first["evidence"], second["evidence"]) == (0, 1)


def test_what_a_lost_device_is_paid_back_goes_to_its_owner(town):
    ann = town.device("ann", balance=900)
    town.ledger.report_lost(town.signer_of(ann), ann.id, town.now)
    town.now += 200 * DAY_S
    town.book_overdue()
    (line,) = town.ledger.by_day(Span(TODAY + 200, TODAY + 200), device=ann.id)
    assert (line["to_owners"], line["to_owners_count"], line["purse_at_end"]) == (900, 1, 0)


def test_what_is_refused_and_not_taken_is_counted(market):
    """ann's record comes with a byte too many: a dead letter of hers."""
    ann = market.named("ann")
    sale(market.named("shop"), ann, 1)
    statement, records = market.statement(ann)
    market.settle(ann, statement, [records[0] + b"\0", *records[1:]])
    day = Span(TODAY + 1, TODAY + 1)
    first, second = market.ledger.by_operator(day)
    assert first["dead_letters"] >= 1 and second["dead_letters"] == 0
    (line,) = market.ledger.by_day(day, device=ann.id)
    assert line["dead_letters"] == first["dead_letters"]


def test_a_reason_that_no_code_gives_is_not_passed_over(market):
    with market.ledger._engine.begin() as connection:
        connection.execute(postings.update().where(postings.c.reason == "loaded").values(reason="found"))
    with pytest.raises(BooksBroken, match="'found'"):
        market.ledger.by_operator(YESTERDAY_AND_TODAY)


def test_a_span_is_of_days_that_follow_each_other():
    for first, last in ((1, 0), (0, MAX_DAYS)):
        with pytest.raises(InvalidInput):
            Span.of(first, last)
    assert Span.of(3, 3) == Span(3, 3)


def test_every_figure_is_explained():
    assert (
        {figure.name for figure in FIGURES if figure.about}
        == set(NAMES)
        == INTO
        | OUT_OF
        | {
            "issued",
            "load_ordered",
            "load_returned",
        }
    )


# What operators owe each other


@every_engine
def test_positions_are_netted_by_pair_and_add_up_to_nothing(market):
    found = market.ledger.positions(Span(TODAY, TODAY + 1))
    # ann (1) paid the kiosk (2) 250 and 20, the stall 5; ben (2) paid ann 70 and the shop (1) 400
    assert found["pairs"] == [
        {
            "operator": 1,
            "other": 2,
            **{"paid": 275, "paid_count": 3, "paid_back": 0, "paid_back_count": 0},
            **{"received": 470, "received_count": 2, "received_back": 0, "received_back_count": 0},
            "owed": -195,
        }
    ]
    assert found["net"] == [{"operator": 1, "net": 195}, {"operator": 2, "net": -195}]
    lines = market.ledger.by_operator(Span(TODAY, TODAY + 1))
    assert [line["net_position"] for line in lines] == [195, -195]


def test_an_operators_own_positions_are_seen_from_its_side(market):
    whole = market.ledger.positions(Span(TODAY, TODAY + 1))["pairs"][0]
    found = market.ledger.positions(Span(TODAY, TODAY + 1), operator=2)
    (own,) = found["pairs"]
    assert (own["operator"], own["other"], own["owed"]) == (2, 1, -whole["owed"])
    assert (own["paid"], own["received"]) == (whole["received"], whole["paid"])
    assert found["net"] == [{"operator": 2, "net": -195}]


def test_what_comes_back_is_no_payment_the_other_way(town):
    """The payee voids what it claimed before: the position goes back, and nobody of operator 2 has paid anything."""
    kiosk, ann = town.device("kiosk", "terminal", operator=2), town.device("ann", balance=1_000)
    sale(kiosk, ann, 5)
    torn(kiosk, ann, 250, LOST_CONFIRM)
    town.sync(kiosk)
    payment = town.ledger.transfers(ann.id)[-1]
    town.void(kiosk, bytes.fromhex(payment["hash"]))
    (pair,) = town.ledger.positions(Span(TODAY, TODAY))["pairs"]
    assert (pair["paid"], pair["paid_back"], pair["received"], pair["owed"]) == (255, 250, 0, 5)
    assert [row["net"] for row in town.ledger.positions(Span(TODAY, TODAY))["net"]] == [-5, 5]
