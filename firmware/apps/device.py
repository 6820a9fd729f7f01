"""The device: journal, settings, key and the protocol's state machines in one object, passed to whoever needs it.

Owns the order of starting and what happens when storage fails: a device whose journal or settings cannot be read, or
whose write failed, is out of service. It answers questions but signs nothing until it is started again; nothing is ever
wiped. Without the PIN that its owner wants at power-on the key stays sealed: it answers and signs nothing.
"""

from hashlib import sha256 as _sha256

from micropython import const

from crypto.ed25519 import SigningKey
from crypto.ed25519 import verify as _verify_any
from crypto.verifier import Verifier
from ports.errors import PortError
from protocol import apdu, effects, info, management, records
from protocol.errors import LOCKED, NOT_FOUND, NOT_PERSONALISED, SERVICE, LocalError, ProtocolError, Refused
from protocol.objects import OperatorCertificate, Receipt
from protocol.party import Party
from protocol.payee import Payee, RequestNumbers
from protocol.payer import Payer
from protocol.purse import Purse
from protocol.trust import OPERATORS, Trust
from storage.errors import StorageError
from storage.journal import Journal
from storage.settings import Settings
from storage.vault import SALT_BYTES, UNDER_PIN, hmac, seal, unseal, wipe

_PUBLIC = "public"
_VAULT = "vault"
_REQUEST_LIMIT = "requests"
_SEED_BYTES = const(32)
_U32 = const(0xFFFFFFFF)
# Offsets in a stored credit record: the Transfer's hash comes after the record's seq and the Receipt's type, version,
# seq and previous hash.
_RECEIPT_AT = const(4)
_TRANSFER_HASH_AT = const(42)


def sha256(data: bytes) -> bytes:
    return _sha256(data).digest()


class Clock:
    """A lower bound of the time in Unix seconds: the latest that the device's operator said, plus what passed since."""

    def __init__(self, port):
        self._port = port
        self._said = 0
        self._at_ms = port.ticks_ms()

    def hear(self, time: int) -> None:
        """An object of our own operator names this time."""
        now = self.now()
        self._said = max(now, time)
        self._at_ms = self._port.ticks_ms()

    def now(self) -> int:
        elapsed_s = self._port.ticks_diff(self._port.ticks_ms(), self._at_ms) // 1000
        if elapsed_s > 3600:  # ticks wrap: keep the distance short
            self._said += elapsed_s
            self._at_ms = self._port.ticks_ms()
            elapsed_s = 0
        return self._said + elapsed_s


class Device:
    """What `protocol.card` calls `device`. `fault` says in a few words why it is out of service, "" when it is not."""

    def __init__(self, port, flash_spec: dict):
        self.port = port
        self.clock = Clock(port)
        self.fault = ""
        self.events: dict = {}  # by protocol.card's event: its latest value
        self.exchanges = 0
        self.keep_alive = None  # set while a reader waits for us
        self.party: Party | None = None
        self.payer: Payer | None = None
        self.payee: Payee | None = None
        self.pin = None  # apps.pin.Pin on boards with digits
        self._key: SigningKey | None = None
        self._numbers: RequestNumbers | None = None
        self._prompt_open = True
        self._verifier = Verifier()
        self._crypto_us = 0
        self._storage_us = 0
        try:
            self.settings = Settings(port.data_path("settings"))
            public = self.settings.get(_PUBLIC)
            self._flash = port.open_flash(flash_spec)
            if public:
                self._start(public)
            else:
                self._journal = Journal(self._flash, salt=self._salt(True))
                if self._journal.head_seq:
                    raise LocalError("journal without its key")
        except (StorageError, ProtocolError, PortError, OSError) as error:
            self._fail(error)

    # --- what protocol.card needs

    @property
    def flags(self) -> int:
        flags = apdu.OUT_OF_SERVICE if self.fault else apdu.LOCKED if self.locked else 0
        if self.party and self.party.trust and self.party.purse.certificate:
            flags |= apdu.PERSONALISED
            if self.settings.get(management.RETIRED):
                flags |= apdu.RETIRED
            if self.settings.get(management.CLOSED):
                flags |= apdu.CLOSED
            if self.payee and self.payee.busy:
                flags |= apdu.BUSY
        return flags

    @property
    def certificate(self):
        return self._started_party().certificate

    @property
    def order_number(self) -> int:
        return int.from_bytes(self.settings.get(management.ORDER_NUMBER) or b"", "big") if not self.fault else 0

    @property
    def locked(self) -> bool:
        """The PIN that opens the key has not been entered since power came."""
        return self.party is not None and self._key is None and not self.fault

    def perform(self, wanted: list) -> bytes:
        """Do what a state machine asked for. After a failed write the device is out of service until it restarts."""
        purse = self._started_party().purse
        started = self.port.ticks_us()
        try:
            answer = self.guarded(effects.perform, wanted, self._journal, self.settings, purse)
        finally:
            self._storage_us += self.port.ticks_diff(self.port.ticks_us(), started)
        if purse.acknowledgement:
            self.clock.hear(purse.acknowledgement.time)
        return answer

    def generate_key(self, more: bytes) -> bytes:
        """The key's public half; makes the key if there is none. Can be asked for at any time, certificate or not.

        `more` is the host's randomness, beside ours: a key is as good as the better of the two.
        """
        if self.party is None:
            self.guarded(self._make_key, more)
        return self._started_party().public_key

    def unlock(self, stretched: bytes) -> None:
        """Open the key with what the right PIN gives."""
        self.guarded(self._open_key, stretched)

    def unblock_pin(self, argument: int) -> dict:
        """The settings with which the operator's order to unblock the PIN takes effect. Raises `Refused`."""
        if not self.pin:
            raise Refused(NOT_FOUND)
        return self.pin.unblock(argument)

    def tidy(self) -> bool:
        """Do one thing that would cost time in a tap: reserve numbers, keep operators that were met, erase a sector.

        And close the prompt, if the operator wants that.

        True while there is more to be done. Raises `Refused(SERVICE)` if it fails.
        """
        if self.fault or self.party is None:
            return False
        trust = self.party.trust
        if self._prompt_open and self.settings.get(management.CLOSED):  # by an order now, or before new code came
            self.guarded(self.port.close_prompt)
            self._prompt_open = False
        elif trust and trust.operators_changed:
            self.perform([effects.Save({OPERATORS: trust.stored_operators()})])
            trust.operators_changed = False
        elif trust and self._numbers and self._numbers.low:
            self._numbers.refill()
        else:
            return self.guarded(self._journal.tidy)
        return True

    def reload_trust(self) -> None:
        """Believe what the settings say, after personalisation."""
        root = self.settings.get(management.ROOT)
        own = self.settings.get(management.OWN_OPERATOR)
        if root and own:
            trust = Trust(root, OperatorCertificate.decode(own), sha256, self._verify, self._verify_operator)
            self._started_party().trust = trust
            trust.restore(self.settings.get)

    def record(self, seq: int) -> bytes | None:
        if not self._journal.first_seq <= seq <= self._journal.head_seq:
            return None
        return self.guarded(self._journal.record, seq)

    def records(self, from_seq: int):
        """The stored records from `from_seq` on."""
        for seq in range(from_seq, self._journal.head_seq + 1):
            yield self.guarded(self._journal.record, seq)

    def random(self, count: int) -> bytes:
        return self.port.random_bytes(count)

    def counters(self) -> bytes:
        return info.Counters(
            crypto_us=self._crypto_us & _U32,
            storage_us=self._storage_us & _U32,
            exchanges=self.exchanges & _U32,
            programs=self._flash.program_count,
            pages=self._flash.page_count,
            erases=self._flash.erase_count,
        ).body()

    def notify(self, event: str, value) -> None:
        """Remember for the screen, the latest of each kind; drawing waits until the tap is over."""
        self.events[event] = value

    # --- inside

    def _started_party(self) -> Party:
        """Raises `Refused(NOT_PERSONALISED)` before there is a key."""
        if self.party is None:
            raise Refused(NOT_PERSONALISED)
        return self.party

    def _salt(self, may_make: bool) -> bytes:
        return hmac(self.port.device_secret(may_make), b"jiaozi journal")[:8]

    def _start(self, public: bytes) -> None:
        purse = Purse(public, sha256)
        self._journal = Journal(self._flash, purse.take, False, self._salt(False))
        purse.check_replayed()
        personalised = self.settings.get(management.PERSONALISED)
        if personalised and not self._journal.head_seq:
            raise LocalError("journal was wiped")  # it lives and dies with its key
        self._use_purse(public, purse)
        if not self._sealed().startswith(UNDER_PIN):
            self._open_key(b"")
        if purse.certificate:
            # The last steps of a personalisation and of an installation, if power went before them
            if not personalised:
                self.settings.update({management.PERSONALISED: b"\x01"})
            if self._journal.first_seq <= purse.base_seq:
                self._journal.drop_below(purse.base_seq + 1)

    def _make_key(self, more: bytes) -> None:
        seed = bytearray(sha256(self.port.key_bytes(_SEED_BYTES) + more))
        try:
            key = SigningKey(seed)
            sealed = seal(self.port.device_secret(False), b"", self.port.random_bytes(SALT_BYTES), key.public, seed)
        finally:
            wipe(seed)
        self.settings.update({_PUBLIC: key.public, _VAULT: sealed})
        self._key = key
        self._use_purse(key.public, Purse(key.public, sha256))

    def _open_key(self, stretched: bytes) -> None:
        public = self._started_party().public_key
        seed = unseal(self.port.device_secret(False), stretched, public, self._sealed())
        try:
            self._key = SigningKey(seed)
        finally:
            wipe(seed)

    def _sealed(self) -> bytes:
        return self.settings.get(_VAULT) or b""

    def _use_purse(self, public: bytes, purse: Purse) -> None:
        if purse.acknowledgement:
            self.clock.hear(purse.acknowledgement.time)
        self.party = Party(public, purse, None, sha256, self._sign, self._verify, self.clock.now, self._alive)
        limit = int.from_bytes(self.settings.get(_REQUEST_LIMIT) or b"\x00\x00\x00\x01", "big")
        self._numbers = RequestNumbers(limit, self._save_request_limit)
        self.payer = Payer(self.party)
        self.payee = Payee(self.party, self._numbers, self._find_receipt)
        self.reload_trust()

    def guarded(self, action, *arguments):
        """What touches storage. Refusals pass; after anything else nobody knows what is stored: out of service."""
        try:
            return action(*arguments)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001  (memory may differ from flash now: only a start finds out)
            self._fail(error)
            raise Refused(SERVICE)

    def _save_request_limit(self, limit: int) -> None:
        self.perform([effects.Save({_REQUEST_LIMIT: limit.to_bytes(4, "big")})])

    def _find_receipt(self, transfer_hash: bytes) -> Receipt | None:
        for stored in self.records(self._journal.first_seq):
            if stored[_RECEIPT_AT] != Receipt.TYPE:
                continue
            if stored[_TRANSFER_HASH_AT : _TRANSFER_HASH_AT + 32] == transfer_hash:
                return records.decode(stored).receipt
        return None

    def _sign(self, message: bytes) -> bytes:
        if self.fault:
            raise Refused(SERVICE)
        if self._key is None:
            raise Refused(LOCKED)
        return self._timed(self._key.sign, message)

    def _verify(self, public: bytes, message: bytes, signature: bytes) -> bool:
        return self._timed(_verify_any, public, message, signature)

    def _verify_operator(self, public: bytes, message: bytes, signature: bytes) -> bool:
        return self._timed(self._verifier.verify_operator, public, message, signature)

    def _timed(self, action, *arguments):
        started = self.port.ticks_us()
        result = action(*arguments)
        self._crypto_us += self.port.ticks_diff(self.port.ticks_us(), started)
        return result

    def _alive(self) -> None:
        if self.keep_alive:
            self.keep_alive()

    def _fail(self, error) -> None:
        self.fault = str(error) or type(error).__name__
