"""What an episode stands on: a fresh country, what its people hold in their hands, and what must hold after a step."""

from collections import Counter, deque

from host_tools.crypto import sha256, verify
from host_tools.ledger.guarantee import UNFUNDED
from host_tools.ledger.transfers import POSTED, VOID
from protocol import fraud
from protocol.errors import Refused, RefusedByPeer, name_of
from protocol.objects import PAID as PAID_OUTCOME
from protocol.objects import VOID as VOID_OUTCOME
from protocol.states import CREDITED, OPEN
from protocol.tap import Payment
from tests.stateful.choices import Choices
from tests.stateful.country import Citizen, Country
from tests.stateful.reached import Reached
from tests.stateful.shadow import Violation, demand

MAX_HELD = 10  # uploads and answers that hosts hold back
OVERHEARD = 60


class Ground:
    """The state of one episode and its invariants."""

    def __init__(self, country: Country):
        self.country = country
        self.honest, self.bodies, self.shadow = country.start_over()
        self.shadow.defaulted = self._defaulted
        everybody = (*self.honest, *self.bodies)
        self.reached = Reached({device.id: device.party.public_key for device in everybody})
        self.names = {device.id: device.name for device in everybody}
        self.payments: dict[Citizen, Payment] = {}
        self.last_met: dict[Citizen, Citizen] = {}  # by reader: who tears a tap mostly tries it again
        self.uploads: list[tuple[Citizen, bytes, list[bytes]]] = []
        self.answers: list[tuple[Citizen, tuple[bytes, ...], bool]] = []
        self.backups: list[tuple[str, list[bytes], int, dict]] = []
        self.redemptions: list[tuple[Citizen, bytes]] = []
        self.overheard: deque[bytes] = deque(maxlen=OVERHEARD)
        self.open_requests: dict[Citizen, bytes] = {}
        self.answered: set[bytes] = set()  # Statements
        self.asked_ledger = False
        self.tear_next = False
        self.proven: set[bytes] = set()
        self.outcomes: Counter[str] = Counter()

    def _note_requests(self) -> None:
        """A Request that is not open any more, and was not credited, can never be credited."""
        for device in self.honest:
            now_open = device.payee.request_hash if device.payee.state == OPEN else b""
            before = self.open_requests.get(device, b"")
            if (
                before
                and before != now_open
                and not (device.payee.state == CREDITED and device.payee.request_hash == before)
            ):
                self._closed(device, before)
            self.open_requests[device] = now_open

    def _closed(self, device: Citizen, request_hash: bytes) -> None:
        last = device.purse.last_receipt
        movement = self.shadow.movements.get(last.transfer) if last is not None else None
        if movement is None or movement.transfer.request != request_hash:  # else it was credited just before
            self.shadow.cancelled.add(request_hash)

    def _check_ledger(self) -> None:
        """The books balance, no honest device is accused, every cheat that was caught is frozen."""
        ledger = self.country.ledger
        ledger.check()
        demand(ledger.reconciliation()["difference"] == 0, "the reconciliation has a difference")
        frozen = dict(self._rows("select id, frozen from devices where frozen is not null"))
        for who, reason in frozen.items():
            if self.shadow.is_honest(who):
                demand(reason == UNFUNDED, f"honest {self.names.get(who)} is frozen: {reason}")
        for who, purse, guaranteed, passed_on in self._rows(
            "select devices.id, balance, guaranteed, passed_on from devices join accounts on purse = accounts.id"
            " where frozen is not null or guaranteed > 0"
        ):
            name, spare = self.names.get(who), purse + self._in_transit(who)
            if self.shadow.is_honest(who) and who in frozen:
                late = self._not_surfaced(who) + passed_on
                demand(0 < guaranteed <= late, f"honest {name} is frozen for {guaranteed}: all but {late} is known")
            demand(who not in frozen or spare >= 0, f"the guarantee does not bear what frozen {name} lacks")
            demand(spare <= 0 or not guaranteed, f"the guarantee bears what {name} has, in its purse or in transit")
        for who, kind in self.reached.guilty.items():
            name = self.names[who]
            demand(not self.shadow.is_honest(who), f"honest {name} looks guilty: {kind}")
            demand(who in frozen, f"{name} is not frozen, though the ledger has seen: {kind}")
            if who not in self.proven:
                self._check_proofs(who, kind)

    def _in_transit(self, who: bytes) -> int:
        """In loads on their way into a device, by the list of them and not by the books."""
        query = "select coalesce(sum(amount), 0) from loads where device = ? and state = 'outstanding'"
        return self._rows(query, who)[0][0]

    def _not_surfaced(self, who: bytes) -> int:
        """What an honest device got, or got back, that the ledger has not seen; all else that it paid of it has."""
        account = self.shadow.accounts[who]
        states = dict(self._rows("select hash, state from transfers where payer = ? or payee = ?", who, who))
        late = 0
        for digest, movement in self.shadow.movements.items():
            got = digest in account.credits and states.get(digest) != POSTED
            got_back = movement.transfer.payer == who and movement.outcome == VOID_OUTCOME
            if got or (got_back and states.get(digest, VOID) != VOID):
                late += movement.transfer.amount
        return late

    def _check_proofs(self, who: bytes, kind: str) -> None:
        """Whoever has the root's key can be shown it."""
        root = self.country.root.public
        found = [fraud.check(proof, root, sha256, verify) for proof in self.country.ledger.fraud_proofs(who)]
        demand(all(finding.device == who for finding in found), f"a proof against {self.names[who]} convicts another")
        demand(bool(found), f"nothing proves what {self.names[who]} did: {kind}")
        self.proven.add(who)

    def _rows(self, query: str, *values) -> list:
        return self.country.database().execute(query, values).fetchall()

    def _defaulted(self, transfer_hash: bytes) -> bool:
        rows = self._rows("select defaulted from transfers where hash = ?", transfer_hash)
        return bool(rows and rows[0][0])

    def _compare(self, device: Citizen, loaded: int) -> None:
        """The ledger's purse is the device's, and whatever it credited is posted."""
        account = self.shadow.accounts[device.id]
        query = "select balance, passed_on from accounts join devices on purse = accounts.id where devices.id = ?"
        purse, passed_on = self._rows(query, device.id)[0]
        # Voided after the device had heard that it was paid: by a liar, or after a deadline. It waits in the purse
        # until it is passed on to the owner's account.
        came_back = -passed_on
        for digest, amount in self._rows(
            "select hash, amount from transfers where payer = ? and state = 'void'", device.id
        ):
            movement = self.shadow.movements.get(digest)
            demand(movement is not None, f"the ledger holds a Transfer that {device.name} never made")
            if movement is not None and movement.outcome == PAID_OUTCOME:
                came_back += amount
        demand(
            device.purse.balance == purse + loaded - came_back,
            f"{device.name} has {device.purse.balance}, the ledger {purse}, loads {loaded}, came back {came_back}",
        )
        unpaid = self._rows(
            "select hash, state from transfers where payee = ? and state not in ('posted', 'void')", device.id
        )
        for digest, state in unpaid:
            demand(digest not in account.credits, f"{device.name} credited what the ledger calls {state}")
        for (digest,) in self._rows("select hash from transfers where payee = ? and state = 'void'", device.id):
            demand(digest not in account.credits, f"{device.name} credited what the ledger voided")

    def _awake(self, device: Citizen) -> None:
        if device.fault:
            self._restart(device)

    def _restart(self, device: Citizen) -> None:
        self.payments.pop(device, None)
        device.restart()

    def _amount(self, choices: Choices) -> int:
        size = choices.number(0, 9)
        return choices.number(1, (50, 900, 900, 4_000, 4_000, 4_000, 12_000, 12_000, 40_000, 70_000)[size])

    def _anybody(self, choices: Choices) -> Citizen:
        return choices.pick(self.bodies if choices.number(0, 4) == 4 else self.honest)

    def _of_role(self, choices: Choices, role: int) -> Citizen:
        everybody = self.bodies if choices.number(0, 4) == 4 else self.honest
        return choices.pick([device for device in everybody if device.certificate.role == role] or self.honest[:3])

    def _cancel_open(self, device: Citizen) -> None:
        if device.payee.state == OPEN and device.shadow is not None:
            self.shadow.cancelled.add(device.payee.request_hash)
        device.payee.close()

    def _sync_now(self, device: Citizen) -> None:
        """An honest device, an honest host, nothing in between."""
        self._awake(device)
        device.journal.fail = device.save_fails = ""
        self._cancel_open(device)
        statement, records = self.country.statement(device)
        settlement = self.country.settle(device, statement, records)
        self.reached.upload(device.id, True, statement, records)
        self._check_ledger()
        demand(settlement.certified, f"{device.name} gets no Certificate: {settlement.note}")
        try:
            loaded = self.country.take(device, settlement.objects, settlement.certified)
        except RefusedByPeer as refusal:
            raise Violation(f"{device.name} refuses its Certificate: {name_of(refusal.cause)}") from refusal
        self._compare(device, loaded)

    def _send(self, device: Citizen, ins: int, data: bytes) -> str:
        try:
            device.send(ins, data)
        except Refused as refusal:
            return name_of(refusal.cause)
        return "taken"

    def _hold(self, held: list, what) -> None:
        held.append(what)
        if len(held) > MAX_HELD:
            del held[0]
