"""The steps of hardening, in the order in which an interruption leaves a device that can be finished.

Until the last one the chip's download mode is open: whatever is on the flash can be written again, and the rest burnt.
Why each stands where it does: docs/hardening.md.
"""

from host_tools.hardening import layout
from host_tools.hardening.chips import CHIPS, ChipFuses, Purpose
from host_tools.hardening.efuses import Efuses
from host_tools.hardening.keys import FLASH_KEY, MAKE_FLASH_KEY, MAKE_SIGNING_KEY, SIGNING_KEY
from host_tools.hardening.plan import Expected, Kind, Plan, Step
from host_tools.images.boards import Board

_STARTS = "The chip starts whatever is on its flash, as before."
_FINISH = "It does not start, and its download mode is open: repeat this command."


def make_plan(board: Board, efuses: Efuses, port: str, digest: int | None) -> Plan:
    """The plan for one device. `digest` is of the signing key; without it the plan can be shown, not checked."""
    fuses = CHIPS[board.chip]
    return Plan(
        board.chip,
        (
            _keys(),
            _images(board, fuses),
            _flash_key(fuses, efuses),
            _digest(fuses, efuses, digest),
            _flash(board, port),
            _doors(fuses, efuses),
            _protect(fuses, efuses),
            _switch_on(fuses, efuses),
            _start(board, port),
            _download(fuses, efuses),
        ),
    )


def _keys() -> Step:
    return Step(
        Kind.HOST,
        "Make the keys that are not there yet",
        "The signing key is yours, for all your devices: whoever has it can make programs for them. The flash key is"
        " this device's alone: whoever has it and the flash reads what the device knows. Back up both.",
        "Nothing was burnt.",
        commands=((*MAKE_SIGNING_KEY, SIGNING_KEY), (*MAKE_FLASH_KEY, FLASH_KEY)),
    )


def _images(board: Board, fuses: ChipFuses) -> Step:
    return Step(
        Kind.HOST,
        "Sign and encrypt what goes onto the flash",
        "Boot loader and MicroPython of your own build are signed, everything is encrypted for the place where it lies;"
        " signatures are verified, and what was encrypted is decrypted and compared, before anything is burnt.",
        "Nothing was burnt.",
        commands=layout.host_commands(board, fuses.aes_xts),
    )


def _flash_key(fuses: ChipFuses, efuses: Efuses) -> Step:
    purpose = fuses.key_purpose
    return Step(
        Kind.BURN,
        "Burn the flash encryption key",
        "Only the chip's own hardware can use it from now on; nobody can read it back.",
        f"{_STARTS} Repeat this command with the same --keys.",
        commands=(efuses.burning(*_filled(fuses.key_burn, FLASH_KEY)),),
        expected=(*_purposes(purpose), Expected(fuses.key_block, None, False, False, "the flash key")),
        finish=efuses.burning("write-protect-efuse", fuses.key_block, *([purpose.fuse] if purpose else [])),
    )


def _digest(fuses: ChipFuses, efuses: Efuses, digest: int | None) -> Step:
    block = Expected(fuses.digest_block, digest, True, False, "SHA-256 of the public key")
    return Step(
        Kind.BURN,
        "Burn the digest of the signing key",
        "By it the chip will know your signature. It is no secret and stays readable, or secure boot could not use it.",
        f"{_STARTS} Repeat this command.",
        commands=(efuses.burning(*_filled(fuses.digest_burn, SIGNING_KEY)),),
        expected=(*_purposes(fuses.digest_purpose), block),
    )


def _flash(board: Board, port: str) -> Step:
    return Step(
        Kind.FLASH,
        "Write the encrypted images and verify them",
        "On a new device only: settings or a journal would be lost. `nvs` is erased; the device makes it anew,"
        " encrypted, with keys of its own.",
        _FINISH,
        commands=layout.flash_commands(board, port),
    )


def _doors(fuses: ChipFuses, efuses: Efuses) -> Step:
    return Step(
        Kind.BURN,
        "Shut the side doors",
        f"No JTAG ({fuses.jtag_title}); the boot loader in ROM neither decrypts nor encrypts for anybody; nothing"
        f" starts past secure boot; {fuses.closed_too}.",
        _FINISH,
        commands=(efuses.burning("burn-efuse", *_pairs(fuses.closed)),),
        expected=_values(fuses.closed),
    )


def _protect(fuses: ChipFuses, efuses: Efuses) -> Step:
    return Step(
        Kind.BURN,
        "Protect what was burnt",
        "Nothing can be made unreadable any more: a digest that cannot be read would stop the chip for good. So would"
        " its cache switched off, which nobody can do any more either.",
        _FINISH,
        commands=(efuses.burning("write-protect-efuse", *fuses.protected),),
        expected=tuple(Expected(name, writeable=False) for name in fuses.protected),
    )


def _switch_on(fuses: ChipFuses, efuses: Efuses) -> Step:
    return Step(
        Kind.BURN,
        "Switch on flash encryption and secure boot",
        "With all bits of the counter burnt there is no way back to plain flash. From now on the chip decrypts what it"
        " reads and starts only what you have signed.",
        "It starts, or its download mode is open: repeat this command.",
        commands=(efuses.burning("burn-efuse", *_pairs(fuses.switched_on)),),
        expected=_values(fuses.switched_on),
    )


def _start(board: Board, port: str) -> Step:
    return Step(
        Kind.START,
        "Start the device and hear it answer",
        "The next step would make a device that does not start useless for ever. It is done only when this one, started"
        " from encrypted flash with secure boot, has answered.",
        "It starts. Repeat this command.",
        commands=(
            layout.restart_command(board, port),
            ("jiaozi", "device", "info", "--port", port),
        ),
    )


def _download(fuses: ChipFuses, efuses: Efuses) -> Step:
    return Step(
        Kind.BURN,
        fuses.download_title,
        f"{fuses.download_does} The eFuses can be read no more: there is nothing to repeat after this.",
        "It starts.",
        commands=(efuses.burning("burn-efuse", *_pairs(fuses.last)),),
        expected=_values(fuses.last),
        last=True,
    )


def _filled(command: tuple[str, ...], path: str) -> tuple[str, ...]:
    return tuple(word.format(path) for word in command)


def _purposes(purpose: Purpose | None) -> tuple[Expected, ...]:
    return (Expected(purpose.fuse, purpose.value, writeable=False, text=purpose.name),) if purpose else ()


def _pairs(values: dict[str, int]) -> tuple[str, ...]:
    return tuple(word for name, value in values.items() for word in (name, str(value)))


def _values(values: dict[str, int]) -> tuple[Expected, ...]:
    return tuple(Expected(name, value) for name, value in values.items())
