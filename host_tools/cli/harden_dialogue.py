"""What `jiaozi device harden` says and asks: the plan as a person reads it, what came of trying it, the two questions
before the first burning, and what was done.
"""

import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.text import Text

from host_tools.cli import output
from host_tools.cli.exits import BadInput, CheckFailed
from host_tools.hardening import efuses, hardening, images
from host_tools.hardening.chips import CHIPS
from host_tools.hardening.device import Device, open_device
from host_tools.hardening.efuses import Efuses, Fuses
from host_tools.hardening.errors import ImageNotFit, ToolFailed
from host_tools.hardening.keys import Keys
from host_tools.hardening.plan import Kind, Plan, Step
from host_tools.hardening.steps import make_plan
from host_tools.images.boards import Board, BoardError, load_board
from host_tools.images.chips import CHIPS as DATA_SHEETS
from host_tools.images.compile import CompileError
from host_tools.images.image import ImageError

_BACKED_UP = "they are backed up"
_NO_CHIP = "CHIP-ID"  # what a chip's folder is called as long as nobody knows the chip
_INDENT = 4
_LEFT = (0, 0, 0, _INDENT)
_UNDO = {Kind.BURN: "cannot be undone", Kind.FLASH: "can be repeated", Kind.HOST: "can be repeated", Kind.START: ""}
_NOTHING = "Nothing was burnt."

Parts = Iterator[Text | Padding]


def board_of(name: str) -> Board:
    """Raises `BadInput` for what is no board with a chip."""
    try:
        target = load_board(name)
    except BoardError as error:
        raise BadInput(f"{str(error).rstrip('.')}. {_NOTHING}") from error
    if target.chip not in CHIPS:
        raise BadInput(f"{name} is a process on this computer and has no eFuses. Name a board with a chip. {_NOTHING}")
    return target


def show(target: Board, port: str | None, folder: Path, micropython: Path | None, as_json: bool) -> None:
    """The plan, tried on virtual eFuses: on a copy of the chip's own, if there is one at `port`."""
    device = open_device(target, port) if port is not None else None
    fuses = _read(device) if device else None
    keys = Keys(folder, efuses.mac_of(fuses) if fuses else _NO_CHIP)
    contents: dict[str, bytes] = {}
    with hardening.practice_keys(keys) as practised:
        if micropython is not None:
            contents = _images(target, micropython)
            images.write_images(target, practised, contents)
        with _nothing_burnt():
            end = hardening.rehearse_copy(target, device, practised) if device else _on_new_chip(target, practised)
    if device is not None and fuses is not None:
        with _nothing_burnt():
            hardening.check_flash(target, device, fuses, keys)
    where = device.efuses if device else Efuses(target.chip, ("--port", "PORT"))
    plan = make_plan(target, where, port or "PORT", None)
    facts = _facts(target, plan, fuses, end, contents) | {"burnt": False}
    output.tell(as_json, facts, *_shown(target, keys, plan, fuses, contents), *_next(contents))


def burn(target: Board, port: str, folder: Path, micropython: Path, as_json: bool) -> None:
    """Check everything, ask, and do it."""
    device = open_device(target, port)
    fuses = _read(device)
    keys = Keys(folder, efuses.mac_of(fuses))
    contents = _images(target, micropython)
    made = keys.make_missing()
    keys.check()
    plan = make_plan(target, device.efuses, device.port, keys.public_key_digest())
    with _nothing_burnt():
        hardening.check_device(target, device, plan, keys)
        images.write_images(target, keys, contents)
        end = hardening.rehearse_copy(target, device, keys)
    console = output.stderr()
    for part in _shown(target, keys, plan, fuses, contents):
        console.print(part)
    _ask(keys, made, fuses, device)
    states: dict[str, str] = {}

    def told(step: Step, state: str) -> None:
        states[step.title] = state
        console.print(output.done(f"{step.title}: {state}"))

    hardening.harden(target, device, plan, keys, told)
    facts = _facts(target, plan, fuses, end, contents) | {"burnt": True, "states": states}
    words = f"{efuses.mac_of(fuses)} is hardened. Keep {keys.folder}; docs/hardening.md says what for."
    output.tell(as_json, facts, output.done(words))


def _read(device: Device) -> Fuses:
    try:
        return device.efuses.read()
    except ToolFailed as error:
        raise ToolFailed(
            f"The eFuses at {device.port} cannot be read: {error} Is it the chip's port, and BOOT held while RESET was"
            f" pressed? A device that was hardened to the end lets nobody read them any more. {_NOTHING}"
        ) from None


@contextmanager
def _nothing_burnt() -> Iterator[None]:
    """Around what only looks: a device that is pulled out meanwhile is as before."""
    try:
        yield
    except ToolFailed as error:
        said = str(error)
        if "Nothing was burnt" not in said:  # now: an earlier run may have
            said += " Nothing was burnt now. Check the cable, bring the chip into its download mode again, and repeat."
        raise ToolFailed(said) from error


def _images(target: Board, micropython: Path) -> dict[str, bytes]:
    try:
        return images.read_images(target, micropython)
    except (ImageError, ImageNotFit) as error:
        said = str(error).rstrip(".")
        raise BadInput(f"{said}." if _NOTHING.rstrip(".") in said else f"{said}. {_NOTHING}") from error
    except CompileError as error:
        raise CheckFailed(f"{error}. {_NOTHING}") from error


def _on_new_chip(target: Board, practised: Keys) -> Fuses:
    with tempfile.TemporaryDirectory() as folder:
        revision = CHIPS[target.chip].revision_minimum
        chip = efuses.new_virtual(target.chip, Path(folder, "efuses.bin"), revision)
        return hardening.rehearse(target, chip, practised)


def _ask(keys: Keys, made: list[Path], fuses: Fuses, device: Device) -> None:
    """Raises `BadInput` unless a person says that the keys are safe and types the chip's id."""
    mac = efuses.mac_of(fuses)
    new = f" New: {', '.join(map(str, made))}." if made else ""
    _answer(
        f"Copy {keys.folder} to a place that outlives this computer: without its keys the device takes no program of"
        f" yours any more.{new}\nWhen that is done, type: {_BACKED_UP}",
        _BACKED_UP,
        "That was not typed",
    )
    _answer(
        f"From here on nothing can be undone. To burn the eFuses of the chip at {device.port}, type its id ({mac}):",
        mac,
        "That is not the id of this chip",
    )


def _answer(question: str, wanted: str, otherwise: str) -> None:
    output.stderr().print(Text(f"\n{question}"))
    typed = sys.stdin.readline()
    if " ".join(typed.lower().split()) != wanted:
        raise BadInput(f"{otherwise}. Nothing was burnt now; the device is as it was.")


def _facts(target: Board, plan: Plan, fuses: Fuses | None, end: Fuses, contents: dict[str, bytes]) -> dict[str, Any]:
    return {
        "board": target.name,
        "chip": target.chip,
        "id": efuses.mac_of(fuses) if fuses else None,
        "revision": efuses.revision_text(efuses.revision_of(fuses)) if fuses else None,
        "steps": [_step_facts(step, fuses) for step in plan.steps],
        "virtual": {expected.name: _fuse_facts(end, expected.name) for expected in plan.expected()},
        "images": {name: len(data) for name, data in contents.items()},
    }


def _step_facts(step: Step, fuses: Fuses | None) -> dict[str, Any]:
    return {
        "title": step.title,
        "kind": step.kind.name.lower(),
        "does": step.does,
        "can_be_undone": step.kind is not Kind.BURN,
        "efuses": [str(expected) for expected in step.expected],
        "commands": [shlex.join(command) for command in step.commands],
        "if_cut": step.if_cut,
        "done_already": bool(fuses) and step.reached(fuses),
    }


def _fuse_facts(end: Fuses, name: str) -> dict[str, Any]:
    """As the eFuse ended on the virtual chip; all that did not end as planned has raised."""
    fuse = end[name]
    return {"value": fuse.text, "readable": fuse.readable, "writeable": fuse.writeable}


def _shown(target: Board, keys: Keys, plan: Plan, fuses: Fuses | None, contents: dict[str, bytes]) -> Parts:
    who = f"{target.name}, an {DATA_SHEETS[target.chip].title}"
    if fuses:
        who += f" {efuses.revision_text(efuses.revision_of(fuses))} with the id {efuses.mac_of(fuses)}"
    yield Text(f"The plan for {who}. All commands run in {keys.own}.")
    for number, step in enumerate(plan.steps, 1):
        yield from _shown_step(number, step, fuses)
    yield Text()
    count = len(list(plan.expected()))
    whose = "a virtual copy of its eFuses" if fuses else "virtual eFuses"
    yield output.done(f"Tried on {whose}: {count} eFuses end as planned, after {len(list(plan.burns()))} burnings.")
    if contents:
        yield output.done(f"{len(contents)} images signed and encrypted; verified, decrypted and compared.")


def _next(contents: dict[str, bytes]) -> Parts:
    if not contents:
        yield output.warning(
            "Official MicroPython images cannot be hardened. docs/hardening.md says how your own is built; have it"
            " checked with --micropython."
        )
    yield Text(f"{_NOTHING} To do it, for good: --port, --micropython and --burn.")


def _shown_step(number: int, step: Step, fuses: Fuses | None) -> Parts:
    undo = "done already" if fuses and step.reached(fuses) else _UNDO[step.kind]
    style = {"cannot be undone": "red", "done already": "green"}.get(undo, "dim")
    yield Text.assemble(f"\n{number:2}  ", (step.title, "bold"), "  " if undo else "", (undo, style))
    yield Padding(Text(step.does), _LEFT)
    if step.expected:
        yield Padding(Text.assemble(("eFuses  ", "dim"), ", ".join(map(str, step.expected))), _LEFT)
    for command in step.commands:
        yield Text(_command_text(command), no_wrap=True)
    yield Padding(Text(f"If power goes: {step.if_cut}", "dim"), _LEFT)


def _command_text(command: tuple[str, ...]) -> str:
    """The command line, broken between words so that it can be copied into a shell."""
    room = output.stdout().width - _INDENT - 4
    lines = [""]
    for phrase in _phrases(command):
        if lines[-1] and len(lines[-1]) + 1 + len(phrase) > room:
            lines.append(f"  {phrase}")
        else:
            lines[-1] += f" {phrase}" if lines[-1] else phrase
    return " \\\n".join(f"{' ' * _INDENT}{line}" for line in lines)


def _phrases(command: tuple[str, ...]) -> Iterator[str]:
    """The command's words; what belongs together as one: option and value, address and file, eFuse and value."""
    words = list(map(shlex.quote, command))
    while words:
        first, then = words[0], words[1] if len(words) > 1 else "--"
        pair = first.startswith("0x") or then.isdigit() or first.startswith("--") and not then.startswith("--")
        yield " ".join(words[: 1 + pair])
        del words[: 1 + pair]
