"""The `jiaozi` command in this process: what it prints and its exit code."""

import contextlib
import io
import json
from typing import NamedTuple

from host_tools.cli.exits import Exit
from host_tools.cli.main import run

PASSPHRASE = "a horse and a cart"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict:
        """The one JSON object on stdout."""
        assert self.code == Exit.OK, self.err
        return json.loads(self.out)


def jiaozi(*arguments: object) -> Result:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Result(code, out.getvalue(), err.getvalue())


def in_json(*arguments: object) -> dict:
    return jiaozi(*arguments, "--json").facts


def failed(result: Result, code: Exit, *words: str) -> None:
    """One line on stderr with these words, nothing on stdout, no traceback."""
    assert result.code == code, result
    assert result.out == ""
    assert result.err.count("\n") == 1 and "Traceback" not in result.err
    for word in words:
        assert word in result.err, result
