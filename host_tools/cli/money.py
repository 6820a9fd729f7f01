"""Amounts as people type and read them: exact decimals, integers in minor units inside. There is no float anywhere."""

import re

from host_tools.cli.currencies import Currency
from host_tools.cli.exits import BadInput

MAX_DEVICE_AMOUNT = (1 << 32) - 1  # what an object on a device can carry
MAX_LEDGER_AMOUNT = 10**15  # of one posting; thousands of them fit the ledger's BIGINT
_AMOUNT = re.compile(r"([0-9]{1,19})(?:\.([0-9]{1,19}))?")


def parse(text: str, currency: Currency, maximum: int = MAX_DEVICE_AMOUNT, minimum: int = 1) -> int:
    """`18.50` as 1850 for a currency with two decimals.

    Raises `BadInput` for anything that is not exactly an amount in these bounds.
    """
    typed = _AMOUNT.fullmatch(text)
    if typed is None:
        raise BadInput(
            f"{text!r} is no amount. Type digits and at most one point, like {format_amount(1850, currency)}."
        )
    whole, decimals = typed[1], typed[2] or ""
    if len(decimals) > currency.exponent:
        has = f"{currency.exponent} decimals" if currency.exponent else "no decimals"
        raise BadInput(f"{text} has too many decimals: {currency.code} has {has}.")
    amount = int(whole + decimals.ljust(currency.exponent, "0"))
    if amount < minimum:
        raise BadInput("The amount is 0. Choose one above it.")
    if amount > maximum:
        raise BadInput(f"{text} is too much: the highest amount here is {with_code(maximum, currency)}.")
    return amount


def format_amount(amount: int, currency: Currency) -> str:
    """1850 as `18.50`; `-0.05`."""
    digits = str(abs(amount)).zfill(currency.exponent + 1)
    if currency.exponent:
        digits = f"{digits[: -currency.exponent]}.{digits[-currency.exponent :]}"
    return "-" + digits if amount < 0 else digits


def with_code(amount: int, currency: Currency) -> str:
    """1850 as `18.50 CNY`."""
    return f"{format_amount(amount, currency)} {currency.code}"
