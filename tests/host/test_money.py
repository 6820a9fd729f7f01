"""Amounts as they are typed and shown, and the currencies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tools.cli import currencies, money
from host_tools.cli.exits import BadInput

CNY = currencies.Currency("CNY", 156, 2)


@given(
    st.integers(1, money.MAX_LEDGER_AMOUNT),
    st.sampled_from(currencies.CURRENCIES),
)
def test_what_is_shown_can_be_typed_and_is_the_same_amount(amount: int, currency: currencies.Currency):
    assert money.parse(money.format_amount(amount, currency), currency, money.MAX_LEDGER_AMOUNT) == amount


@pytest.mark.parametrize(("text", "amount"), [("18.50", 1850), ("18.5", 1850), ("18", 1800), ("0.01", 1), ("007", 700)])
def test_amounts_are_exact(text: str, amount: int):
    assert money.parse(text, CNY) == amount


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "1.", ".5", "1.234", "1 000", "1,000", "１", "1e2", "0", "0.00", "inf", "42949672.96"]
)
def test_what_is_no_amount_is_refused(text: str):
    with pytest.raises(BadInput):
        money.parse(text, CNY)


def test_currencies_are_those_of_iso_4217():
    known = {currency.code: currency[1:] for currency in currencies.CURRENCIES}
    for code, number, exponent in (("CNY", 156, 2), ("EUR", 978, 2), ("USD", 840, 2), ("JPY", 392, 0), ("KWD", 414, 3)):
        assert known[code] == (number, exponent)
    numbers = [currency.number for currency in currencies.CURRENCIES]
    assert len(set(numbers)) == len(set(known)) == len(currencies.CURRENCIES)
    assert currencies.by_number(999, 1) == ("ISO 999", 999, 1)
