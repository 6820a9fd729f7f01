"""Three MariaDB servers that replicate to each other synchronously (Galera), from Debian's mariadb-server and galera-4.

They begin with the same files, as a cluster that lost its power and comes back: so none has to copy the files of
another, for which Debian has scripts that want a whole system.
"""

import shutil
import uuid
from pathlib import Path

from tests.engines.server import NotHere, Server, free_port

NODES = 3

_PROVIDERS = (Path("/usr/lib/galera/libgalera_smm.so"), Path("/usr/lib64/galera-4/libgalera_smm.so"))


class Node(Server):
    """One of them. `group` is where it talks to the others."""

    name = "mariadb"
    user = "mysql"
    patience = {"connect_timeout": 5, "read_timeout": 5}  # it takes connections before it answers

    def prepare(self) -> None:
        self._server, install = (shutil.which(name) for name in ("mariadbd", "mariadb-install-db"))
        provider = next((path for path in _PROVIDERS if path.exists()), None)
        if self._server is None or install is None or provider is None:
            raise NotHere(
                "MariaDB Galera is not installed (Debian: apt install mariadb-server-core mariadb-client-core galera-4)"
            )
        self._provider = provider
        self.port, self.group, self._transfer = free_port(), free_port(), free_port()
        self.me = uuid.uuid1()
        self._peers: list[int] = []
        where = [f"--datadir={self.folder / 'data'}", "--auth-root-authentication-method=normal", "--skip-test-db"]
        self.run([install, "--no-defaults", *where])

    def join(self, state: uuid.UUID, nodes: "list[Node]") -> None:
        """What it is to remember of the others before it starts: the state that all have, and who was there."""
        self._peers = [node.group for node in nodes]
        self._remember("grastate.dat", "# GALERA saved state", "version: 2.1", f"uuid: {state}", "seqno: 0")
        primary_view = f"view_id: 3 {nodes[0].me} 1"
        members = [f"member: {node.me} 0" for node in nodes]
        view = (primary_view, "bootstrap: 0", *members)
        self._remember("gvwstate.dat", f"my_uuid: {self.me}", "#vwbeg", *view, "#vwend")

    def _remember(self, name: str, *lines: str) -> None:
        file = self.folder / "data" / name
        file.write_text("\n".join(lines) + "\n")
        shutil.chown(file, file.parent.owner(), file.parent.group())

    def command(self) -> list[str]:
        provider = {
            "base_port": self.group,
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.group}",
            "ist.recv_addr": f"127.0.0.1:{self._transfer}",
            # A dead node is left behind after seconds; by default it is 15
            "evs.keepalive_period": "PT0.5S",
            "evs.suspect_timeout": "PT3S",
            "evs.inactive_timeout": "PT6S",
            "gcache.size": "64M",
        }
        others = ",".join(f"127.0.0.1:{port}" for port in self._peers)
        settings = {
            "datadir": self.folder / "data",
            "socket": self.folder / "socket",
            "pid-file": self.folder / "pid",
            "bind-address": "127.0.0.1",
            "port": self.port,
            "binlog-format": "ROW",
            "innodb-autoinc-lock-mode": 2,  # as Galera asks for
            "innodb-flush-log-at-trx-commit": 1,
            "innodb-buffer-pool-size": "128M",
            "wsrep-on": "ON",
            "wsrep-provider": self._provider,
            "wsrep-provider-options": ";".join(f"{name}={value}" for name, value in provider.items()),
            "wsrep-cluster-name": "ledger",
            "wsrep-cluster-address": f"gcomm://{others}",
            "wsrep-node-address": f"127.0.0.1:{self.group}",
        }
        return [str(self._server), "--no-defaults", *(f"--{name}={value}" for name, value in settings.items())]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, database: str) -> str:
        return f"mysql+pymysql://root@{self.address}/{database}"

    def admin_url(self) -> str:
        return self.url("mysql")


class Galera:
    """The cluster. Raises `NotHere`."""

    def __init__(self) -> None:
        self.nodes = [Node() for _ in range(NODES)]
        state = uuid.uuid4()
        for node in self.nodes:
            node.join(state, self.nodes)
            node.launch()  # they answer once they have found each other
        for node in self.nodes:
            node.wait_ready()

    def close(self) -> None:
        for node in self.nodes:
            node.close()

    def database(self) -> str:
        """The URL of a new, empty database, with all nodes in it."""
        name = self.nodes[0].database().rpartition("/")[2]
        hosts = "&".join(f"host={node.address}" for node in self.nodes)
        return f"mysql+pymysql://root@/{name}?{hosts}"
