"""Connections whose client does not go on, or is one too many: ended, and answered in the service's own shape."""

import asyncio
import json
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from host_tools.server import framing, guard, limits
from host_tools.server.app import application
from host_tools.server.run import Place, _config
from host_tools.server.service import Service
from host_tools.server.store import Store
from tests.server.bank import Bank, path_of
from tests.server.test_network import certificate
from tests.server.test_service import service_in

SHORT_S = 0.5
HERE = "127.0.0.1"
FEW_FILES = 256
HALF = b"GET /health HTTP/1.1\r\nHost: x\r\n"


@asynccontextmanager
async def serving(service: Service, place: Place) -> AsyncIterator[tuple[uvicorn.Server, int]]:
    """The server as `run.serve` makes it, and its port."""
    listener = socket.create_server((HERE, 0))
    server = uvicorn.Server(_config(application(service), place))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


def served(folder: Path, use: Callable[[uvicorn.Server, int], Awaitable[None]], place: Place | None = None) -> None:
    """Run what uses a server; it must come to an end."""

    async def run() -> None:
        async with serving(service_in(folder), place or Place(HERE, 0)) as (server, port), asyncio.timeout(20):
            await use(server, port)

    asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], dict]:
    """Status, headers and JSON of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
    headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
    return int(head[0].split()[1]), headers, json.loads(await reader.readexactly(int(headers["content-length"])))


async def refused(reader: asyncio.StreamReader, status: int, word: str) -> None:
    """An answer like any other, and the end of the connection."""
    found, headers, said = await answer(reader)
    assert (found, said["error"]) == (status, word)
    assert said["request_id"] == headers["x-request-id"] and said["money_moved"] is False
    assert ("retry-after" in headers) == (status in (429, 503))
    assert await reader.read() == b""


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    ("asked", "begun", "drop"),
    [
        pytest.param(b"", b"", b"", id="nothing"),
        pytest.param(b"", HALF, b"", id="half a head"),
        pytest.param(b"", HALF, b"a: b\r\n", id="a head that never ends"),
        pytest.param(HALF + b"\r\n", HALF, b"", id="half a second head"),
        pytest.param(HALF + b"Content-Length: 1000\r\n\r\n", b"", b"a", id="a body after its answer"),
    ],
)
def test_a_connection_without_a_whole_request_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bytes, begun: bytes, drop: bytes, encrypted: bool
):
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_S", SHORT_S)
    chain, key = certificate(tmp_path) if encrypted else (None, None)

    async def wait(_server: uvicorn.Server, port: int) -> None:
        trust = ssl.create_default_context(cafile=chain) if encrypted else None
        reader, writer = await asyncio.open_connection(HERE, port, ssl=trust)
        began = time.monotonic()
        writer.write(asked)
        if asked:
            assert (await answer(reader))[0] == 200
        writer.write(begun)
        while not reader.at_eof() and reader.exception() is None:
            await asyncio.sleep(SHORT_S / 10)
            writer.write(drop)
        assert time.monotonic() - began >= SHORT_S
        writer.close()

    served(tmp_path, wait, Place(HERE, 0, chain, key))


def test_a_body_that_does_not_go_on_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_S", SHORT_S)
    monkeypatch.setattr(guard, "_DRAIN_S", SHORT_S)

    async def wait(_server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection(HERE, port)
        head = f"POST {path_of(b'')}?offset=0&length=500 HTTP/1.1\r\nHost: x\r\nContent-Type: {framing.MEDIA}\r\n"
        writer.write(head.encode() + b"Content-Length: 500\r\n\r\nabc")
        await refused(reader, 408, "too_slow")
        writer.close()

    served(tmp_path, wait)


def test_time_does_not_run_while_the_service_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_S", SHORT_S)
    monkeypatch.setattr(Store, "answers", lambda _store: time.sleep(3 * SHORT_S) is None)

    async def wait(_server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection(HERE, port)
        for _ in range(2):
            writer.write(HALF + b"\r\n")
            assert (await answer(reader))[0] == 200
        writer.close()

    served(tmp_path, wait)


@pytest.mark.parametrize("times", [1, 200], ids=["one", "many"])
def test_a_client_that_takes_no_answers_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int):
    """Whether the last one fits into the buffers between the two, or there are more to come."""
    monkeypatch.setattr(limits, "RECEIVE_TIMEOUT_S", SHORT_S)

    async def wait(server: uvicorn.Server, port: int) -> None:
        with socket.create_connection((HERE, port)) as line:
            line.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * times)
            while not server.server_state.connections:
                await asyncio.sleep(0.01)
            while server.server_state.connections:
                await asyncio.sleep(0.01)

    served(tmp_path, wait)


# Too many, and what is no request


@pytest.mark.parametrize(
    ("limit", "proxy", "status", "word"),
    [("CONNECTIONS_PER_ADDRESS", None, 429, "too_many_requests"), ("CONNECTIONS_MAX", HERE, 503, "busy")],
)
def test_a_connection_too_many_is_told_so_and_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, proxy: str | None, status: int, word: str
):
    monkeypatch.setattr(limits, "CONNECTIONS_PER_ADDRESS", 1)  # which a proxy's clients share
    monkeypatch.setattr(limits, limit, 2)

    async def crowd(server: uvicorn.Server, port: int) -> None:
        (first, asks), (_, leaves) = [await asyncio.open_connection(HERE, port) for _ in range(2)]
        reader, writer = await asyncio.open_connection(HERE, port)
        await refused(reader, status, word)
        writer.close()
        asks.write(HALF + b"\r\n")
        assert (await answer(first))[0] == 200
        leaves.close()
        while len(server.server_state.connections) > 1:
            await asyncio.sleep(0.01)
        again, writer = await asyncio.open_connection(HERE, port)
        writer.write(HALF + b"\r\n")
        assert (await answer(again))[0] == 200
        for each in (asks, writer):
            each.close()

    served(tmp_path, crowd, Place(HERE, 0, proxy=proxy))


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", HALF + b"a: " + bytes(1 << 15), b"\x16\x03\x01" * 10])
def test_what_is_no_request_is_refused_in_the_same_shape(tmp_path: Path, sent: bytes):
    async def send(_server: uvicorn.Server, port: int) -> None:
        reader, writer = await asyncio.open_connection(HERE, port)
        writer.write(sent)
        await refused(reader, 400, "bad_request")
        writer.close()

    served(tmp_path, send)


def test_more_connections_than_a_process_may_begin_with(tmp_path: Path):
    """The system lets it have more files once it asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Bank(tmp_path) as bank, ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, hard))
        try:
            where = httpx.URL(bank.start())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(FEW_FILES + 100):
            connection = stack.enter_context(socket.create_connection((where.host, where.port), timeout=20))
            connection.sendall(HALF + b"\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
