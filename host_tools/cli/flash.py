"""`jiaozi flash`: everything a board needs onto its chip, and money that is on it left alone."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from host_tools.cli import options, output
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.devices.errors import DeviceError
from host_tools.flashing import device, ports
from host_tools.flashing.device import Said
from host_tools.flashing.errors import NotConfirmed, NotStarted
from host_tools.images.boards import BoardError
from host_tools.images.compile import BUILD, CompileError
from protocol import apdu

if TYPE_CHECKING:
    from host_tools.flashing.plan import Found, Plan
    from host_tools.images.image import Image

_START_TIMEOUT_S = 30.0  # and to find the RESET button


def flash(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="As jiaozi board list names it.")],
    port: options.Port = None,
    micropython: Annotated[
        Path | None,
        typer.Option(
            "--micropython",
            metavar="FILE",
            show_default=False,
            help="Official image; not needed if the chip has a MicroPython that is new enough.",
        ),
    ] = None,
    erase_money: Annotated[
        bool, typer.Option("--erase-money", help="Lose what is on the device. Asks, unless its purse is empty.")
    ] = False,
    no_stub: Annotated[
        bool, typer.Option("--no-stub", help="Only the chip's own loader: slow, for chips on which the fast one fails.")
    ] = False,
    baud: Annotated[
        int | None,
        typer.Option("--baud", metavar="RATE", min=9600, show_default=False, help="Slower if the line is bad: 115200."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the device to start.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a board's firmware to its chip and check it. Cut off? Run the same again: it goes on where it was.

    Money on the device stays, whatever happens.
    """
    # These take a moment to import, and few commands need them.
    from host_tools.flashing import chip_link
    from host_tools.flashing import flash as work
    from host_tools.flashing.plan import make_plan, money_may_be_there
    from host_tools.images.chips import CHIPS

    image = _built(board, micropython)
    url = port or ports.find_port()
    size_bytes = image.board.flash_size_bytes
    assert size_bytes is not None
    said = device.ask_if_there(url) if erase_money else None
    with chip_link.connect(url, CHIPS[image.board.chip], size_bytes, not no_stub, baud, _ask) as link:
        with output.progress("Looking") as report:
            found = work.look(link, image, report)
            lose_money = erase_money and money_may_be_there(found)
            is_other = lose_money and _is_another(said, lambda key: work.is_chip_of(link, image, key))
        if is_other:
            said = None  # what it said is not about the money here
        if lose_money and not (said and said.is_empty):
            _confirm(said, is_other)
        plan = make_plan(image, found, lose_money)
        with output.progress("Writing and checking") as report:
            work.carry_out(link, plan, report)
        is_started = link.start()
        mac = link.mac
    now = None if no_wait else _started(url, is_started)
    facts = _facts(image, url, mac, found, plan)
    facts["erased"] = (_purse(said) if said else {}) if plan.lost else None
    facts["device"] = _purse(now) if now else None
    output.tell(as_json, facts, output.done(f"{board} is flashed and checked."), output.fields(_lines(facts, now)))


def _built(board: str, micropython: Path | None) -> "Image":
    from host_tools.images.image import ImageError, build_image

    untouched = "The device was not touched."
    try:
        return build_image(board, micropython)
    except (BoardError, ImageError) as error:
        raise BadInput(f"{str(error).rstrip('.')}. {untouched}") from error
    except CompileError as error:
        raise CheckFailed(f"{error}. {untouched}") from error
    except OSError as error:
        raise BadInput(
            f"{error.filename or BUILD} cannot be used: {error.strerror}. {untouched} Check path, rights and room on"
            " the disk, then repeat."
        ) from error


def _ask(what: str) -> None:
    output.stderr().print(what)


def _is_another(said: Said | None, is_chip_of: Callable[[bytes | None], bool]) -> bool:
    """Whether what answered before is not the device on this chip. Out of service, a device says no key to tell by."""
    return said is not None and (said.key is not None or said.is_empty) and not is_chip_of(said.key)


def _confirm(said: Said | None, is_other: bool) -> None:
    """Raises `NotConfirmed` unless a person at a terminal types that the money may be lost."""
    who = said.device_id if said and said.device_id else "an unreadable device"
    words = f"erase the money of {who}"
    nothing = "Nothing was written."
    if sys.stdin is None or not sys.stdin.isatty():
        raise NotConfirmed(
            f"There may be money on this device, and no terminal to confirm that it is to be lost. {nothing}"
            " Run the same at a terminal; or sync and redeem first, then an empty purse needs no words."
        )
    if said and said.device_id:
        there = (
            f"{said.balance} minor units and {said.in_doubt} in doubt, {said.unsynced_records} records not yet synced"
        )
    elif is_other:
        there = "nobody can say how much, because what answered here before is not the device on this chip"
    else:
        there = "nobody can say how much, because the device does not answer"
    _ask(f"What is on this device will be lost for good: {there}.")
    if typer.prompt(f"Type: {words}\n", prompt_suffix="> ", err=True).strip() != words:
        raise NotConfirmed(f"These are other words. {nothing} What is on the device is still there.")


def _started(url: str, is_started: bool) -> Said:
    if not is_started:
        _ask("Press RESET on the board, without BOOT. Waiting for half a minute.")
    try:
        return device.wait_for(url, _START_TIMEOUT_S)
    except DeviceError as error:
        raise NotStarted(
            f"Everything is written and checked, and the device does not answer at {url} ({error}) Press RESET on it,"
            " then look with jiaozi device info, or jiaozi doctor."
        ) from error


def _facts(image: "Image", url: str, mac: str, found: "Found", plan: "Plan") -> dict:
    written = [step.name for step in plan.steps if step.segment is not None]
    there = found.micropython[0] if found.micropython else None
    return {
        "board": image.board.name,
        "chip": image.board.chip,
        "mac": mac,
        "port": url,
        "micropython": image.micropython_version or there,
        "sha256": image.sha256,
        "written": [part.name for part in plan.parts if part.name in written],
        "written_bytes": sum(step.size_bytes for step in plan.steps if step.segment is not None),
        "unchanged": [part.name for part in plan.parts if part.name not in written],
        "money": "erased" if plan.lost else "none yet" if plan.is_first else "kept",
    }


def _purse(said: Said) -> dict:
    return {
        "personalised": bool(said.flags & apdu.PERSONALISED),
        "out_of_service": bool(said.flags & apdu.OUT_OF_SERVICE),
        "device": said.device_id,
        "operator": said.operator,
        "balance": said.balance,
        "in_doubt": said.in_doubt,
        "payments_in_doubt": said.payments_in_doubt,
        "records_not_synced": said.unsynced_records,
    }


def _lines(facts: dict, now: Said | None) -> dict[str, str]:
    written = f"{', '.join(facts['written'])}: {facts['written_bytes']:,} bytes"
    lines = {"chip": f"{facts['chip']}, {facts['mac']}", "MicroPython": facts["micropython"]}
    lines["written"] = written if facts["written"] else "nothing: all of it was there"
    lines["money"] = facts["money"]
    erased = facts["erased"]
    if erased:
        amounts = f"{erased['balance']} minor units, {erased['in_doubt']} in doubt"
        lines["money"] = f"erased: {amounts}, of {erased['device'] or 'a device that was not set up'}"
    elif erased is not None:
        lines["money"] = "erased; nobody could say how much"
    if now is None:
        lines["device"] = "starts now, or when RESET is pressed. Look with: jiaozi device info"
    elif now.flags & apdu.OUT_OF_SERVICE:
        lines["device"] = "answers, and is out of service: look at its display"
    elif now.device_id is None:
        lines["device"] = "answers, and is not set up yet. Run: jiaozi device personalise"
    else:
        lines["device"] = f"{now.device_id} answers, with {now.balance} minor units"
    return lines
