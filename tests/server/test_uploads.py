"""Uploads: whatever a carrier makes of one, what its device signed is settled, and the rest is named."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from starlette.types import ASGIApp

from host_tools.server import framing, limits
from host_tools.server.app import application
from host_tools.server.chunks import CHUNK_BYTES, KEEP_S
from host_tools.server.keyring import Keyring, Keys
from host_tools.server.service import Service
from host_tools.server.store import Store
from protocol import apdu
from protocol.objects import Statement
from protocol.records import INSTALLATION_MAX_BYTES
from tests.ledger.world import clone, sale, unregistered
from tests.server.bank import Bank, path_of, send, settlement_of
from tests.unit.world import Device

JUNK = b"\xff" * 2_000
NEVER = 400  # times a test looks before it says that something does not happen
PAUSE_S = 0.1  # between two bytes of a slow client


def sold(bank: Bank, amount: int = 300) -> tuple[Device, Device]:
    """A shop and a wallet, with a sale that nobody has settled."""
    shop, wallet = bank.device(bank.new_name(), "terminal"), bank.device(bank.new_name(), balance=900)
    sale(shop, wallet, amount)
    return shop, wallet


def upload_of(bank: Bank, client: httpx.Client, device: Device) -> bytes:
    return framing.join(*bank.served_statement(client, device))


def refused(response: httpx.Response, status: int, word: str) -> None:
    assert (response.status_code, response.json()["error"]) == (status, word), response.text
    said = response.json()
    assert said["money_moved"] is False and said["what"] and said["advice"]
    assert said["request_id"] == response.headers["X-Request-Id"]


def arrived(client: httpx.Client, upload: bytes) -> int:
    response = client.head(path_of(upload[: framing.STATEMENT_BYTES]))
    assert (response.status_code, response.content) == (204, b"")
    return int(response.headers["Upload-Offset"])


def test_a_sale_is_settled_through_the_service(bank: Bank, client: httpx.Client):
    shop, wallet = sold(bank)
    for device, holds in ((shop, 300), (wallet, 600)):
        settlement = settlement_of(send(client, upload_of(bank, client, device)))
        assert (settlement.certified, settlement.dead_letters) == (True, ())
        bank.install(device, settlement)
        assert bank.purse(device) == holds
    bank.check()


# Bad records: each is named, and no other is kept from being settled


def _framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(2, "big") + raw


@pytest.mark.parametrize(
    ("spoil", "aside"),
    [
        pytest.param(lambda upload, other: upload + _framed(JUNK), 1, id="malformed"),
        pytest.param(lambda upload, other: upload + _framed(b""), 1, id="empty"),
        pytest.param(lambda upload, other: upload + _framed(bytes(INSTALLATION_MAX_BYTES + 1)), 1, id="oversized"),
        pytest.param(lambda upload, other: upload + _framed(bytes(0xFFFF)), 1, id="as long as can be"),
        pytest.param(lambda upload, other: upload + _framed(JUNK)[:-1], 1, id="truncated"),
        pytest.param(lambda upload, other: upload + b"\x00", 1, id="truncated in a length"),
        pytest.param(lambda upload, other: upload + other[framing.STATEMENT_BYTES :], 1, id="foreign"),
        pytest.param(lambda upload, other: upload + upload[framing.STATEMENT_BYTES :], 0, id="twice"),
    ],
)
def test_bad_records_are_named_and_all_others_settled(
    bank: Bank, client: httpx.Client, spoil: Callable[[bytes, bytes], bytes], aside: int
):
    shop, wallet = sold(bank)
    upload = spoil(upload_of(bank, client, shop), upload_of(bank, client, wallet))
    settlement = settlement_of(send(client, upload))
    assert len(settlement.dead_letters) >= aside and all(settlement.dead_letters)
    assert bool(settlement.dead_letters) == bool(aside)
    assert settlement.certified, settlement.note
    assert bank.purse(shop) == 300
    bank.check()


def test_an_upload_cut_within_a_record_settles_what_came(bank: Bank, client: httpx.Client):
    """The shop's last record, the sale, lacks its end: nothing of it counts, and the next sync brings all of it."""
    shop, _ = sold(bank)
    settlement = settlement_of(send(client, upload_of(bank, client, shop)[:-40]))
    assert not settlement.certified and settlement.dead_letters and "sync again" in settlement.note
    assert bank.purse(shop) == 0
    assert settlement_of(send(client, upload_of(bank, client, shop))).certified
    assert bank.purse(shop) == 300


def test_the_same_upload_again_is_answered_the_same(bank: Bank, client: httpx.Client):
    shop, _ = sold(bank)
    upload = upload_of(bank, client, shop)
    first = send(client, upload)
    assert settlement_of(first).certified
    shorter = upload[: framing.STATEMENT_BYTES]
    for again in (send(client, upload), send(client, shorter), send(client, upload, to=200)):
        assert again.json() == first.json()
    asked = client.get(path_of(shorter), params={"nonce": nonce_in(upload)})
    assert asked.json() == first.json()
    assert bank.purse(shop) == 300


def nonce_in(upload: bytes) -> str:
    return Statement.decode(upload[: framing.STATEMENT_BYTES]).nonce.hex()


def test_two_histories_of_one_device_freeze_it_and_honest_payees_are_paid(bank: Bank, client: httpx.Client):
    shop, kiosk = bank.device(bank.new_name(), "terminal"), bank.device(bank.new_name(), "terminal")
    wallet = bank.device(bank.new_name(), balance=900)
    twin = clone(wallet)
    sale(shop, wallet, 300)
    sale(kiosk, twin, 200)
    for device in (shop, kiosk):
        assert settlement_of(send(client, upload_of(bank, client, device))).certified
    settlement = settlement_of(send(client, upload_of(bank, client, wallet)))
    assert not settlement.certified and "frozen" in settlement.note
    assert (bank.purse(shop), bank.purse(kiosk)) == (300, 200)
    bank.check()


# Uploads that prove nothing: nothing of them is kept


def test_who_is_no_device_of_this_ledger_uploads_nothing(bank: Bank, client: httpx.Client):
    stranger = unregistered(bank, bank.new_name(), "wallet")
    refused(client.post(f"/v1/devices/{stranger.id.hex()}/syncs"), 404, "unknown_device")
    refused(client.get(f"/v1/devices/{stranger.id.hex()}/pending"), 404, "unknown_device")
    upload = framing.join(stranger.send(apdu.STATEMENT, bytes(16)), [])
    refused(send(client, upload), 404, "unknown_device")
    assert arrived(client, upload) == 0


def test_a_statement_that_is_changed_or_forged_or_stale_is_refused(bank: Bank, client: httpx.Client):
    shop, wallet = sold(bank)
    upload = upload_of(bank, client, shop)
    forged = upload[:60] + bytes((upload[60] ^ 1,)) + upload[61:]
    for to in (None, framing.STATEMENT_BYTES + 1):  # a piece of it is not kept either
        refused(send(client, forged, to=to), 422, "bad_signature")
        refused(send(client, JUNK, to=to), 422, "bad_signature")
    other_name = client.post(
        path_of(b"another"),
        params={"offset": 0, "length": len(upload)},
        content=upload,
        headers={"Content-Type": framing.MEDIA},
    )
    refused(other_name, 422, "bad_signature")
    stale = framing.join(wallet.send(apdu.STATEMENT, b"a nonce of mine."), [])
    refused(send(client, stale), 409, "unknown_nonce")
    refused(send(client, stale, length=len(stale) + 1), 409, "unknown_nonce")
    assert [arrived(client, data) for data in (upload, forged, stale)] == [0, 0, 0]
    assert settlement_of(send(client, upload)).certified


@pytest.mark.parametrize(
    ("offset", "to", "length", "status", "word"),
    [
        (0, framing.STATEMENT_BYTES - 1, None, 400, "bad_request"),  # ends within its Statement
        (0, 0, None, 400, "bad_request"),
        (0, None, framing.STATEMENT_BYTES, 400, "bad_request"),  # more than its length
        (7, None, None, 409, "wrong_offset"),
        (framing.UPLOAD_MAX_BYTES, None, framing.UPLOAD_MAX_BYTES, 409, "wrong_offset"),
        (framing.UPLOAD_MAX_BYTES, None, framing.UPLOAD_MAX_BYTES - 1, 400, "bad_request"),
        (0, None, framing.UPLOAD_MAX_BYTES + 1, 400, "bad_request"),
        (-1, None, None, 400, "bad_request"),
    ],
)
def test_sizes_that_do_not_fit(
    bank: Bank, client: httpx.Client, offset: int, to: int | None, length: int | None, status: int, word: str
):
    shop, _ = sold(bank)
    upload = upload_of(bank, client, shop)
    refused(send(client, upload, offset, to, length), status, word)
    assert arrived(client, upload) == 0


def test_a_body_of_another_kind_is_refused(bank: Bank, client: httpx.Client):
    refused(client.post(path_of(b"x"), params={"offset": 0, "length": 500}, json={}), 415, "unsupported_media_type")


# Interrupted uploads


def long(upload: bytes) -> bytes:
    """Longer than several pieces, all of which the ledger reads and keeps aside."""
    return upload + b"".join(_framed(bytes((0xFF, at)) + JUNK) for at in range(4 * CHUNK_BYTES // len(JUNK)))


def test_an_upload_goes_on_where_it_stopped(bank: Bank, client: httpx.Client):
    shop, _ = sold(bank)
    upload = long(upload_of(bank, client, shop))
    at = 0
    for step in (framing.STATEMENT_BYTES, 1, CHUNK_BYTES - 1, 2 * CHUNK_BYTES + 5):
        response = send(client, upload, at, at + step)
        at += step
        assert (response.status_code, response.json()) == (202, {"offset": at})
        assert arrived(client, upload) == at
    wrong = send(client, upload, at + 1)
    refused(wrong, 409, "wrong_offset")
    assert wrong.headers["Upload-Offset"] == str(at)
    refused(
        client.get(path_of(upload[: framing.STATEMENT_BYTES]), params={"nonce": nonce_in(upload)}), 404, "not_found"
    )
    settlement = settlement_of(send(client, upload, at))
    assert settlement.certified and settlement.dead_letters
    assert bank.purse(shop) == 300
    assert arrived(client, upload) == 0, "what is settled takes no room"


@contextmanager
def cut_off(bank: Bank, upload: bytes, cut: int) -> Iterator[None]:
    """A request with so much of an upload, that never comes to its end."""
    path = path_of(upload[: framing.STATEMENT_BYTES])
    head = (
        f"POST {path}?offset=0&length={len(upload)} HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: {framing.MEDIA}\r\nTransfer-Encoding: chunked\r\n\r\n{len(upload):x}\r\n"
    )
    address = httpx.URL(bank.service)
    with socket.create_connection((address.host, address.port or 0)) as line:
        line.sendall(head.encode() + upload[:cut])
        yield


@pytest.mark.parametrize("cut", [framing.STATEMENT_BYTES + 1, CHUNK_BYTES + 100])
def test_what_came_before_the_line_was_cut_is_kept(bank: Bank, client: httpx.Client, cut: int):
    shop, _ = sold(bank)
    upload = long(upload_of(bank, client, shop))
    with cut_off(bank, upload, cut):
        pass
    at = next(found for _ in range(NEVER) if (found := arrived(client, upload)) == cut)
    assert settlement_of(send(client, upload, at)).certified
    assert bank.purse(shop) == 300


def test_all_has_come_and_nobody_waited_for_the_answer(bank: Bank, client: httpx.Client):
    """There is nothing to send any more, only to ask what became of it."""
    shop, _ = sold(bank)
    upload = long(upload_of(bank, client, shop))
    while left := -len(upload) % CHUNK_BYTES:  # so that the service keeps all of it at once
        upload += _framed(b"\xff" + bytes((left if left < 1_000 else 500) - 3))
    with cut_off(bank, upload, len(upload)):
        at = next(found for _ in range(NEVER) if (found := arrived(client, upload)) == len(upload))
    assert settlement_of(send(client, upload, at)).certified
    assert bank.purse(shop) == 300


def test_an_upload_of_another_host_meets_the_first_one_and_both_get_the_answer(bank: Bank, client: httpx.Client):
    """Two hosts carry the same Statement: the second is told where the first is, and may go on for it."""
    shop, _ = sold(bank)
    upload = long(upload_of(bank, client, shop))
    assert send(client, upload, 0, 1_000).status_code == 202
    second = send(client, upload, 0, 2_000)
    refused(second, 409, "wrong_offset")
    at = int(second.headers["Upload-Offset"])
    answer = send(client, upload, at)
    assert settlement_of(answer).certified
    assert send(client, upload, 0, 1_000).json() == answer.json()


def posted(app: ASGIApp, upload: bytes, offset: int, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    """`send` to an application in this process."""

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
            return await client.post(
                path_of(upload[: framing.STATEMENT_BYTES]),
                params={"offset": offset, "length": len(upload)},
                content=content,
                headers={"Content-Type": framing.MEDIA},
            )

    return asyncio.run(post())


def hang(_: bytes) -> AsyncIterator[bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    return pieces()


async def drip(rest: bytes) -> AsyncIterator[bytes]:
    for at in range(len(rest)):
        await asyncio.sleep(PAUSE_S)
        yield rest[at : at + 1]


def posted_slowly(
    bank: Bank, upload: bytes, rest: int, come: Callable[[bytes], AsyncIterator[bytes]]
) -> httpx.Response:
    """To a service that waits ten pauses long. The last `rest` bytes come as `come` lets them."""

    async def pieces() -> AsyncIterator[bytes]:
        yield upload[:-rest]
        async for piece in come(upload[-rest:]):
            yield piece

    keys = Keyring({1: Keys(bank.operators[1].key, bank.operators[1].key)})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "RECEIVE_TIMEOUT_S", 10 * PAUSE_S)
        return posted(application(Service(bank.ledger, bank.store, keys)), upload, 0, pieces())


@pytest.mark.parametrize("come", [hang, drip])
def test_what_came_before_nothing_more_did_or_hardly_anything_is_kept(
    bank: Bank, client: httpx.Client, come: Callable[[bytes], AsyncIterator[bytes]]
):
    shop, _ = sold(bank)
    upload = upload_of(bank, client, shop)
    refused(posted_slowly(bank, upload, 100, come), 408, "too_slow")
    here = arrived(client, upload)
    assert len(upload) - 100 <= here < len(upload)
    assert settlement_of(send(client, upload, here)).certified


def test_a_body_may_take_its_time_if_enough_of_it_comes(
    bank: Bank, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
):
    shop, _ = sold(bank)
    upload = upload_of(bank, client, shop)
    monkeypatch.setattr(limits, "RECEIVE_BYTES_PER_S", 1)
    response = posted_slowly(bank, upload, 20, lambda rest: drip(rest[:-1]))
    assert (response.status_code, response.json()) == (202, {"offset": len(upload) - 1})
    assert settlement_of(send(client, upload, len(upload) - 1)).certified


def test_an_upload_that_is_settled_while_another_host_goes_on_with_it_begins_anew(bank: Bank, client: httpx.Client):
    """It is dropped between the two looks that the service takes at it."""
    shop, _ = sold(bank)
    upload = long(upload_of(bank, client, shop))
    assert send(client, upload, 0, 1_000).status_code == 202
    store, answers = Store(bank.engine), []
    look = store.arrived

    def look_and_be_overtaken(statement: bytes) -> int:
        at = look(statement)
        answers.append(send(client, upload, at))
        return at

    store.arrived = look_and_be_overtaken
    response = posted(application(Service(bank.ledger, store, Keyring({}))), upload, 1_000, upload[1_000:])
    refused(response, 409, "wrong_offset")
    assert response.headers["Upload-Offset"] == "0"
    (answer,) = answers
    assert settlement_of(answer).certified and send(client, upload).json() == answer.json()


def test_what_waits_for_a_device_is_told_in_numbers_only(bank: Bank, client: httpx.Client):
    wallet = bank.device(bank.new_name())
    bank.ledger.order_load(bank.signer_of(wallet), wallet.id, 250, bank.now)
    waits = client.get(f"/v1/devices/{wallet.id.hex()}/pending").json()
    assert waits == {"loads": 1, "resolutions": 0, "epoch": waits["epoch"], "root_epoch": 0}


def test_pieces_are_kept_one_behind_the_other_and_old_ones_forgotten(bank: Bank):
    name, other = bytes(32), bytes(31) + b"1"
    assert bank.store.add_chunk(name, 0, b"abc", bank.now)
    for at in (0, 2, 4):  # another request has brought it, or brings what comes before
        assert not bank.store.add_chunk(name, at, b"def", bank.now)
    assert bank.store.add_chunk(name, 3, b"def", bank.now) and bank.store.add_chunk(other, 0, b"x", bank.now + 10)
    assert (bank.store.upload(name), bank.store.arrived(name)) == (b"abcdef", 6)
    assert bank.store.drop_old_uploads(bank.now + KEEP_S + 5) == 1
    assert (bank.store.arrived(name), bank.store.arrived(other)) == (0, 1)
    bank.store.drop_upload(other)
