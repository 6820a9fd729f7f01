"""Uploads as they come in: streamed, resumable, and proving themselves.

An upload begins with a Statement that its device has signed over a nonce of this ledger; nothing is stored before that
is checked, so nobody else can fill the database. Pieces are kept as soon as they are large enough, and what is left
when the line is cut; a whole upload that came at once goes straight to the poster.
"""

from collections.abc import AsyncIterator

from starlette.requests import ClientDisconnect

from host_tools.crypto import verify
from host_tools.ledger.answer import Settlement
from host_tools.ledger.errors import BadSignature, UnknownDevice, UnknownNonce
from host_tools.server.chunks import CHUNK_BYTES
from host_tools.server.endpoint import Answer
from host_tools.server.errors import BadRequest, NotFound, TooSlow, WrongOffset
from host_tools.server.framing import OFFSET, STATEMENT_BYTES, name_of
from host_tools.server.service import Call
from host_tools.server.store import Store
from protocol.errors import DecodeError
from protocol.objects import Statement


def facts(settlement: Settlement, device: bytes, store: Store) -> dict:
    """A Settlement as JSON; `client` reads it. Who gets no Certificate is told how it stands."""
    return {
        "standing": None if settlement.certified else store.standing(device),
        "objects": [signed.hex() for signed in settlement.objects],
        "certified": settlement.certified,
        "accepted": settlement.accepted,
        "dead_letters": list(settlement.dead_letters),
        "note": settlement.note,
    }


async def receive(call: Call, pieces: AsyncIterator[bytes]) -> Answer:
    """Take what comes of an upload; its answer once it is whole."""
    return await _Receiving(call).run(pieces)


def progress(call: Call) -> Answer:
    """How much of an upload is here."""
    return Answer(None, 204, {OFFSET: str(call.store.arrived(call.path["statement"]))})


def answered(call: Call) -> dict:
    """What an upload was answered. Raises `NotFound` unless it is settled."""
    sync = call.store.sync(call.query["nonce"])
    if sync is None or sync.answer is None or name_of(sync.statement) != call.path["statement"]:
        raise NotFound("No settled upload has this name and nonce", "Upload it, or the rest of it")
    return facts(Settlement.from_json(sync.answer), sync.device, call.store)


class _Receiving:
    """One request with a piece of an upload, from byte `at` on."""

    def __init__(self, call: Call):
        self._call = call
        self._store = call.store
        self._name: bytes = call.path["statement"]
        self._length: int = call.query["length"]
        self._at: int = call.query["offset"]
        self._buffer = bytearray()
        self._operator = 0
        self._device = b""

    async def run(self, pieces: AsyncIterator[bytes]) -> Answer:
        if self._at > self._length:  # all may be here already: whoever brought it did not wait for the answer
            raise BadRequest("The offset is behind the upload's last byte", "Give the upload's whole length")
        workers = self._call.service.workers
        if self._at:
            self._operator = await workers.run(self._go_on)
        try:
            async for piece in pieces:
                self._buffer += piece
                self._call.service.metrics.received.inc(len(piece))
                if self._at + len(self._buffer) > self._length:
                    raise BadRequest("More bytes came than the upload's length", "Give the upload's whole length")
                if not self._operator and len(self._buffer) >= STATEMENT_BYTES:
                    settled = await workers.run(self._begin)
                    if settled is not None:
                        return await self._answer(settled)
                while len(self._buffer) >= CHUNK_BYTES:
                    await self._keep(CHUNK_BYTES)
        except (ClientDisconnect, TooSlow):
            if self._operator:
                await self._keep(len(self._buffer))
            raise
        if not self._operator:
            raise BadRequest("The upload ended within its Statement", "Begin it again, with all of the Statement")
        if self._at + len(self._buffer) < self._length:
            await self._keep(len(self._buffer))
            return Answer({"offset": self._at}, 202, {OFFSET: str(self._at)})
        return await self._answer(await self._settle())

    def _go_on(self) -> int:
        """The operator of an upload that is here up to this offset."""
        arrived = self._store.arrived(self._name)
        if arrived != self._at:
            raise WrongOffset(arrived)
        begin = self._store.upload_begin(self._name)
        if not begin:
            raise WrongOffset(0)  # it was settled and dropped, meanwhile: begun again it gets its answer
        statement = Statement.decode(begin[:STATEMENT_BYTES])
        party = self._store.party(statement.device)
        assert party is not None, "its first piece was checked"
        self._device = statement.device
        self._call.service.keys.of(party.operator)
        return party.operator

    def _begin(self) -> Settlement | None:
        """Check the Statement. Returns the answer if it was settled before."""
        data = bytes(self._buffer[:STATEMENT_BYTES])
        if name_of(data) != self._name:
            raise BadSignature("This upload has another name: the SHA-256 of its Statement", "Send it under its own")
        try:
            statement = Statement.decode(data)
        except DecodeError as error:
            raise BadSignature(f"This is no Statement ({error})", "Ask the device for a new one") from None
        party = self._store.party(statement.device)
        if party is None:
            raise UnknownDevice(f"Device {statement.device.hex()} is not registered", "Personalise it first")
        if not statement.verified_by(party.key, verify):
            raise BadSignature("The Statement is not signed by this device", "Ask the device for a new one")
        sync = self._store.sync(statement.nonce)
        if sync is None or sync.device != statement.device or sync.statement not in (None, data):
            raise UnknownNonce("The Statement's nonce is not fresh", "Begin the sync again")
        self._device = statement.device
        if sync.answer is not None:
            return Settlement.from_json(sync.answer)
        self._call.service.keys.of(party.operator)
        arrived = self._store.arrived(self._name)
        if arrived:
            raise WrongOffset(arrived)
        self._operator = party.operator
        return None

    async def _answer(self, settled: Settlement) -> Answer:
        return Answer(await self._call.service.workers.run(lambda: facts(settled, self._device, self._store)))

    async def _keep(self, count: int) -> None:
        """Move the buffer's first bytes to the store."""
        if not count:
            return
        piece, at = bytes(self._buffer[:count]), self._at
        now = self._call.now
        add = self._store.add_chunk
        if not await self._call.service.workers.run(lambda: add(self._name, at, piece, now)):
            raise WrongOffset(await self._call.service.workers.run(lambda: self._store.arrived(self._name)))
        del self._buffer[:count]
        self._at += count

    async def _settle(self) -> Settlement:
        whole = bytes(self._buffer) if self._at == 0 else None
        if whole is None:
            await self._keep(len(self._buffer))
        return await self._call.service.poster.settle(self._name, self._operator, self._length, whole)
