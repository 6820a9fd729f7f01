"""`jiaozi report` names the records that were not taken, as far as they can be read."""

from tests.host.command import in_json, jiaozi
from tests.host.test_control import town
from tests.ledger.world import Town, sale

__all__ = ["town"]


def test_report_says_which_records_were_not_taken(town: Town):
    shop, wallet = town.device("Tea", "terminal"), town.device("Ana", balance=900)
    sale(shop, wallet, 300)
    credit = town.statement(shop)[1][-1]
    statement, records = town.statement(wallet)
    town.settle(wallet, statement, [*records, credit, b"junk"])
    letters = in_json("report")["dead_letters"]
    assert {(row["seq"], row["kind"], row["reason"]) for row in letters} >= {
        (shop.purse.head_seq, "credit", "a credit of another device")
    }
    assert [(row["seq"], row["kind"]) for row in letters if row["record"] == b"junk".hex()] == [(None, None)]
    shown = " ".join(jiaozi("report").out.split())
    assert f"Ana {shop.purse.head_seq} credit a credit of another device" in shown
    assert "Ana unreadable" in shown
