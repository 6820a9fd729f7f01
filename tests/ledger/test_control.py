"""What an operator sets for one device: limits, from its next Certificate on, and Orders."""

import pytest

from host_tools.ledger.errors import InvalidInput, UnknownDevice, WrongSigner
from protocol import apdu
from protocol.errors import OVER_PAYMENT_LIMIT
from protocol.limits import LIMIT_FIELDS, default_limits
from protocol.objects import RETIRE, UNBLOCK_PIN
from tests.ledger.world import sale
from tests.unit.world import KINDS, cause_of, signer


def test_limits_of_one_device_come_with_its_next_certificate_and_stay(town, wallet):
    other = town.device("other", balance=900)
    shop = town.device("shop", "terminal")
    defaults = default_limits(KINDS["wallet"])
    assert town.ledger.device(wallet.id)["limits"] == defaults
    wanted = defaults | {"payment_limit": 100, "days_limit": 7}
    assert town.ledger.set_limits(wallet.id, {"payment_limit": 100, "days_limit": 7}) == wanted
    assert town.ledger.device(wallet.id)["limits"] == wanted
    sale(shop, wallet, 200)
    for _ in range(2):
        town.sync(wallet)
        assert {name: getattr(wallet.certificate, name) for name in LIMIT_FIELDS} == wanted
    assert cause_of(sale, shop, wallet, 101) == OVER_PAYMENT_LIMIT
    shop.payee.close()
    town.sync(shop)
    sale(shop, other, 200)
    assert town.ledger.set_limits(wallet.id, {"payment_limit": 300}) == wanted | {"payment_limit": 300}
    town.sync(wallet)
    sale(shop, wallet, 101)
    back = {name: defaults[name] for name in ("payment_limit", "days_limit")}
    assert town.ledger.set_limits(wallet.id, back) == defaults


def test_limits_that_no_certificate_carries_are_refused(town, wallet):
    wrong = [("payment", 1), ("payment_limit", -1), ("payment_limit", 1 << 32), ("record_limit", 1 << 16)]
    for name, value in [*wrong, ("days_limit", 256), ("in_doubt_limit", 9), ("issue", 5)]:
        with pytest.raises(InvalidInput, match="No money moved"):
            town.ledger.set_limits(wallet.id, {"sum_limit": 1, name: value})
    assert town.ledger.device(wallet.id)["limits"] == default_limits(KINDS["wallet"])
    largest = {"payment_limit": (1 << 32) - 1, "record_limit": (1 << 16) - 1, "days_limit": 255, "in_doubt_limit": 8}
    town.ledger.set_limits(wallet.id, largest)
    town.sync(wallet)
    assert wallet.certificate.payment_limit == (1 << 32) - 1
    with pytest.raises(UnknownDevice):
        town.ledger.set_limits(bytes(16), {"sum_limit": 1})
    payee, account = signer("payee of operator 1").public, town.ledger.open_account(1, "redemptions")
    key = town.operators[1].key
    pair = town.ledger.register_device(key, 1, payee, KINDS["operator payee"], 0, account, "payee", town.now)
    with pytest.raises(InvalidInput, match="no wallet or terminal"):
        town.ledger.set_limits(pair[1].device, {"sum_limit": 1})


def test_orders_are_numbered_for_each_device_and_taken_by_it(town, wallet):
    other = town.device("other")
    key = town.operators[1].key
    orders = [town.ledger.order(key, wallet.id, UNBLOCK_PIN, argument, town.now) for argument in (0, 1)]
    assert [(order.number, order.argument, order.device) for order in orders] == [(1, 0, wallet.id), (2, 1, wallet.id)]
    retire = town.ledger.order(key, other.id, RETIRE, 0, town.now)
    assert retire.number == 1
    other.send(apdu.PUT, retire.encode())
    assert other.order_number == 1


def test_orders_that_no_device_takes_are_not_signed(town, wallet):
    with pytest.raises(WrongSigner):
        town.ledger.order(town.operators[2].key, wallet.id, RETIRE, 0, town.now)
    for what, argument in ((99, 0), (UNBLOCK_PIN, -1), (UNBLOCK_PIN, 1 << 32)):
        with pytest.raises(InvalidInput, match="no order"):
            town.ledger.order(town.operators[1].key, wallet.id, what, argument, town.now)
    assert town.ledger.order(town.operators[1].key, wallet.id, RETIRE, 0, town.now).number == 1
