"""A bank with a running service: key files and a ledger in a home, `jiaozi serve` as a process, devices beside it.

The devices are those of `tests.ledger.world`, with today's date, since the service has the computer's clock.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

from host_tools import keys
from host_tools.crypto import sha256
from host_tools.ledger import Ledger, Settlement
from host_tools.ledger.opening import open_existing
from host_tools.server import framing
from host_tools.server.store import Store
from host_tools.server.tokens import ROOT_SCOPES
from protocol import apdu
from protocol.objects import DAY_S, OPERATOR_PAYEE, OperatorCertificate, Statement
from tests.host.command import PASSPHRASE
from tests.ledger.world import Town
from tests.unit.world import CURRENCY, Device, Operator, signer

PROJECT = Path(__file__).parents[2]
_START_S = 60  # a loaded machine may take long to import everything
_STOP_S = 60
OPERATORS = (1, 2)


def payee_name(operator: int) -> str:
    return f"payee of operator {operator}"


class Bank(Town):
    """Two operators whose keys lie in `home`. `client` talks to the process that `start` has started."""

    def __init__(self, folder: Path, url: str | None = None):
        self.now = int(time.time())
        self.home = folder / "home"
        self.home.mkdir()
        self._file = self.home / "ledger.db"
        self.url = url or f"sqlite:///{self._file}"
        self.ledger = Ledger.open(url) if url else Ledger.create(self.url)
        self.root = signer("root")
        self._write_key("root.key", "root", "root")
        self.ledger.set_root(self.root.public)
        self.operators = {number: self._operator(number) for number in OPERATORS}
        self.engine = open_existing(self.url)
        self.store = Store(self.engine)
        self.devices: list[Device] = []
        self.accounts: dict[str, int] = {}
        self._operator_of: dict[str, int] = {}
        self.log = folder / "service.log"
        self.process: subprocess.Popen[str] | None = None
        self.service = ""
        self._names = 0

    def new_name(self) -> str:
        """For a device that no other test knows."""
        self._names += 1
        return f"device {self._names}"

    def _operator(self, number: int) -> Operator:
        operator = Operator(number, self.root)
        today = self.now // DAY_S
        operator.certificate = OperatorCertificate(
            operator=number,
            issue=1,
            key=operator.key.public,
            currency=CURRENCY,
            exponent=2,
            valid_from=today - 1,
            valid_until=today + 1_000,
        ).sign(self.root.sign)
        self.ledger.add_operator(operator.certificate)
        self._write_key(f"operator-{number}.key", "operator", f"operator {number}")
        self._write_key(f"operator-{number}-payee.key", "operator", payee_name(number))
        account = self.ledger.open_account(number, f"Bank {number}")
        key = signer(payee_name(number)).public
        self.ledger.register_device(
            operator.key, number, key, OPERATOR_PAYEE << 4, 0, account, f"Bank {number}", self.now
        )
        return operator

    def _write_key(self, name: str, kind: str, seed: str) -> None:
        keys.create(self.home / name, kind, PASSPHRASE, seed=sha256(seed.encode()), cost=keys.INTERACTIVE)

    # The service

    def start(self, *options: object) -> str:
        """Returns its URL."""
        command = [sys.executable, "-m", "host_tools.cli.main", "serve", "--listen", "127.0.0.1:0", "--json"]
        command += ["--home", str(self.home), "--ledger", self.url, *map(str, options)]
        environment = {**os.environ, "JIAOZI_PASSPHRASE": PASSPHRASE, "PYTHONPATH": str(PROJECT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.service = json.loads(line)["url"]
        return self.service

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        assert self.process is not None
        process, self.process = self.process, None
        process.send_signal(number)
        try:
            return process.wait(_STOP_S)
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def log_lines(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def line_of(self, request_id: str) -> dict:
        """What the log says of a request; its line is written when the answer has gone."""
        until = time.monotonic() + _STOP_S
        while time.monotonic() < until:
            for line in self.log_lines():
                if line.get("request_id") == request_id:
                    return line
            time.sleep(0.01)
        raise AssertionError(f"the log has no line of {request_id}")

    def __enter__(self) -> "Bank":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop(signal.SIGKILL)
        self.ledger.close()
        self.engine.dispose()

    def client(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.service, headers=headers, timeout=60)

    def token(self, *scopes: str, operator: int = 1, days: int = 1) -> str:
        """A new one's text. `scopes` of the central bank make its own."""
        whose = None if ROOT_SCOPES.keys() & set(scopes) else operator
        return self.store.create_token(whose, frozenset(scopes), "tests", self.now + days * DAY_S, self.now)[0]

    # Syncs over the service

    def served_statement(self, client: httpx.Client, device: Device) -> tuple[bytes, list[bytes]]:
        """What `statement` gives, but with a nonce from the service."""
        begun = client.post(f"/v1/devices/{device.id.hex()}/syncs").raise_for_status().json()
        statement = device.send(apdu.STATEMENT, bytes.fromhex(begun["nonce"]))
        head = Statement.decode(statement).seq
        wanted = range(begun["first_seq"], head + 1)
        return statement, [device.send(apdu.JOURNAL, seq.to_bytes(4, "big")) for seq in wanted]


def path_of(statement: bytes) -> str:
    return f"/v1/settlements/{framing.name_of(statement).hex()}"


def send(
    client: httpx.Client, upload: bytes, offset: int = 0, to: int | None = None, length: int | None = None
) -> httpx.Response:
    """POST bytes `offset` to `to` of an upload."""
    return client.post(
        path_of(upload[: framing.STATEMENT_BYTES]),
        params={"offset": offset, "length": len(upload) if length is None else length},
        content=upload[offset:to],
        headers={"Content-Type": "application/octet-stream"},
    )


def settlement_of(response: httpx.Response) -> Settlement:
    assert response.status_code == 200, response.text
    values = response.json()
    objects = tuple(bytes.fromhex(data) for data in values["objects"])
    aside = tuple(values["dead_letters"])
    return Settlement(objects, values["certified"], values["accepted"], aside, values["note"])
