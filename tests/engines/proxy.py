"""A relay between a program and its database server, which can lose the connection while a commit is on its way."""

import contextlib
import selectors
import socket
import threading
from pathlib import Path

from sqlalchemy import make_url

_COMMITS = (b"COMMIT\0", b"\x03COMMIT")  # how the message ends in PostgreSQL's and in MySQL's protocol


class Relay:
    """`lose` what the next commit is: "question", before the server has it, or "answer", when it has done it.

    `url` leads through the relay. Each connection has a thread; all end with `close`.
    """

    def __init__(self, url: str, folder: Path):
        parsed = make_url(url)
        socket_folder = parsed.query.get("host")
        self._server: tuple[int, str | tuple[str, int]]
        if socket_folder:  # PostgreSQL's socket has this name in its folder
            self._server = (socket.AF_UNIX, f"{socket_folder}/.s.PGSQL.5432")
            here = f"{folder}/.s.PGSQL.5432"
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(here)
            self.url = parsed.update_query_dict({"host": str(folder)}).render_as_string(hide_password=False)
        else:
            assert parsed.host and parsed.port
            self._server = (socket.AF_INET, (parsed.host, parsed.port))
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.url = parsed.set(port=self._listener.getsockname()[1]).render_as_string(hide_password=False)
        self._listener.listen()
        self.lose: str | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                program, _ = self._listener.accept()
                threading.Thread(target=self._relay, args=(program,), daemon=True).start()

    def _relay(self, program: socket.socket) -> None:
        family, address = self._server
        with program, socket.socket(family) as server, selectors.DefaultSelector() as both:
            server.connect(address)
            both.register(program, selectors.EVENT_READ, server)
            both.register(server, selectors.EVENT_READ, program)
            with contextlib.suppress(OSError):
                while True:
                    for key, _ in both.select():
                        source, target = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        commits = source is program and data.endswith(_COMMITS)
                        if commits and self.lose == "question":
                            self.lose = None
                            return
                        target.sendall(data)
                        if commits and self.lose == "answer":
                            self.lose = None
                            server.recv(1 << 16)
                            return
