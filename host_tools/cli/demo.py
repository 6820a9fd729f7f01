"""`jiaozi demo`: a day of offline payments on simulated boards, from issuing to reconciliation."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from host_tools.cli import output
from host_tools.cli.exits import CheckFailed
from host_tools.simulator.device import SimulatorError
from host_tools.story.play import Play, StoryError
from host_tools.story.stage import RichStage, SilentStage


def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of the story.")] = False,
    keep: Annotated[
        Path | None, typer.Option(help="Keep keys, ledger and the devices' flash in this new folder.")
    ] = None,
) -> None:
    """Play the whole story on simulated boards: no hardware, no network.

    Exit status 0 only if every balance is as expected and the ledger adds up.
    """
    if keep is not None and keep.exists():
        raise typer.BadParameter(f"{keep} exists. Nothing was done; name a folder that does not exist yet.")
    with tempfile.TemporaryDirectory(prefix="jiaozi-demo-") as scratch:
        folder = keep or Path(scratch)
        stage = SilentStage() if as_json else RichStage(Console())
        try:
            result = Play(folder, stage).run()
        except (StoryError, SimulatorError) as error:
            raise CheckFailed(f"The demo failed: {error}") from error
        if as_json:
            output.tell(True, result)
        else:
            assert isinstance(stage, RichStage)
            stage.reconciliation(result)
