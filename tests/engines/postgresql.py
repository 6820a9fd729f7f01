"""PostgreSQL from the machine's own binaries, on a socket in its folder, with every safeguard of a default server."""

import shutil
from pathlib import Path

from tests.engines.server import NotHere, Server


class PostgreSQL(Server):
    name = "postgresql"
    user = "postgres"

    def prepare(self) -> None:
        self._bin = _binaries()
        # Only the making of the empty server is not synced: whoever loses it makes a new one
        options = ["--auth=trust", "--username=ledger", "--no-locale", "--encoding=UTF8", "--no-sync"]
        self.run([str(self._bin / "initdb"), "--pgdata", str(self.folder / "data"), *options])

    def command(self) -> list[str]:
        safe = ("fsync=on", "full_page_writes=on", "synchronous_commit=on")
        own = ("listen_addresses=", f"unix_socket_directories={self.folder}", "recovery_init_sync_method=syncfs")
        options = [word for setting in (*safe, *own) for word in ("-c", setting)]
        return [str(self._bin / "postgres"), "-D", str(self.folder / "data"), *options]

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://ledger@/{database}?host={self.folder}"

    def admin_url(self) -> str:
        return self.url("postgres")


def _binaries() -> Path:
    """The newest of Debian's versions, else what is on PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("postgres")
    if found is None or not Path(found).with_name("initdb").exists():
        raise NotHere("PostgreSQL is not installed (Debian: apt install postgresql)")
    return Path(found).parent
