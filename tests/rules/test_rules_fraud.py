"""Rules of what proves fraud, and of what never does: each is needed, since its scenario fails without it.

`RULES` holds the sentence of docs/protocol.md that each test is about.
"""

from sqlalchemy import Connection, select, update

from host_tools.crypto import verify
from host_tools.ledger import chain, evidence, post, transfers
from host_tools.ledger.schema import accounts, devices
from protocol import apdu, fraud, records
from protocol.fraud import Commitment, FraudProof
from protocol.objects import Transfer
from tests.ledger.world import LOST_CONFIRM, Town, clone, pay_person, sale
from tests.rules.rule import check_needed, without
from tests.rules.scenes import NewTown, give_void, torn_sale, town_with_shop
from tests.unit.world import Device, sha256

RULES = {
    "test_two_histories_are_proven": "different hashes at one position",
    "test_a_receipt_and_a_void_are_proven": "a Receipt of a Transfer in one, the Void of it in the other",
    "test_falling_cumulatives_are_proven": (
        "the later (by `seq`) has a `cumulative` below the earlier's plus its own amount"
    ),
    "test_a_proof_is_made_of_preimages": "must have a `seq` for which a hash is known so far, and hash to it",
    "test_a_proof_needs_the_root_s_word_on_the_key": "can verify it with the root key and nothing else",
    "test_what_is_signed_commits_to_the_record_before_it": "its hash stands at its `seq`, and `previous` at `seq` - 1",
    "test_a_record_counts_only_below_a_signed_head": "it cannot forge, alter, double or accuse",
    "test_gaps_are_incomplete_never_fraud": 'Gaps are "incomplete", never fraud.',
    "test_each_record_is_judged_by_the_certificate_it_names": "both issue numbers equal the exchanged Certificates'",
    "test_one_base_is_one_issue": "of two Transfers with one `payer_issue`",
    "test_an_unfunded_purse_is_no_fraud": "Overdrawn is not fraud by itself",
}


def found_guilty(town: Town, device: Device) -> bool:
    """What anybody can see of it with the root key, and what the ledger does about it."""
    return bool(town.ledger.fraud_proofs(device.id)) and town.frozen(device) is not None


def test_two_histories_are_proven(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        other = town.device("kiosk", "terminal")
        twin = clone(wallet)
        sale(terminal, wallet, 300)
        sale(other, twin, 700)
        town.sync(terminal)
        town.sync(other)
        assert found_guilty(town, wallet), "a clone goes on"

    taken_out = without(evidence.torn, ("if there and", "if False and"))
    check_needed(scenario, taken_out, outcome="a clone goes on|and not frozen")


def test_a_receipt_and_a_void_are_proven(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        torn_sale(terminal, wallet, 300, LOST_CONFIRM)
        give_void(terminal, wallet, wallet.purse.in_doubt[0].hash)
        town.sync(wallet)
        town.sync(terminal)
        assert found_guilty(town, terminal), "a payee that voids and claims goes on"

    taken_out = without(transfers.place, ("row.receipt is not None and payee is not None", "False"))
    check_needed(scenario, taken_out, outcome="a payee that voids and claims goes on")


def test_falling_cumulatives_are_proven(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        kiosk = town.device("kiosk", "terminal")
        sale(terminal, wallet, 300)
        wallet.purse.cumulative = 0  # a cracked payer forgets what it has spent
        sale(kiosk, wallet, 100)
        town.sync(terminal)
        town.sync(kiosk)
        assert found_guilty(town, wallet), "a payer above its limit goes on"

    taken_out = without(
        transfers._check_cumulative, ("if second.cumulative < first.cumulative + second.amount:", "if False:")
    )
    check_needed(scenario, taken_out, outcome="a payer above its limit goes on")


def convicted(town: Town, device: Device, first: Commitment, second: Commitment, key: bytes = b"") -> bool:
    operator = town.operators[1].certificate.encode()
    proof = FraudProof(operator, device.certificate.encode(), first, second)
    try:
        fraud.check(proof, key or town.root.public, sha256, verify)
    except fraud.NotProven:
        return False
    return True


def test_a_proof_is_made_of_preimages(new_town: NewTown) -> None:
    """Somebody makes up another body for the record below an honest Transfer."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        sale(terminal, wallet, 100)
        sale(terminal, wallet, 200)
        stored = [records.decode(raw) for raw in wallet.journal.stored]
        paid = [record for record in stored if isinstance(record.body, Transfer)]
        below = stored[-3]  # the closing between the two
        made_up = below.body_bytes[:38] + bytes((below.body_bytes[38] ^ 1,)) + below.body_bytes[39:]
        true, false = (Commitment(paid[-1].transfer.encode(), (body,)) for body in (below.body_bytes, made_up))
        first = Commitment(paid[0].transfer.encode(), ())
        assert not convicted(town, wallet, true, false) and not convicted(town, wallet, first, false), (
            "an honest device"
        )

    taken_out = without(fraud._read, ("if said.positions.get(body.seq) != digest:", "if False:"))
    check_needed(scenario, taken_out, outcome="an honest device")


def test_a_proof_needs_the_root_s_word_on_the_key(new_town: NewTown) -> None:
    """A key of nobody's signs two histories in an honest device's name."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        twin = clone(wallet)
        sale(terminal, wallet, 100)
        sale(terminal, twin, 200)
        paid, again = [
            Commitment(records.decode(device.journal.stored[-2]).transfer.encode(), ()) for device in (wallet, twin)
        ]
        assert convicted(town, wallet, paid, again)
        assert not convicted(town, wallet, paid, again, key=town.operators[2].key.public), "no word of the root's"

    taken_out = without(fraud.check, ("if not operator.verified_by(root_key, verify):", "if False:"))
    check_needed(scenario, taken_out, outcome="no word of the root's")


def test_what_is_signed_commits_to_the_record_before_it(new_town: NewTown) -> None:
    """A clone and its original are paid at different positions: only what came before shows the fork."""

    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        friend, stranger = town.device("friend", balance=100), town.device("stranger", balance=100)
        twin = clone(wallet)
        wallet.send(apdu.PUT, town.ledger.order_load(town.signer_of(wallet), wallet.id, 10, town.now).encode())
        pay_person(friend, wallet, 50)
        pay_person(stranger, twin, 50)
        town.sync(friend)
        town.sync(stranger)
        assert found_guilty(town, wallet), "a clone goes on"

    asked = without(evidence.torn, ("{seq: digest} if previous is None else", "{seq: digest} if True else"))
    known = without(evidence.commitments, ("own + before + others", "own + others"))
    check_needed(scenario, asked, known, outcome="a clone goes on|and not frozen")


def test_a_record_counts_only_below_a_signed_head(new_town: NewTown) -> None:
    """A carrier makes up a record that fits onto the journal: nothing the device signed vouches for it."""

    def scenario() -> None:
        town, _, wallet = town_with_shop(new_town)
        load = town.ledger.order_load(town.signer_of(wallet), wallet.id, 500, town.now)
        head = wallet.purse
        body = records.Loading(seq=head.head_seq + 1, previous=head.head_hash, load=sha256(load.body()))
        statement, uploaded = town.statement(wallet)
        town.settle(wallet, statement, [*uploaded, records.loading(body, load)])
        assert (town.purse(wallet), town.sums()["loads_in_transit"]) == (900, 500), "a carrier's record was posted"

    taken_out = without(chain.pieces, ("proof = entry.signed if entry else None", "proof = entry and entry.raw"))
    check_needed(scenario, taken_out, outcome="a carrier's record was posted")


def test_gaps_are_incomplete_never_fraud(new_town: NewTown) -> None:
    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        sale(terminal, wallet, 300)
        sale(terminal, wallet, 100)
        statement, uploaded = town.statement(terminal)
        town.settle(terminal, statement, uploaded[:1] + uploaded[2:])
        assert town.frozen(terminal) is None, "a carrier accused an honest device"
        assert town.sync(terminal).certified

    taken_out = without(post._commit, ("if statement.seq < one.seen_before:", "if one.head[0] < statement.seq:"))
    check_needed(scenario, taken_out, outcome="a carrier accused an honest device")


def test_each_record_is_judged_by_the_certificate_it_names(new_town: NewTown) -> None:
    """The wallet has a newer base by the time its older payment reaches the ledger."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        sale(terminal, wallet, 300)
        town.install(wallet, town.settle(wallet, *town.statement(wallet)[:1], []))
        upload = town.statement(terminal)
        with without(post.Posting._hear, ("if isinstance(evidence, Receipt):", "if False:")):
            town.sync(wallet)
        town.settle(terminal, *upload)
        assert town.purse(terminal) == 300, "an honest payee is not paid"

    taken_out = without(
        transfers.refusal_of,
        (
            "paying = registry.certificate_of(connection, payer.id, transfer.payer_issue)",
            "paying = registry.certificate_of(connection, payer.id, payer.issue)",
        ),
    )
    check_needed(scenario, taken_out, outcome="an honest payee is not paid")


def test_one_base_is_one_issue(new_town: NewTown) -> None:
    """An honest wallet's cumulative starts anew with a new base."""

    def scenario() -> None:
        town, terminal, wallet = town_with_shop(new_town)
        sale(terminal, wallet, 300)
        town.sync(wallet)
        sale(terminal, wallet, 100)
        town.sync(terminal)
        assert town.frozen(wallet) is None, "an honest device looks guilty"

    ledger = without(transfers._check_cumulative, (", transfers.c.payer_issue == transfer.payer_issue", ""))
    anybody = without(
        fraud._falls, ("spent.get(this.payer_issue, 0)", "spent.get(0, 0)"), ("spent[this.payer_issue]", "spent[0]")
    )
    check_needed(scenario, ledger, anybody, outcome="an honest device looks guilty")


def test_an_unfunded_purse_is_no_fraud(new_town: NewTown) -> None:
    """The terminal syncs before the wallet's Load has reached the ledger."""

    def scenario() -> None:
        town = new_town()
        terminal, wallet = town.device("shop", "terminal"), town.device("wallet")
        wallet.send(apdu.PUT, town.ledger.order_load(town.signer_of(wallet), wallet.id, 900, town.now).encode())
        sale(terminal, wallet, 300)
        town.sync(terminal)
        assert town.purse(wallet) == -300 and town.frozen(wallet) is None, "an honest device looks guilty"

    def freeze_negative(connection: Connection) -> None:
        negative = select(devices.c.id).join(accounts, devices.c.purse == accounts.c.id).where(accounts.c.balance < 0)
        connection.execute(update(devices).where(devices.c.id.in_(negative)).values(frozen="overdrawn"))

    taken_out = without(
        transfers.place,
        ("state=state, held_by=holder)", "state=state, held_by=holder); freeze_negative(connection)"),
        freeze_negative=freeze_negative,
    )
    check_needed(scenario, taken_out, outcome="an honest device looks guilty|and nothing proves it")
