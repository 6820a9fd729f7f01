"""What must be so before anything is burnt.

A chip that is neither as it left the factory nor as this plan leaves it at some step is refused: what others burnt can
neither be undone nor judged.
"""

from collections.abc import Iterator

from host_tools.hardening.chips import CHIPS, ChipFuses
from host_tools.hardening.efuses import Fuses, revision_of, revision_text
from host_tools.hardening.errors import ChipNotFit
from host_tools.hardening.keys import FLASH_KEY, Keys
from host_tools.hardening.plan import Plan

_CODING_SCHEMES_NONE = (0, 3)  # ESP32 Technical Reference Manual, "eFuse Controller": key blocks of 256 bits
# Of what espefuse files under security, these say nothing about keys or locks: a counter for updates, and a block that
# is the user's own.
_HARMLESS = ("SECURE_VERSION", "BLOCK3", "KEY_STATUS")
_WATCHED = ("security", "jtag")
_UNCHANGED = "Nothing was burnt now; the device is as it was."


def check_chip(plan: Plan, fuses: Fuses, keys: Keys) -> None:
    """Raises `ChipNotFit` if this chip's eFuses are not those of a new chip or of a run that was cut."""
    for problem in _problems(plan, fuses, keys):
        raise ChipNotFit(f"This chip cannot be hardened: {problem}. {_UNCHANGED}")


def _problems(plan: Plan, fuses: Fuses, keys: Keys) -> Iterator[str]:
    chip = CHIPS[plan.chip]
    revision = revision_of(fuses)
    if revision < chip.revision_minimum:
        yield (
            f"it is revision {revision_text(revision)}, and secure boot v2 needs"
            f" {revision_text(chip.revision_minimum)} or newer"
        )
    if "CODING_SCHEME" in fuses and fuses["CODING_SCHEME"].value not in _CODING_SCHEMES_NONE:
        yield "its eFuses use another coding scheme (CODING_SCHEME), which leaves no room for the keys"
    yield from _key_problems(chip, fuses, keys)
    planned = {expected.name: expected for expected in plan.expected()}
    for name, expected in planned.items():
        fuse = fuses[name]
        if name == chip.key_block or expected.holds(fuses):
            continue
        if expected.readable and not fuse.readable:
            yield f"{name} can no longer be read"
        elif expected.value is not None and fuse.value & ~expected.value:
            yield f"{name} holds something else than this plan burns ({_other(chip, name)})"
        elif expected.value is not None and fuse.value != expected.value and not fuse.writeable:
            yield f"{name} is write protected and not burnt"
    for fuse in fuses.values():
        if fuse.name in planned or fuse.name in _HARMLESS:
            continue
        if fuse.category in _WATCHED and (fuse.value or not fuse.readable):
            yield f"{fuse.name} is burnt, which this plan does not do"


def _key_problems(chip: ChipFuses, fuses: Fuses, keys: Keys) -> Iterator[str]:
    """The flash key's block: empty, or with the device's own key, which nobody may be able to read any more."""
    block = fuses[chip.key_block]
    burnt = keys.burnt_key_digest()
    if burnt is not None and burnt != keys.flash_key_digest():
        yield f"the {FLASH_KEY} in --keys is not the one whose burning was begun; put that one back"
    if not block.readable:
        if burnt is None:
            yield f"{chip.key_block} holds a key that nobody can read, and in --keys nothing says that it is yours"
    elif block.value & ~keys.flash_key_in_block():  # a part of the bits is a burning that was cut
        yield f"{chip.key_block} holds another key"
    elif not block.value and not block.writeable:
        yield f"{chip.key_block} is write protected and empty"


def _other(chip: ChipFuses, name: str) -> str:
    if name == chip.digest_block:
        return "the digest of another signing key"
    return "somebody else began to secure this chip" if name in chip.switched_on else "another value"
