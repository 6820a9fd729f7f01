"""The `jiaozi` command put together, and the one place where errors become a line and an exit code (`exits`)."""

import os
import sys
import traceback

import typer
from sqlalchemy.exc import SQLAlchemyError
from typer.exceptions import TyperException

from host_tools.causes import UPDATE, explain
from host_tools.cli import board, device, exits, fraud, ledger, operator, output, streams, token
from host_tools.cli.bench import bench
from host_tools.cli.build import build
from host_tools.cli.city import city
from host_tools.cli.demo import demo
from host_tools.cli.doctor import doctor
from host_tools.cli.exits import Exit
from host_tools.cli.flash import flash
from host_tools.cli.report import report
from host_tools.cli.serve import serve
from host_tools.cli.sim import sim
from host_tools.cli.sync import sync
from protocol.errors import DecodeError, Refused

DEBUG = "JIAOZI_DEBUG"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Offline digital cash: operators, the ledger, and the devices that pay by tap.",
    epilog="Exit codes tell what went wrong; docs/commands.md lists them.",
)
app.add_typer(operator.app, name="operator")
app.add_typer(ledger.app, name="ledger")
app.add_typer(device.app, name="device")
app.add_typer(fraud.app, name="fraud")
app.add_typer(board.app, name="board")
app.add_typer(token.app, name="token")
app.command()(build)
app.command()(flash)
app.command()(doctor)
app.command()(sync)
app.command()(report)
app.command()(serve)
app.command()(demo)
app.add_typer(sim, name="sim")
app.add_typer(bench, name="bench")
app.command()(city)


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing is raised: a person never sees a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    streams.prepare()
    code = _run(arguments)
    streams.finish()
    return code


def _run(arguments: list[str]) -> int:
    try:
        code = int(app(arguments, standalone_mode=False, prog_name="jiaozi") or 0)
        return _interrupted(arguments) if code == Exit.INTERRUPTED else code
    except TyperException as error:
        return _typed_wrongly(error, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(arguments)
    except SystemExit:  # what Rich makes of a pipe that nobody reads; help, the demo and the bench are cut short by it
        return Exit.NOT_SHOWN
    except Exception as error:  # noqa: BLE001 - the last resort, so that a defect is one line too
        code = exits.of_error(error)
        if os.environ.get(DEBUG):
            traceback.print_exc()
        if code is None:
            return _failed(Exit.DEFECT, _defect(error), arguments)
        return _failed(code, _words(error), arguments)


def _interrupted(arguments: list[str]) -> int:
    return _failed(
        Exit.INTERRUPTED, "Interrupted. What was under way is done or not begun: look with jiaozi report.", arguments
    )


def _words(error: Exception) -> str:
    if isinstance(error, Refused):
        return str(explain(error.cause))
    if isinstance(error, DecodeError):
        return f"What came from the device cannot be read ({error}). No money moved. {UPDATE}"
    if isinstance(error, OSError):
        return f"{error.filename or 'A file'} cannot be used: {error.strerror}. Check its path and rights."
    if isinstance(error, SQLAlchemyError):
        cause = getattr(error, "orig", None) or error
        reason = str(cause).splitlines()[0]
        return f"The ledger's database cannot be used: {reason}. No money moved. Check --ledger and its rights."
    return str(error)


def _defect(error: Exception) -> str:
    return (
        f"A defect in jiaozi: {type(error).__name__}. Look with jiaozi report what was done before repeating."
        f" Set {DEBUG}=1 to see where, and report it."
    )


def _typed_wrongly(error: TyperException, arguments: list[str]) -> int:
    """What typer says, in one line. A group without a verb has shown its help instead."""
    context = getattr(error, "ctx", None)
    if not error.format_message():
        return Exit.USAGE
    said = " ".join(error.format_message().split()).rstrip(".")
    path = context.command_path if context is not None else "jiaozi"
    return _failed(Exit.USAGE, f"{said}. See: {path} --help", arguments)


def _failed(code: Exit, text: str, arguments: list[str]) -> int:
    if "--json" in arguments:
        output.tell_failure_as_json(int(code), code.name.lower(), text)
    output.tell_failure(text)
    return code


if __name__ == "__main__":
    sys.exit(run())
