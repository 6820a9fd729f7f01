"""What the attacks have in common: people who shop with full amounts, and the operator's own payee."""

from protocol import apdu
from protocol.errors import CONFIRM, Refused, RefusedByPeer
from protocol.limits import CERTIFICATE_DAYS, GRACE_DAYS
from protocol.objects import DAY_S, REVOKED_ALTOGETHER
from protocol.tap import PAID, SaleTap
from tests.ledger.world import Link, Town, meet, sale_tap
from tests.unit.world import Device, LinkLost, cause_of, signer, spread

DEADLINE = (CERTIFICATE_DAYS + GRACE_DAYS + 1) * DAY_S  # after the last sync: what nobody settled is booked
LEFT_ON_ACCOUNT = 1_000  # what `Town.device` leaves there
PAYEE = signer("payee of operator 1")


def buy(shop: Device, payer: Device, amount: int, link: Link | None = None) -> SaleTap:
    """A sale that whoever holds the payer confirms if it asks; `link` is that of the tap that pays."""
    shop.open(amount)
    try:
        return meet(sale_tap(shop), payer, link)
    except RefusedByPeer as refusal:
        if refusal.cause != CONFIRM:
            raise
    payer.payer.approve()
    return meet(sale_tap(shop), payer, link)


def torn(shop: Device, payer: Device, amount: int, cut_at: int) -> None:
    """A sale of more than the no-confirm sum whose tap is cut."""
    shop.open(amount)
    assert cause_of(meet, sale_tap(shop), payer) == CONFIRM
    payer.payer.approve()
    try:
        meet(sale_tap(shop), payer, Link(cut_at=cut_at))
    except LinkLost:
        return
    raise AssertionError("the tap was not cut")


def spend_all(shop: Device, payer: Device) -> tuple[int, int]:
    """Pay as much as the payer's own limits allow, in the largest payments. Returns the sum and why it ended."""
    paid = 0
    amount = payer.certificate.payment_limit
    while True:
        try:
            assert buy(shop, payer, amount).moved == PAID
        except Refused as refusal:
            shop.payee.close()
            return paid, refusal.cause
        paid += amount


def tell(teller: Device, terminal: Device) -> None:
    """A customer pays 0.01 at a terminal; then the two compare their lists of revocations, as every tap does."""
    spread(buy(terminal, teller, 1), teller)


def lists(device: Device, who: Device) -> bool:
    """Does the device hold a list of its operator that revokes `who`?"""
    return device.party.trust.list_of(device.certificate.operator).entry(who.id) == REVOKED_ALTOGETHER


def redeem(town: Town, device: Device, amount: int) -> None:
    """Move an amount from the purse to its owner's account, through the operator's payee."""
    opened = town.ledger.open_redemption(town.signer_of(device), PAYEE, device.id, amount, town.now)
    transfer = device.send(apdu.PAY, b"".join([one.encode() for one in opened]))
    device.send(apdu.CONFIRM, town.ledger.take_redemption(PAYEE, transfer, town.now))
    town.check()
