"""Hardening itself: tried on virtual eFuses, then done. Whoever calls has shown the plan and asked.

What is left to do is decided before every step by what the eFuses say, so the same call after any interruption goes on.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from host_tools.hardening import tools
from host_tools.hardening.checks import check_chip
from host_tools.hardening.chips import CHIPS
from host_tools.hardening.device import Device, check_unused, has_images, is_unused
from host_tools.hardening.efuses import Efuses, Fuses
from host_tools.hardening.errors import ToolFailed
from host_tools.hardening.keys import Keys
from host_tools.hardening.plan import Kind, Plan, Step
from host_tools.hardening.steps import make_plan
from host_tools.images.boards import Board

Tell = Callable[[Step, str], None]  # a step, and what became of it


@contextmanager
def practice_keys(keys: Keys) -> Iterator[Keys]:
    """The keys that are there, and others that are thrown away for those that are not. Raises `KeyNotFit`."""
    keys.check_there()
    with tempfile.TemporaryDirectory(prefix="jiaozi-hardening-") as folder:  # mode 0700
        throwaway = Keys(Path(folder), keys.own.name)
        throwaway.own.mkdir()
        for real in keys.files():
            if real.exists():
                (throwaway.folder / real.relative_to(keys.folder)).symlink_to(real.absolute())
        throwaway.make_missing()
        throwaway.check()
        yield throwaway


def rehearse(board: Board, efuses: Efuses, keys: Keys) -> Fuses:
    """The end state of the whole plan, burnt on the virtual chip `efuses`. Raises `ChipNotFit`, `ToolFailed`."""
    plan = make_plan(board, efuses, "virtual", keys.public_key_digest())
    fuses = efuses.read()
    check_chip(plan, fuses, keys)
    try:
        for step in plan.burns():
            if not step.reached(fuses):
                fuses = _burn(step, efuses, fuses, keys)
    except ToolFailed as error:
        raise ToolFailed(f"On virtual eFuses: {error} Nothing was burnt.") from error
    wrong = [expected.name for expected in plan.expected() if not expected.holds(fuses)]
    if wrong:
        raise ToolFailed(f"On virtual eFuses {', '.join(wrong)} did not end as planned. Nothing was burnt.")
    return fuses


def rehearse_copy(board: Board, device: Device, keys: Keys) -> Fuses:
    """`rehearse` on a virtual copy of the device's own eFuses."""
    with tempfile.TemporaryDirectory() as folder:  # mode 0700: a key that is not protected yet is in the copy
        return rehearse(board, device.efuses.copy(Path(folder, "efuses.bin")), keys)


def check_device(board: Board, device: Device, plan: Plan, keys: Keys) -> None:
    """All that must be so about the device itself before the first burn. Raises `ChipNotFit`, `InUse`."""
    fuses = device.efuses.read()
    check_chip(plan, fuses, keys)
    check_flash(board, device, fuses, keys)


def check_flash(board: Board, device: Device, fuses: Fuses, keys: Keys) -> None:
    """Raises `InUse` for a device with settings or a journal, unless its flash is encrypted already."""
    if not is_switched_on(board, fuses):
        check_unused(board, device, keys.own)


def harden(board: Board, device: Device, plan: Plan, keys: Keys, tell: Tell) -> None:
    """Do what is left of the plan, for good. Its images are in `keys.own`; all checks have passed.

    Raises `ToolFailed`, `DoesNotStart`; the message says how the device is then.
    """
    try:
        fuses = device.efuses.read()
    except ToolFailed as error:
        raise ToolFailed(f"{error} Nothing was burnt now. Repeat this command.") from error
    is_over = list(plan.burns())[-1].reached(fuses)
    for step in plan.steps:
        try:
            state, fuses = _do(step, board, device, fuses, keys, is_over)
        except ToolFailed as error:  # also of a device that was pulled out: the step knows how it is then
            raise ToolFailed(f"{step.title}: {error} {step.if_cut}") from error
        if state:
            tell(step, state)


def _do(step: Step, board: Board, device: Device, fuses: Fuses, keys: Keys, is_over: bool) -> tuple[str, Fuses]:
    """What became of the step, "" if it is none of the device's or nothing to do any more; and the eFuses after it."""
    if step.kind is Kind.BURN:
        if step.reached(fuses):
            return "was already", fuses
        if step.last:  # espefuse has verified it; nobody can read it any more
            tools.run(step.command(fuses), keys.own)
            return "burnt", fuses
        if step.finish:
            keys.note_burning()
        return "burnt", _burn(step, device.efuses, fuses, keys)
    if step.kind is Kind.FLASH and not is_over:
        return _write(board, device, fuses, keys), fuses
    if step.kind is Kind.START and not is_over:
        return "it answers" if device.start() else "not tried: nothing runs on a virtual chip", fuses
    return "", fuses


def _burn(step: Step, efuses: Efuses, fuses: Fuses, keys: Keys) -> Fuses:
    """The eFuses after it."""
    tools.run(step.command(fuses), keys.own)
    after = efuses.read()
    wrong = [expected.name for expected in step.expected if not expected.holds(after)]
    if wrong:
        raise ToolFailed(f"{', '.join(wrong)} did not end as planned.")
    return after


def _write(board: Board, device: Device, fuses: Fuses, keys: Keys) -> str:
    encrypted = is_switched_on(board, fuses)
    if has_images(board, device, keys.own):
        return "was already"
    if encrypted and not is_unused(board, device, keys.own):
        return "left alone: the device has started from what is there"
    device.write(keys.own, encrypted)
    if not has_images(board, device, keys.own):
        raise ToolFailed("The flash does not hold what was written.")
    return "written and verified"


def is_switched_on(board: Board, fuses: Fuses) -> bool:
    """Whether any bit of it is burnt: then the images are on the flash, and the device may have started from them."""
    return any(fuses[name].value for name in CHIPS[board.chip].switched_on)
