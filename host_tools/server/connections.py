"""A client's connection: uvicorn's own, and it ends when the client does not go on.

uvicorn waits for ever for a whole request head, and for a client that does not take its answer. What it refuses by
itself, it refuses in words of its own. Here such a client's time runs out, and whatever is no request, or is one
connection too many, is answered like everything else.
"""

import asyncio
import secrets

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from host_tools.server import limits, logs
from host_tools.server.errors import BadRequest, Busy, ServiceError, TooMany, failure
from host_tools.server.guard import REQUEST_ID


class Connection(H11Protocol):
    """uvicorn makes one for each connection, once its TLS stands, and calls its methods on the event loop."""

    _address = ""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().connection_made(transport)
        self._address = limits.client_of(self.client[0]) if self.client else ""
        if len(self.connections) > limits.CONNECTIONS_MAX:
            self._refuse(Busy())
        elif not self.config.proxy_headers and self._of_this_address() > limits.CONNECTIONS_PER_ADDRESS:
            self._refuse(TooMany(1, "connections"))
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop()

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():  # over TLS more may come
            super().data_received(data)
            self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequest("This is no HTTP request", "Send HTTP/1.1, with a head of at most 16 KB"))

    def _of_this_address(self) -> int:
        """How many connections, with this one."""
        return sum(isinstance(other, Connection) and other._address == self._address for other in self.connections)

    def _watch(self) -> None:
        """Time runs while the service waits for a request or for its answer to be taken, whatever little comes."""
        at_work = self.cycle is not None and not self.cycle.response_complete and not self.flow.write_paused
        if at_work:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(limits.RECEIVE_TIMEOUT_S, self.transport.abort)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: ServiceError) -> None:
        """Answer what no request was made of, and close."""
        refused, request_id = failure(error), secrets.token_hex(8)
        if self.conn.our_state is h11.IDLE:  # else it is too late: what was begun is cut off
            headers, body = refused.message(request_id)
            headers += [(REQUEST_ID, request_id.encode()), (b"connection", b"close")]
            headers += self.server_state.default_headers
            start = h11.Response(status_code=refused.status, headers=headers, reason=STATUS_PHRASES[refused.status])
            for event in (start, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        line = {"request_id": request_id, "status": refused.status, "error": refused.word}
        logs.logger.info("refused", extra=line | {"client": self.client[0] if self.client else "none"})
