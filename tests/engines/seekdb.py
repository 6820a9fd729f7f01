"""OceanBase's kernel as one process: the server in the package pylibseekdb."""

import importlib.util
from pathlib import Path

from tests.engines.server import NotHere, Server, free_port

# A transaction that has logged some of its changes when the server is killed, and not yet that it ends, holds its locks
# from then on: it was seen to outlast minutes and restarts (1.4.0). So all is logged at the end, in one piece.
_LOGGED_AT_COMMIT = "64M"


class SeekDB(Server):
    name = "seekdb"
    memory = "1G"  # the least that it runs with
    log = "2G"
    settings: dict[str, int] = {}  # besides

    def prepare(self) -> None:
        found = importlib.util.find_spec("pylibseekdb")
        if found is None or found.origin is None:
            raise NotHere("pylibseekdb is not installed; it has wheels for Linux on x86-64")
        self._binary = Path(found.origin).with_name("seekdb")
        self._port = free_port()

    def command(self) -> list[str]:
        sizes = (f"memory_budget={self.memory}", f"log_disk_size={self.log}")
        others = (f"{name}={value}" for name, value in self.settings.items())
        given = (*sizes, f"_private_buffer_size={_LOGGED_AT_COMMIT}", *others)
        options = [word for setting in given for word in ("--parameter", setting)]
        where = ["--nodaemon", "--port", str(self._port), "--base-dir", str(self.folder / "data")]
        return ["env", "TELEMETRY_ENABLED=false", str(self._binary), *where, *options]

    def url(self, database: str) -> str:
        return f"mysql+pymysql://root@127.0.0.1:{self._port}/{database}"

    def admin_url(self) -> str:
        return self.url("test")
