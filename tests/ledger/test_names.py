"""Names of accounts and devices: what people can read to each other, and what every engine tells apart alike."""

import pytest

from host_tools.ledger.errors import InvalidInput
from tests.engines.fixtures import every_engine
from tests.unit.world import KINDS, signer

ODD = [
    "",
    "Ana ",
    " Ana",
    "Ana\u00a0",
    "A\nna",
    "Ana\t",
    "A\x00na",
    "A\u200bna",
    "\ufeffAna",
    "Ana\x7f",
    "x" * 101,
    " ",
]


@pytest.mark.parametrize("name", [*ODD, "x" * 51])
def test_no_account_has_such_a_name(town, name):
    with pytest.raises(InvalidInput, match="1 to 50 printable characters"):
        town.ledger.open_account(1, name)
    assert town.ledger.reconciliation()["accounts"] == {}


@pytest.mark.parametrize("name", ODD)
def test_no_device_has_such_a_name(town, name):
    account, bank = town.ledger.open_account(1, "Ana"), town.operators[1].key
    with pytest.raises(InvalidInput, match="1 to 100 printable characters"):
        town.ledger.register_device(bank, 1, signer("new").public, KINDS["wallet"], 0, account, name, town.now)
    assert town.ledger.devices() == []


@every_engine
def test_names_that_differ_are_accounts_that_differ(town):
    names = ["Ana", "ana", "Aná", "Ana's", "A na", "A  na", "Ana.", "安娜"]
    numbers = [town.ledger.open_account(1, name) for name in names]
    assert len(set(numbers)) == len(names)
    assert [town.ledger.open_account(1, name) for name in names] == numbers
