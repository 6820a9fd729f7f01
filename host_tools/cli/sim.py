"""`jiaozi sim`: simulated devices by hand, and virtual PN532s for boards that are not our processes."""

import tempfile
import threading
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from host_tools.cli import output
from host_tools.cli.workbench import Bench
from host_tools.simulator import named_air
from host_tools.simulator.device import SimulatorError
from host_tools.simulator.reactor import Reactor
from host_tools.simulator.world import TERMINAL_BOARD, WALLET_BOARD, World

sim = typer.Typer(
    no_args_is_help=True, help="Simulated devices to press, tap and look at; virtual NFC chips for other boards."
)

AirName = Annotated[str, typer.Option("--air", help="The name of the air: devices in one air can tap each other.")]


@sim.command()
def run(
    wallet: Annotated[list[str] | None, typer.Option(help="A wallet of this name; may be repeated.")] = None,
    terminal: Annotated[list[str] | None, typer.Option(help="A terminal of this name; may be repeated.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Keep the devices' flash in this folder, for the next time.")
    ] = None,
    air: Annotated[str | None, typer.Option(help="Let chips of other processes join under this name.")] = None,
) -> None:
    """Start devices and work them at a prompt. Without names: a wallet ana and a terminal tea."""
    names = [(name, WALLET_BOARD) for name in wallet or []] + [(name, TERMINAL_BOARD) for name in terminal or []]
    names = names or [("ana", WALLET_BOARD), ("tea", TERMINAL_BOARD)]
    for name, _ in names:
        if not name.replace("-", "").isalnum():
            raise typer.BadParameter(f"{name!r}: a device's name is one word of letters, digits and -")
    with tempfile.TemporaryDirectory(prefix="jiaozi-sim-") as scratch:
        try:
            with World(state or Path(scratch), air) as world:
                for name, board in names:
                    world.add(name, board)
                bench = Bench(world, Console())
                bench.do_list("")
                bench.cmdloop()
        except (SimulatorError, ConnectionError, ValueError) as error:
            raise typer.BadParameter(str(error)) from error


@sim.command()
def chip(
    uart: Annotated[
        str, typer.Option(help="pty:, tcp://host:port, tcp-listen://host:port, or any port pyserial opens.")
    ],
    air: AirName,
    name: Annotated[str, typer.Option(help="What the chip is called in the air.")] = "",
) -> None:
    """Put a virtual PN532 on a UART and into an air, until the UART's other end is gone or Ctrl-C.

    The first two chips of an air are together; jiaozi sim lift and jiaozi sim tap move them.
    """
    ended = threading.Event()
    with Reactor() as reactor:
        try:
            where = named_air.join(reactor, air, name or f"chip-{uart.rpartition('/')[2] or 'pty'}", uart, ended.set)
        except (OSError, ValueError) as error:
            raise typer.BadParameter(f"{error}. Nothing was started.") from error
        print(f"PN532 at {where} in air {air}", flush=True)
        try:
            ended.wait()
        except KeyboardInterrupt:
            pass


def _say(air: str, line: str) -> None:
    try:
        answer = named_air.say(air, line)
    except (ConnectionError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    if answer.startswith("error"):
        raise typer.BadParameter(answer)
    output.tell(False, {}, answer)


@sim.command()
def tap(one: str, other: str, air: AirName) -> None:
    """Hold two chips of an air together."""
    _say(air, f"tap {one} {other}")


@sim.command()
def lift(air: AirName) -> None:
    """Take the chips of an air apart."""
    _say(air, "lift")


@sim.command()
def cut(frame: int, byte: int, air: AirName) -> None:
    """In the next tap of an air the card leaves after this byte of this frame (0 is the first, the RATS)."""
    _say(air, f"cut {frame} {byte}")


@sim.command("list")
def list_chips(air: AirName) -> None:
    """The chips of an air, and whether two are together."""
    _say(air, "list")
