"""One background thread that moves bytes between simulated chips and their UARTs.

A chip is anything with `receive` and `take_output` (`Device` below). Methods may be called from any thread.
"""

import queue
import selectors
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from host_tools.simulator.endpoints import Endpoint, EndpointClosed, SocketEndpoint, open_endpoint, tcp_address

_TICK_S = 0.5  # how often `on_tick` is called
_POLL_S = 0.005  # for endpoints that no selector can watch


class Device(Protocol):
    """What sits at one end of a UART."""

    on_output: Callable[[], None] | None
    on_baudrate: Callable[[int], None] | None

    def receive(self, data: bytes) -> None: ...

    def take_output(self) -> bytes: ...


class _Line:
    """A device joined with an endpoint. Touched by the reactor's thread only."""

    def __init__(self, device: Device, endpoint: Endpoint, on_close: Callable[[], None] | None) -> None:
        self.device = device
        self.endpoint = endpoint
        self.on_close = on_close
        self.unsent = b""
        self.baudrate: int | None = None  # to be set once everything is sent


class Reactor:
    """Use as a context manager. `close` raises the first error that a device raised in the thread."""

    def __init__(self) -> None:
        self.on_tick: list[Callable[[], None]] = []
        self._selector = selectors.DefaultSelector()
        self._lines: list[_Line] = []
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, self._drain_wakes)
        self._is_running = True
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Reactor":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the thread and close every endpoint."""
        if self._thread.is_alive():
            self.call(self._stop)
            self._thread.join()
            # Not before: whoever asks the thread to stop may still be waking it.
            self._wake_in.close()
            self._wake_out.close()
        if self._errors:
            raise self._errors[0]

    # --- any thread

    def call(self, action: Callable[[], Any]) -> Any:
        """Run `action` in the reactor's thread and return what it returns."""
        if threading.current_thread() is self._thread:
            return action()
        done: Future[Any] = Future()
        self._calls.put((action, done))
        self._wake()
        return done.result(timeout=10)

    def attach(self, device: Device, endpoint: Endpoint, on_close: Callable[[], None] | None = None) -> None:
        """Join a device with an endpoint; `on_close` is called when the other end goes away."""
        self.call(lambda: self._attach(device, endpoint, on_close))

    def detach(self, device: Device) -> None:
        """Close the device's endpoint; `on_close` is not called."""
        self.call(lambda: [self._drop(line) for line in self._lines if line.device is device])

    def listen(self, listener: socket.socket, on_connect: Callable[[SocketEndpoint], None]) -> None:
        """Call `on_connect` for every connection that `listener` gets."""
        listener.setblocking(False)

        def accept() -> None:
            try:
                connection, _address = listener.accept()
            except BlockingIOError:
                return
            on_connect(SocketEndpoint(connection, "connection"))

        self.call(lambda: self._selector.register(listener, selectors.EVENT_READ, accept))

    # --- the reactor's thread

    def _wake(self) -> None:
        try:
            self._wake_out.send(b"\x00")
        except BlockingIOError:
            pass  # it is already about to wake

    def _drain_wakes(self) -> None:
        self._wake_in.recv(4096)

    def _stop(self) -> None:
        self._is_running = False

    def _run(self) -> None:
        while self._is_running:
            unwatched = any(line.endpoint.fileno() is None for line in self._lines)
            for key, _events in self._selector.select(_POLL_S if unwatched else _TICK_S):
                self._guarded(key.data)
            for line in self._lines if unwatched else ():
                if line.endpoint.fileno() is None:
                    self._guarded(lambda line=line: self._read(line))
            while not self._calls.empty():
                action, done = self._calls.get()
                try:
                    done.set_result(action())
                except Exception as error:  # noqa: BLE001  (handed to the caller)
                    done.set_exception(error)
            for line in list(self._lines):
                self._guarded(lambda line=line: self._flush(line))
            for tick in self.on_tick:
                self._guarded(tick)
        for line in list(self._lines):
            self._drop(line)
        for key in list(self._selector.get_map().values()):
            if key.fileobj is not self._wake_in:
                assert isinstance(key.fileobj, socket.socket)
                key.fileobj.close()
        self._selector.close()

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # noqa: BLE001  (raised again by `close`; one chip's bug must not hang the others)
            self._errors.append(error)

    def _attach(self, device: Device, endpoint: Endpoint, on_close: Callable[[], None] | None) -> None:
        line = _Line(device, endpoint, on_close)
        self._lines.append(line)
        device.on_output = self._wake
        device.on_baudrate = lambda rate: setattr(line, "baudrate", rate)
        descriptor = endpoint.fileno()
        if descriptor is not None:
            self._selector.register(descriptor, selectors.EVENT_READ, lambda: self._serve(line))

    def _serve(self, line: _Line) -> None:
        if line in self._lines:
            self._read(line)

    def _read(self, line: _Line) -> None:
        try:
            data = line.endpoint.read()
        except EndpointClosed:
            self._lost(line)
            return
        if data:
            line.device.receive(data)

    def _flush(self, line: _Line) -> None:
        if line not in self._lines:
            return
        line.unsent += line.device.take_output()
        try:
            if line.unsent:
                line.unsent = line.unsent[line.endpoint.write(line.unsent) :]
        except EndpointClosed:
            self._lost(line)
            return
        if line.baudrate is not None and not line.unsent:
            line.endpoint.set_baudrate(line.baudrate)
            line.baudrate = None
        descriptor = line.endpoint.fileno()
        if descriptor is not None:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.unsent else 0)
            if self._selector.get_key(descriptor).events != events:
                self._selector.modify(descriptor, events, lambda: self._serve(line))

    def _lost(self, line: _Line) -> None:
        self._drop(line)
        if line.on_close is not None:
            line.on_close()

    def _drop(self, line: _Line) -> None:
        self._lines.remove(line)
        descriptor = line.endpoint.fileno()
        if descriptor is not None:
            self._selector.unregister(descriptor)
        line.device.on_output = line.device.on_baudrate = None
        line.endpoint.close()


def serve_url(reactor: Reactor, url: str, device: Device, on_close: Callable[[], None] | None = None) -> str:
    """Join a device with what `url` names; returns what a person has to connect to.

    `tcp-listen://host:port` (port 0: any free one) takes one connection at a time, the next when that ends; `on_close`
    is called each time. Everything else as `endpoints.open_endpoint`.
    """
    if not url.startswith("tcp-listen://"):
        endpoint = open_endpoint(url)
        reactor.attach(device, endpoint, on_close)
        return endpoint.description
    listener = socket.create_server(tcp_address(url))
    is_taken = False

    def connected(endpoint: SocketEndpoint) -> None:
        nonlocal is_taken
        if is_taken:
            endpoint.close()
            return
        is_taken = True
        reactor.attach(device, endpoint, disconnected)

    def disconnected() -> None:
        nonlocal is_taken
        is_taken = False
        if on_close is not None:
            on_close()

    reactor.listen(listener, connected)
    host, port = listener.getsockname()[:2]
    return f"tcp://{host}:{port}"
