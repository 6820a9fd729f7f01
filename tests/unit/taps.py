"""Taps between two devices, whole and torn, as the tests of `protocol.tap` need them. Runs on MicroPython too."""

import sys

from protocol.objects import PERSON
from protocol.tap import Payment, PaymentTap
from tests.unit.world import REFERENCE, Link, LinkLost, World, meet, raises

EVERYTHING = sys.implementation.name == "cpython"


def shop(balance=50_000, **changes):
    world = World()
    return world, world.device("terminal", "terminal"), world.device("wallet", balance=balance, **changes)


def friends():
    """A world and two wallets, the first one with money."""
    world = World()
    return world, world.device("payer", balance=50_000), world.device("payee", balance=500)


def payment_tap(reader, payment):
    return PaymentTap(reader.party, reader.perform, reader.payer, payment)


def next_command(tap) -> bytes:
    """The command of a tap that is not over."""
    command = tap.command()
    assert command is not None
    return command


def give(reader, card, amount, purpose=PERSON, link=None):
    """The reader pays the card in one tap."""
    return meet(payment_tap(reader, Payment(amount, purpose, REFERENCE)), card, link)


def cuts(n_messages):
    """Every way a tap of so many messages can end early. MicroPython takes every message, but only one way at each."""
    for cut_at in range(n_messages):
        if EVERYTHING:
            for repeat in (False, True):
                for lose_power in (False, True):
                    yield cut_at, repeat, lose_power
        else:
            yield cut_at, cut_at % 4 > 1, cut_at % 2 == 1


def torn(tap, card, cut_at, repeat, lose_power):
    raises(LinkLost, meet, tap, card, Link(cut_at, repeat, lose_power))
    return tap
