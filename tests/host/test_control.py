"""`jiaozi device lost`, `ledger book-overdue`, `operator limits`, `withdraw` and `unblock-pin`: the real commands on a
real ledger and real key files.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from host_tools import keys
from host_tools.cli import home as homes
from host_tools.cli.exits import Exit
from host_tools.crypto import verify
from host_tools.ledger.redeem import HOLD_DAYS
from protocol.limits import DEFAULT_LIMITS, GRACE_DAYS, LIMIT_FIELDS
from protocol.objects import CASH_OUT, DAY_S, OPERATOR_PAYEE, REVOKED_ALTOGETHER, WALLET, Revocations
from tests.host.command import PASSPHRASE, failed, in_json, jiaozi
from tests.ledger.world import Town, certificate_in, refund, sale
from tests.unit.world import sha256, signer


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """A town whose ledger and keys lie in a home, with a clock that the commands share."""
    town = Town(tmp_path)
    monkeypatch.setattr(homes, "now", lambda: town.now)
    for name, value in (("PASSPHRASE", PASSPHRASE), ("HOME", str(tmp_path / "home")), ("LEDGER", town.url)):
        monkeypatch.setenv(f"JIAOZI_{name}", value)
    home = tmp_path / "home"
    home.mkdir()
    for file, kind, seed in (("root", "root", b"root"), ("operator-1", "operator", b"operator 1")):
        keys.create(home / f"{file}.key", kind, PASSPHRASE, seed=sha256(seed), cost=keys.INTERACTIVE)
    bank = town.ledger.open_account(1, "Bank")
    payee, operator = signer("payee").public, town.operators[1].key
    town.ledger.register_device(operator, 1, payee, OPERATOR_PAYEE << 4, 0, bank, "Bank", town.now)
    yield town
    town.ledger.close()


# Lost devices


def test_a_lost_device_is_blocked_and_its_money_comes_back_after_the_last_day(town: Town):
    wallet = town.device("Ana", balance=900)
    account = town.account(wallet)
    last_day = wallet.certificate.valid_until
    said = in_json("device", "lost", "Ana")
    assert (said["device"], said["operator"], said["purse"]) == (wallet.id.hex(), 1, 900)
    assert (said["currency"]["code"], said["loads_in_transit"]) == ("CNY", 0)
    assert said["pay_back_day"] > last_day + GRACE_DAYS - 1
    assert in_json("device", "lost", "Ana") == said
    row = town.ledger.device(wallet.id)
    assert row["revoked"] and row["lost_at"] == town.now

    assert in_json("ledger", "book-overdue")["paid_back"] == 0
    town.now = (said["pay_back_day"] - 1) * DAY_S
    assert in_json("ledger", "book-overdue")["paid_back"] == 0
    town.now += DAY_S
    assert in_json("ledger", "book-overdue")["paid_back"] == 1
    assert (town.account(wallet), town.purse(wallet)) == (account + 900, 0)
    assert in_json("ledger", "book-overdue")["paid_back"] == 0
    assert in_json("ledger", "check")["balanced"]


def test_a_lost_device_is_shown_as_lost_everywhere(town: Town):
    town.device("Ana", balance=900)
    shown = jiaozi("device", "lost", "Ana").out
    for word in ("Ana is reported lost", "9.00 CNY", "operator 1", "book-overdue", "guarantee", "cannot be taken back"):
        assert word in " ".join(shown.split())
    assert "1 lost: Ana" in jiaozi("ledger", "status").out
    status = in_json("ledger", "status")
    assert (status["lost"], status["revoked"]) == (1, 0)  # said once, though it is both
    for words in (("report",), ("report", "--device", "Ana")):
        assert "lost, reported on" in " ".join(jiaozi(*words).out.split())
    (row,) = in_json("report")["devices"]  # an operator's payee is none
    assert row["lost_at"] == town.now and row["pay_back_day"]


def test_what_surfaces_before_comes_off_and_what_surfaces_later_is_honoured(town: Town):
    shop, kiosk = town.device("shop", "terminal"), town.device("kiosk", "terminal")
    wallet = town.device("Ana", balance=900)
    sale(shop, wallet, 300)
    sale(kiosk, wallet, 400)
    account = town.account(wallet)
    day = in_json("device", "lost", "Ana")["pay_back_day"]
    town.sync(shop)
    town.now = day * DAY_S
    assert in_json("ledger", "book-overdue")["paid_back"] == 1
    assert town.account(wallet) == account + 600
    town.sync(kiosk)
    assert (town.account(wallet), town.purse(kiosk)) == (account + 200, 400)
    assert in_json("report", "--device", "Ana")["device"]["guaranteed"] == 0


def test_who_may_report_a_device_lost(town: Town):
    town.device("Ben", operator=2)
    failed(jiaozi("device", "lost", "Nobody"), Exit.WRONG_CARD, "Nobody")
    failed(jiaozi("device", "lost", "Ben"), Exit.KEY, "operator-2.key does not exist")


def test_what_nobody_funded_is_frozen_and_borne_by_the_guarantee(town: Town):
    """Ben pays on what Ana paid him; Ana's payment reached nobody, and neither comes back."""
    shop, wallet = town.device("shop", "terminal"), town.device("Ben", balance=100)
    till = town.device("till", "terminal", balance=500)
    refund(till, wallet, 300, CASH_OUT)
    sale(shop, wallet, 400)
    town.sync(shop)
    assert town.purse(wallet) == -300
    town.now = (wallet.certificate.valid_until + GRACE_DAYS + 1) * DAY_S
    done = in_json("ledger", "book-overdue")
    assert done["unfunded"] == 1
    row = in_json("report", "--device", "Ben")["device"]
    assert row["guaranteed"] == 300 and "unfunded" in row["frozen"]
    assert "3.00 CNY" in jiaozi("report", "--device", "Ben").out
    assert in_json("ledger", "check")["balanced"]


# Limits


def test_limits_are_shown_and_take_effect_with_the_next_sync(town: Town):
    wallet = town.device("Ana", balance=900)
    defaults = dict(zip(LIMIT_FIELDS, DEFAULT_LIMITS[WALLET << 4 | 2], strict=True))
    shown = in_json("operator", "limits", "Ana")
    assert (shown["limits"], shown["changed"]) == (defaults, [])
    changed = in_json(
        "operator", "limits", "Ana", "--payment-limit", "12.50", "--no-confirm-sum", "0", "--days-limit", 7
    )
    assert changed["changed"] == ["days_limit", "no_confirm_sum", "payment_limit"]
    new = {**defaults, "payment_limit": 1250, "no_confirm_sum": 0, "days_limit": 7}
    assert changed["limits"] == new == in_json("operator", "limits", "Ana")["limits"]
    assert wallet.certificate.payment_limit == defaults["payment_limit"]
    certificate = certificate_in(town.sync(wallet))
    assert {name: getattr(certificate, name) for name in LIMIT_FIELDS} == new
    assert wallet.certificate.payment_limit == 1250


def test_limits_in_words(town: Town):
    town.device("Ana")
    said = " ".join(jiaozi("operator", "limits", "Ana", "--balance-limit", 50).out.split())
    assert "new limits from its next sync on" in said and "holds at most 50.00 CNY" in said
    assert "holds at most 50.00 CNY" in " ".join(jiaozi("report", "--device", "Ana").out.split())


@pytest.mark.parametrize(
    ("option", "value", "word"),
    [
        ("--payment-limit", "1.005", "too many decimals"),
        ("--payment-limit", "-1", "no amount"),
        ("--payment-limit", "", "no amount"),
        ("--balance-limit", "42949672.96", "too much"),
        ("--record-limit", 65536, "0 to 65535"),
        ("--days-limit", 256, "0 to 255"),
        ("--in-doubt-limit", 9, "0 to 8"),
        ("--in-doubt-limit", -1, "0 to 8"),
        ("--days-limit", "x", "integer"),
    ],
)
def test_a_limit_that_no_certificate_can_carry_is_refused(town: Town, option: str, value: object, word: str):
    town.device("Ana")
    before = in_json("operator", "limits", "Ana")
    failed(jiaozi("operator", "limits", "Ana", option, value), Exit.USAGE, word)
    assert in_json("operator", "limits", "Ana") == before


# The root withdraws an operator


def test_a_withdrawn_operator_is_on_the_roots_list_that_travels_with_syncs(town: Town):
    wallet = town.device("Ana")
    said = in_json("operator", "withdraw", 2)
    assert (said["operator"], said["epoch"]) == (2, 1)
    lists = [Revocations.decode(data) for data in town.sync(wallet).objects if data[0] == Revocations.TYPE]
    (root_list,) = [revocations for revocations in lists if revocations.issuer == 0]
    assert list(root_list.entries) == [((2).to_bytes(2, "big") + bytes(14), REVOKED_ALTOGETHER)]
    assert root_list.verified_by(town.root.public, verify)
    assert "withdrawn, on the root's list number 1" in jiaozi("operator", "withdraw", 2).out
    assert (town.ledger.operator_revoked(1), town.ledger.operator_revoked(2)) == (False, True)


def test_operator_list_says_who_is_withdrawn(town: Town):
    (row,) = in_json("operator", "list")["operators"]
    assert (row["operator"], row["withdrawn"]) == (1, False)
    in_json("operator", "withdraw", 1)
    (row,) = in_json("operator", "list")["operators"]
    assert row["withdrawn"]
    assert "withdrawn" in jiaozi("operator", "list").out


def test_what_a_new_terminal_cannot_redeem_yet_is_shown_in_the_currency(town: Town):
    shop, wallet = town.device("Tea", "terminal", balance=100), town.device("Ana", balance=900)
    sale(shop, wallet, 550)
    town.sync(shop)
    assert in_json("ledger", "status")["held"] == 550
    assert "5.50 CNY in purses cannot be redeemed now" in jiaozi("ledger", "status").out
    assert {row["name"]: row["held"] for row in in_json("report")["devices"]} == {"Tea": 550, "Ana": 0}
    assert "5.50 CNY, not to be redeemed now" in jiaozi("report", "--device", "Tea").out
    town.now += HOLD_DAYS * DAY_S
    assert in_json("report", "--device", "Tea")["device"]["held"] == 0
    assert "cannot be redeemed" not in jiaozi("ledger", "status").out


def test_only_the_root_withdraws_and_only_an_operator_there_is(town: Town, tmp_path: Path):
    failed(jiaozi("operator", "withdraw", 9), Exit.UNKNOWN_OPERATOR, "9 is not registered")
    failed(jiaozi("operator", "withdraw", 0), Exit.USAGE, "1 to 65535")
    key = tmp_path / "home" / "root.key"
    key.unlink()
    failed(jiaozi("operator", "withdraw", 2), Exit.KEY, "root.key does not exist")
    keys.create(key, "root", PASSPHRASE, cost=keys.INTERACTIVE)
    assert jiaozi("operator", "withdraw", 2).code in (Exit.USAGE, Exit.LEDGER_REFUSED)
