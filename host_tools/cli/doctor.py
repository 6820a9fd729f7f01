"""`jiaozi doctor`: the findings of `devices.doctor`, printed."""

import dataclasses

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from host_tools.cli import options, output, streams
from host_tools.cli.exits import Exit

_SIGNS = {"ok": ("✓ ", "green"), "note": ("! ", "yellow"), "trouble": ("✗ ", "red")}


def doctor(
    port: options.Port = None,
    reader: options.Reader = None,
    as_json: options.Json = False,
) -> None:
    """Find devices and NFC readers, and say of each trouble what it is and how to end it. Changes nothing.

    Ports are opened for that, and some boards start anew when their port is opened.
    """
    from host_tools.devices import doctor, doctor_findings  # takes a moment to import, and no other command needs it
    from host_tools.devices.doctor_system import Machine

    with output.progress("Looking at the ports") as progress:
        findings = doctor.examine(Machine(), port, reader, progress)
    troubles = sum(finding.severity == doctor_findings.TROUBLE for finding in findings)
    usable = sum(finding.usable for finding in findings)
    facts = {"usable": usable, "troubles": troubles, "findings": [dataclasses.asdict(found) for found in findings]}
    if as_json:
        output.tell(True, facts)
    else:
        _show(findings)
    if troubles or not usable:
        raise typer.Exit(Exit.TROUBLE)


def _show(findings: list) -> None:
    console = output.stdout()
    with output.telling():
        try:
            for number, finding in enumerate(findings):
                if number:
                    console.print()
                _show_one(console, finding)
        except (BrokenPipeError, SystemExit):  # whoever read our output has seen enough; Rich makes an exit of it
            streams.discard()


def _show_one(console: Console, finding) -> None:
    console.print(Text.assemble(_SIGNS[finding.severity], (finding.where, "bold"), ": ", finding.found))
    for text in (finding.cause, finding.fix):
        if text:
            console.print(Padding(text, (0, 0, 0, 2), expand=False))
    for command in finding.commands:
        # Never broken by us, so that it can be copied.
        console.print(Text(f"    {command}", style="cyan"), soft_wrap=True)
