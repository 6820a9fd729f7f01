"""Currencies by ISO 4217: code, number, and how many decimals the minor unit has. Common ones; another is one line."""

from typing import NamedTuple


class Currency(NamedTuple):
    """`exponent` decimals: 2 for cents and fen, 0 for yen, 3 for fils."""

    code: str
    number: int
    exponent: int


CURRENCIES = (
    Currency("AED", 784, 2),
    Currency("AUD", 36, 2),
    Currency("BHD", 48, 3),
    Currency("BRL", 986, 2),
    Currency("CAD", 124, 2),
    Currency("CHF", 756, 2),
    Currency("CLP", 152, 0),
    Currency("CNY", 156, 2),
    Currency("CZK", 203, 2),
    Currency("DKK", 208, 2),
    Currency("EGP", 818, 2),
    Currency("EUR", 978, 2),
    Currency("GBP", 826, 2),
    Currency("HKD", 344, 2),
    Currency("HUF", 348, 2),
    Currency("IDR", 360, 2),
    Currency("ILS", 376, 2),
    Currency("INR", 356, 2),
    Currency("ISK", 352, 0),
    Currency("JOD", 400, 3),
    Currency("JPY", 392, 0),
    Currency("KES", 404, 2),
    Currency("KRW", 410, 0),
    Currency("KWD", 414, 3),
    Currency("MOP", 446, 2),
    Currency("MXN", 484, 2),
    Currency("MYR", 458, 2),
    Currency("NGN", 566, 2),
    Currency("NOK", 578, 2),
    Currency("NZD", 554, 2),
    Currency("OMR", 512, 3),
    Currency("PHP", 608, 2),
    Currency("PLN", 985, 2),
    Currency("SAR", 682, 2),
    Currency("SEK", 752, 2),
    Currency("SGD", 702, 2),
    Currency("THB", 764, 2),
    Currency("TND", 788, 3),
    Currency("TRY", 949, 2),
    Currency("TWD", 901, 2),
    Currency("UAH", 980, 2),
    Currency("USD", 840, 2),
    Currency("VND", 704, 0),
    Currency("ZAR", 710, 2),
)


def by_code(code: str) -> Currency | None:
    """The currency of this code, in any case."""
    return next((currency for currency in CURRENCIES if currency.code == code.upper()), None)


def by_number(number: int, exponent: int) -> Currency:
    """The currency that an OperatorCertificate names; one that is not in the table is called by its number."""
    known = next((currency for currency in CURRENCIES if currency.number == number), None)
    return Currency(known.code if known else f"ISO {number:03}", number, exponent)
