"""Amounts and words as a person reads and types them. Amounts are integers in minor units; there is no float
anywhere.
"""

COLUMNS = 16  # characters of the 8x8 font on 128 pixels
MAXIMUM_AMOUNT = 999_999_999  # nine digits: what fits the screen in big type, and a u32


def format_amount(amount: int, exponent: int) -> str:
    """`amount` minor units with `exponent` decimals (ISO 4217: CNY 2, JPY 0, KWD 3): `18.50`, `-3.50`, `0.05`."""
    digits = str(abs(amount))
    if exponent:
        if len(digits) <= exponent:  # no zfill on the device
            digits = "0" * (exponent + 1 - len(digits)) + digits
        digits = digits[:-exponent] + "." + digits[-exponent:]
    return ("-" if amount < 0 else "") + digits


def type_digit(amount: int, key: str) -> int:
    """The amount after one key: a digit moves in from the right, as on a cash register; `*` takes the last one back.

    A key that does not fit (no digit, or more than MAXIMUM_AMOUNT) changes nothing.
    """
    if key == "*":
        return amount // 10
    if len(key) != 1 or not "0" <= key <= "9" or amount * 10 + int(key) > MAXIMUM_AMOUNT:
        return amount
    return amount * 10 + int(key)


def plain(text: str) -> str:
    """`text` with `?` for every character that the screen's font does not have."""
    return "".join([character if " " <= character <= "~" else "?" for character in text])
