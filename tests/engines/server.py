"""One database server as a child process: started, killed and started again, and ended by its pid."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

READY_S = 60  # a recovery after `kill -9` on a busy machine included
STOP_S = 30


class NotHere(Exception):
    """Why this server cannot run on this machine."""


class Server:
    """A kind of server, by its subclass. `folder` holds all that it writes."""

    name: str
    patience: dict[str, int] = {"connect_timeout": 5}
    user: str | None = None  # whom it runs as when the tests run as root; None: as root, too

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        owner = self._owner()
        if owner is not None:
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self.prepare()

    # What a kind of server says

    def prepare(self) -> None:
        """Make the folder ready for a first start."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of one of its databases."""
        raise NotImplementedError

    def admin_url(self) -> str:
        raise NotImplementedError

    # Its life

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                self._as_owner(self.command()), stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=self.folder
            )

    def wait_ready(self) -> None:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                self.execute("SELECT 1")
                return
            except DBAPIError:
                if not self.runs or time.monotonic() > deadline:
                    raise AssertionError(f"{self.name} did not start: {self.last_words()}") from None
            time.sleep(0.05)

    def kill(self) -> None:
        """`kill -9` of everything it runs, as when the power goes. What it has written by then stays."""
        if self._process is None:
            return
        children = _children(self._process.pid)
        for pid in (self._process.pid, *children):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(STOP_S)
        self._process = None
        deadline = time.monotonic() + STOP_S
        while any(map(_runs, children)) and time.monotonic() < deadline:
            time.sleep(0.01)

    def close(self) -> None:
        """End it and forget its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Databases

    def execute(self, *statements: str) -> None:
        """As its administrator, each by itself."""
        engine = create_engine(self.admin_url(), isolation_level="AUTOCOMMIT", connect_args=self.patience)
        try:
            with engine.connect() as connection:
                for statement in statements:
                    connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def database(self) -> str:
        """The URL of a new, empty database. It goes with the server: to drop one takes longer than to make it."""
        name = f"ledger_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    # Processes

    def _owner(self) -> pwd.struct_passwd | None:
        if self.user is None or os.geteuid() != 0:
            return None
        for name in (self.user, "nobody"):
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
        raise NotHere(f"there is no user to run {self.name} as")

    def _as_owner(self, command: list[str]) -> list[str]:
        """The command as its owner. On Linux it ends with the thread that starts it, so never outlives the tests."""
        setpriv, owner = shutil.which("setpriv"), self._owner()
        if setpriv is None:
            if owner is not None:
                raise NotHere(f"{self.name} does not run as root, and there is no setpriv")
            return command
        rights = ["--reuid", str(owner.pw_uid), "--regid", str(owner.pw_gid), "--clear-groups"] if owner else []
        return [setpriv, *rights, "--pdeathsig", "KILL", "--", *command]

    def run(self, command: list[str]) -> None:
        """Something that ends by itself, as the server's user."""
        done = subprocess.run(self._as_owner(command), cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{command[0]}: {done.stderr or done.stdout}"

    def last_words(self) -> str:
        return (self.folder / "out").read_text(errors="replace")[-2_000:]


def free_port() -> int:
    """On the loopback interface; somebody else may take it before it is used, but hardly ever does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if listed.exists():
        return [int(word) for word in listed.read_text().split()]
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)  # macOS
    return [int(word) for word in found.stdout.split()]
