"""Who has no device, no operator's word, or only the wires in between: nothing that is forged, altered or repeated
moves money. And an operator that is no longer trusted."""

import pytest

from host_tools.ledger.errors import InsufficientFunds, UnknownNonce
from protocol import apdu, effects
from protocol.errors import (
    BAD_CERTIFICATE,
    BAD_SIGNATURE,
    BALANCE_LIMIT,
    CONFIRM,
    MISMATCH,
    NOT_FOR_THIS_DEVICE,
    REVOKED,
    UNKNOWN_OPERATOR,
)
from protocol.objects import Certificate, Receipt, Request, Transfer, Void, device_id
from protocol.tap import PAID
from tests.engines.fixtures import every_engine
from tests.ledger.world import LOST_CONFIRM, Link, sale, sale_tap
from tests.threats import bounds
from tests.threats.scenes import buy, redeem, spend_all, torn
from tests.unit.world import KINDS, Device, Operator, cause_of, meet, sha256, signer

pytestmark = every_engine


@pytest.fixture
def wallet(town):
    return town.device("wallet", balance=bounds.HELD)


def made_by(town, bank, root, name, kind, **limits):
    """A device that somebody personalised past every ledger."""
    device = Device(name, town.clock)
    certificate = bank.certify(device.generate_key(), KINDS[kind], **limits)
    acknowledgement = bank.acknowledge(certificate, device.purse.head_hash)
    objects = bank.certificate.encode() + certificate.encode() + acknowledgement.encode()
    device.send(apdu.PERSONALISE, root.public + objects)
    return device


def any_transfer(payer, payee, request):
    """Whatever is asked for, signed with the payer's own key and never committed."""
    message = payer.party.request_message(request, sha256(payee.body()), bytes(32))
    transfer = Transfer(
        seq=payer.purse.head_seq + 1,
        previous=payer.purse.head_hash,
        payer=payer.id,
        payee=device_id(payee.key, sha256),
        amount=request.amount,
        lot=0,
        lot_amount=0,
        request=sha256(message),
        number=request.number,
        payer_issue=payer.certificate.issue,
        payee_issue=payee.issue,
        cumulative=request.amount,
    )
    return [effects.Answer(transfer.sign(payer.party.sign).encode())]


@pytest.mark.parametrize("number", [1, 9])
def test_forged_operator(town, shop, wallet, number):
    """The forger's own root: its devices know each other, and nobody else does."""
    root = signer("forger's root")
    bank = Operator(number, root, name="forger")
    payer = made_by(town, bank, root, "forged wallet", "wallet")
    payee = made_by(town, bank, root, "forged terminal", "terminal")
    payer.purse.balance = bounds.HELD
    before = (list(shop.journal.stored), list(wallet.journal.stored))
    refusals = (BAD_CERTIFICATE, BAD_SIGNATURE, UNKNOWN_OPERATOR)
    shop.open(bounds.PAYMENT)
    payer.party.trust.add_operator = lambda *_: None  # its firmware asks nothing
    payer.payer.pay = lambda payee, request, *_, **__: any_transfer(payer, payee, request)
    assert cause_of(meet, sale_tap(shop), payer) in refusals
    payee.open(bounds.PAYMENT)
    payee.party.trust.operators[1] = town.operators[1].certificate
    assert cause_of(meet, sale_tap(payee), wallet) in refusals
    shop.payee.close()
    assert (shop.journal.stored, wallet.journal.stored) == before
    assert (shop.purse.balance, wallet.purse.balance) == (0, bounds.HELD)


@pytest.mark.parametrize("better", ["payment_limit", "sum_limit", "issue", "valid_until"])
def test_forged_certificate(shop, wallet, better):
    """A genuine Certificate with one number of its owner's choice."""
    forged = Certificate.decode(wallet.certificate.encode())
    setattr(forged, better, getattr(forged, better) + 1)
    wallet.purse.certificate = forged
    wallet.payer.pay = lambda payee, request, *_, **__: any_transfer(wallet, payee, request)
    shop.open(bounds.PAYMENT)
    assert cause_of(meet, sale_tap(shop), wallet) == BAD_CERTIFICATE
    assert shop.purse.balance == 0


def test_replayed_message(town, shop, wallet):
    """All that was ever in the air, once more, to everybody: each side has it once."""
    kiosk = town.device("kiosk", "terminal")
    request = Request.decode(shop.open(bounds.PAYMENT))
    paying = shop.certificate.encode() + request.encode()
    assert cause_of(wallet.send, apdu.PAY, paying) == CONFIRM
    wallet.payer.approve()
    transfer = wallet.send(apdu.PAY, paying)
    assert wallet.send(apdu.PAY, paying) == transfer
    assert meet(sale_tap(shop), wallet, Link(repeat=True)).moved == PAID
    receipt = shop.perform(shop.payee.receive(Transfer.decode(transfer), wallet.certificate))
    for _ in range(2):
        wallet.send(apdu.CONFIRM, receipt)
        assert shop.perform(shop.payee.receive(Transfer.decode(transfer), wallet.certificate)) == receipt
    assert Receipt.decode(receipt).transfer == shop.party.sha256(Transfer.decode(transfer).body())
    kiosk.open(bounds.PAYMENT)
    assert cause_of(kiosk.payee.receive, Transfer.decode(transfer), wallet.certificate) == NOT_FOR_THIS_DEVICE
    kiosk.payee.close()
    shop.open(bounds.PAYMENT)
    forged = Transfer.decode(transfer)
    forged.number = shop.payee.request.number
    forged.request = shop.payee.request_hash
    assert cause_of(shop.payee.receive, forged, wallet.certificate) == BAD_SIGNATURE
    forged.request = bytes(32)
    assert cause_of(shop.payee.receive, forged, wallet.certificate) == MISMATCH
    shop.payee.close()
    load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 500, town.now).encode()
    for _ in range(2):
        wallet.send(apdu.PUT, load)
    assert cause_of(kiosk.send, apdu.PUT, load) == NOT_FOR_THIS_DEVICE
    assert (wallet.purse.balance, shop.purse.balance) == (bounds.HELD - bounds.PAYMENT + 500, bounds.PAYMENT)
    for device in (shop, wallet):
        upload = town.statement(device)
        assert town.settle(device, *upload) == town.settle(device, *upload)
    assert (town.purse(wallet), town.purse(shop), town.loss()) == (wallet.purse.balance, shop.purse.balance, 0)


def test_evidence_of_somebody_else(town, shop, wallet):
    """Only the payee that was paid says how a payment ended."""
    kiosk = town.device("kiosk", "terminal")
    torn(shop, wallet, bounds.PAYMENT, LOST_CONFIRM)
    debit = wallet.purse.in_doubt[0]
    void = Void(transfer=debit.hash).sign(kiosk.party.sign)
    assert cause_of(wallet.payer.close, void) == BAD_SIGNATURE
    wallet.send(apdu.CONFIRM, void.encode())
    assert wallet.purse.in_doubt_sum == bounds.PAYMENT


def test_host_that_shows_old_and_foreign_uploads_accuses_nobody(town, shop, wallet):
    buy(shop, wallet, bounds.PAYMENT)
    carried = [(device, *town.statement(device)) for device in (wallet, shop)]
    for device, statement, uploaded in carried:
        town.settle(device, statement, [*reversed(uploaded), *carried[0][2], b"\xff" * 40])
    buy(shop, wallet, bounds.PAYMENT)
    for device in (wallet, shop):
        town.sync(device)
    for device, statement, uploaded in carried:  # behind what both have shown since
        town.settle(device, statement, uploaded)
        nonce, _ = town.ledger.begin_sync(device.id, town.now)
        assert nonce not in statement
        with pytest.raises(UnknownNonce):
            town.settle(device, device.send(apdu.STATEMENT, bytes(16)), uploaded)
    assert (town.frozen(wallet), town.frozen(shop), town.ledger.fraud_proofs()) == (None, None, [])
    assert (town.purse(wallet), town.purse(shop)) == (bounds.HELD - 2 * bounds.PAYMENT, 2 * bounds.PAYMENT)
    assert town.sync(wallet).certified
    assert town.sync(shop).certified


# Operators


def test_revoked_operator(town, shop):
    """What its devices hold is honoured where nobody has heard of it; it stands in the books, so nobody loses."""
    kiosk = town.device("kiosk", "terminal")
    foreign = town.device("foreign", balance=bounds.HELD, operator=2)
    for _ in range(2):
        buy(shop, foreign, bounds.PAYMENT)
    town.ledger.revoke_operator(town.root, 2, town.now)
    town.sync(kiosk)
    assert cause_of(buy, kiosk, foreign, 1) == REVOKED
    rest = bounds.HELD - 2 * bounds.PAYMENT
    assert spend_all(shop, foreign)[0] == rest
    town.sync(shop)
    assert cause_of(buy, shop, foreign, 1) == REVOKED
    assert not town.sync(foreign).certified
    assert (town.purse(shop), town.purse(foreign), town.loss()) == (bounds.HELD, 0, 0)


def test_stolen_operator_key(town, shop):
    """Devices made with an operator's true key past the ledger: offline they are good; their payees are not paid."""
    all_that_fits = dict.fromkeys(("balance_limit", "payment_limit", "sum_limit"), 0xFFFFFFFF)
    stolen = town.operators[2]
    forged = made_by(town, stolen, town.root, "forged", "wallet", **all_that_fits)
    forged.send(apdu.PUT, stolen.load(forged.id, 1, 2 * bounds.TILL_HELD).encode())
    assert buy(shop, forged, bounds.TILL_HELD).moved == PAID
    assert cause_of(shop.open, 1) == BALANCE_LIMIT
    settlement = town.sync(shop)
    assert settlement.dead_letters == ("the payer is not registered",)
    assert (shop.purse.balance, town.purse(shop), town.loss()) == (bounds.TILL_HELD, 0, 0)
    with pytest.raises(InsufficientFunds):
        redeem(town, shop, 1)
    town.ledger.revoke_operator(town.root, 2, town.now)
    kiosk = town.device("kiosk", "terminal")
    town.sync(kiosk)
    assert cause_of(sale, kiosk, forged, 1) == REVOKED
