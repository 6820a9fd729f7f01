"""`RemoteLedger` on a bad line: a relay of bytes between it and the real service that cuts, and a service that is not
there.
"""

import contextlib
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from host_tools.crypto import sha256
from host_tools.ledger.errors import LedgerUnavailable, OutcomeUnknown, UnknownDevice, UnknownNonce
from host_tools.server import client as clients
from host_tools.server import framing
from host_tools.server.client import RefusedByService, RemoteLedger, check_url
from protocol import apdu
from protocol.objects import Statement
from tests.ledger.world import sale
from tests.server.bank import Bank
from tests.unit.world import Device

_PIECE = 1 << 14


class Relay:
    """Passes bytes on to the service. Connection `n` is cut when `cuts[n]` bytes have gone `to` or come `back`."""

    def __init__(self, service: str, cuts: list[tuple[str, int]]):
        host, port = service.removeprefix("http://").split(":")
        self._service = (host, int(port))
        self._cuts = cuts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            way, size = self._cuts[self.connections] if self.connections < len(self._cuts) else ("never", 0)
            self.connections += 1
            far = socket.create_connection(self._service)
            for source, target, name in ((near, far, "to"), (far, near, "back")):
                left = size if name == way else 1 << 60
                threading.Thread(target=self._pass, args=(source, target, left), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, target: socket.socket, left: int) -> None:
        with contextlib.suppress(OSError):
            while left > 0 and (data := source.recv(_PIECE)):
                target.sendall(data[:left])
                left -= len(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@pytest.fixture
def waits() -> list[float]:
    return []


def remote(url: str, waits: list[float], token: str = "") -> contextlib.closing[RemoteLedger]:
    """Its pauses are noted, not waited for."""
    return contextlib.closing(RemoteLedger(url, token, waits.append))


def read(ledger: RemoteLedger, device: Device) -> tuple[bytes, list[bytes]]:
    nonce, first = ledger.begin_sync(device.id, 0)
    statement = device.send(apdu.STATEMENT, nonce)
    wanted = range(first, Statement.decode(statement).seq + 1)
    return statement, [device.send(apdu.JOURNAL, seq.to_bytes(4, "big")) for seq in wanted]


@contextlib.contextmanager
def relay(bank: Bank, *cuts: tuple[str, int]) -> Iterator[Relay]:
    line = Relay(bank.service, list(cuts))
    try:
        yield line
    finally:
        line.close()


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_is_put_off_is_asked_again(waits: list[float], status: int):
    answers = [httpx.Response(status), httpx.Response(200, json={"key": "ab"})]
    with remote("http://127.0.0.1:1", waits) as ledger:
        ledger._http = httpx.Client(
            base_url=ledger._url, transport=httpx.MockTransport(lambda _request: answers.pop(0))
        )
        assert ledger.root_key() == b"\xab"
    assert len(waits) == 1


@pytest.mark.parametrize(
    "cuts",
    [
        [("to", 100)],  # within the head of the request
        [("to", 70_000)],
        [("to", 70_000), ("to", 100), ("to", 70_000)],
        [("back", 0)],  # it is settled, and nobody hears of it
        [("back", 40)],
        [("back", 0), ("back", 0), ("to", 300)],
    ],
)
def test_an_upload_reaches_its_end_through_cuts(bank: Bank, waits: list[float], cuts: list[tuple[str, int]]):
    shop, wallet = bank.device(bank.new_name(), "terminal"), bank.device(bank.new_name(), balance=900)
    sale(shop, wallet, 300)
    with remote(bank.service, waits) as direct:
        statement, records = read(direct, shop)
    junk = [bytes((0xFF, at)) + bytes(2_000) for at in range(100)]
    with relay(bank, *cuts) as line, remote(line.url, waits) as ledger:
        settlement = ledger.settle(None, statement, records + junk, 0)
        assert line.connections > len(cuts)
    assert settlement.certified and bank.purse(shop) == 300
    assert len(waits) >= len(cuts) and all(0 < pause <= clients.LONGEST_PAUSE_S for pause in waits)
    with remote(bank.service, waits) as direct:
        assert direct.settle(None, statement, [], 0) == settlement
    bank.check()


def test_a_long_upload_goes_in_pieces(bank: Bank, waits: list[float], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clients, "PIECE_BYTES", 1_000)
    shop = bank.device(bank.new_name(), "terminal")
    with remote(bank.service, waits) as ledger:
        statement, records = read(ledger, shop)
        junk = [bytes((0xFF, at)) + bytes(2_000) for at in range(5)]
        settlement = ledger.settle(None, statement, records + junk, 0)
    assert settlement.certified and len(settlement.dead_letters) == len(junk) and waits == []


def test_whoever_has_settled_it_for_us_has_the_answer(bank: Bank, waits: list[float]):
    shop = bank.device(bank.new_name(), "terminal")
    with remote(bank.service, waits) as ledger:
        statement, records = read(ledger, shop)
        first = ledger.settle(None, statement, records, 0)
        assert ledger.settle(None, statement, records, 0) == first


def test_a_load_that_is_ordered_through_cuts_is_ordered_once(bank: Bank, waits: list[float]):
    wallet = bank.device(bank.new_name())
    token = bank.token("read", "load")
    cuts = [("back", 0)] * 4
    with relay(bank, *cuts) as line, remote(line.url, waits, token) as ledger:
        load = ledger.order_load(None, wallet.id, 150, 0)
    rows = bank.ledger.loads(wallet.id)
    assert [(row["number"], row["amount"]) for row in rows] == [(load.number, 150)] == [(1, 150)]
    assert waits


def test_errors_of_the_ledger_are_the_same_exceptions(bank: Bank, waits: list[float]):
    wallet = bank.device(bank.new_name())
    with remote(bank.service, waits) as ledger:
        with pytest.raises(UnknownDevice):
            ledger.begin_sync(sha256(b"nobody")[:16], 0)
        with pytest.raises(UnknownNonce):
            ledger.settle(None, wallet.send(apdu.STATEMENT, b"a nonce of mine."), [], 0)
        with pytest.raises(RefusedByService) as refused:
            ledger.device(wallet.id)
    assert refused.value.word == "unauthorized" and "token" in str(refused.value)
    assert waits == []


def test_a_service_that_is_not_there_is_said_so_in_the_end(waits: list[float]):
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with remote(url, waits) as ledger, pytest.raises(LedgerUnavailable) as said:
        ledger.begin_sync(bytes(16), 0)
    assert len(waits) == clients.TRIES - 1 and "No money moved" in str(said.value)
    assert waits[-1] > 4 * waits[0], "pauses grow"


def test_a_line_that_never_brings_an_answer_leaves_the_outcome_unknown(bank: Bank, waits: list[float]):
    shop = bank.device(bank.new_name(), "terminal")
    with remote(bank.service, waits) as direct:
        statement, records = read(direct, shop)
    cuts = [("back", 0)] * 50
    with relay(bank, *cuts) as line, remote(line.url, waits) as ledger, pytest.raises(OutcomeUnknown) as said:
        ledger.settle(None, statement, records, 0)
    assert "No money moved" not in str(said.value) and "Run it again" in str(said.value)
    with remote(bank.service, waits) as direct:
        assert direct.settle(None, statement, records, 0).certified


def test_what_is_no_service_is_told_from_one(waits: list[float]):
    """Anything may answer at an address: here a program that speaks HTTP and says hello."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hello() -> None:
            line, _ = server.accept()
            with line:
                line.recv(_PIECE)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/html\r\n\r\nhello")

        thread = threading.Thread(target=hello)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with remote(url, waits) as ledger, pytest.raises(LedgerUnavailable, match="no jiaozi service"):
            ledger.begin_sync(bytes(16), 0)
        thread.join()


@pytest.mark.parametrize(
    "url",
    ["http://ledger.example", "http://10.0.0.1:80", "https://", "https://a?b", "https://me:pw@a", "http://[", "x"],
)
def test_addresses_that_are_refused(url: str):
    with pytest.raises(ValueError, match=r".") as said:
        check_url(url)
    assert str(said.value)


@pytest.mark.parametrize("url", ["https://a.example", "https://a:8440/", "http://127.0.0.1:1", "http://[::1]:8440"])
def test_addresses_that_are_taken(url: str):
    check_url(url)


def test_an_upload_is_what_the_document_says_byte_for_byte():
    statement = bytes(range(framing.STATEMENT_BYTES))
    upload = framing.join(statement, [b"", b"abc"])
    assert upload == statement + b"\x00\x00" + b"\x00\x03abc"
    assert framing.split(upload) == (statement, [b"", b"abc"])
