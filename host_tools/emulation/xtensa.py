"""Runs the assembler functions of a `.mpy` for Xtensa (xtensawin) on the host, as MicroPython on an ESP32 calls them.

    emulator = Xtensa(Path("field_xtensa.mpy").read_bytes())
    emulator.call("run", slots, octets, program, 0)  # bytearrays are changed in place
    emulator.instructions  # exactly what the chip would have executed

Every access must be aligned and inside an argument, its object or the 16 octets of the frame that a leaf function may
use: anything else fails the call, and so do an instruction that `xtensa_translation` does not know and a return with a0
or a1 changed. Each call starts from the same registers. It must not know what it runs.

Not emulated: caches, flash, how long an instruction takes, interrupts, and register windows beyond the one frame.

Source: Xtensa Instruction Set Architecture Reference Manual, chapter 8 (windowed ABI); MicroPython's `py/objstr.h` and
`py/objarray.h` for the arguments.
"""

import hashlib
from array import array
from collections.abc import Callable
from itertools import zip_longest

from host_tools.emulation.rv32_memory import EmulationError
from host_tools.emulation.xtensa_translation import Load, Piece, Store, TranslationError, translate
from host_tools.machine_code import mpy

XTENSAWIN = 10  # architecture in the header

_INSTRUCTIONS_MAX = 30_000_000  # of one call: it will not end

# Every region begins at a multiple of this, and nothing is mapped behind its end.
_REGION_BITS = 20
_FRAME_REGION, _ARRAY_REGION, _OBJECT_REGIONS, _BUFFER_REGIONS = 0x3FE, 0x3F0, 0x3C0, 0x3D0
_FRAME_SIZE = 48  # of which the lowest 16 octets are usable
_FRAME_USABLE = 16
_RETURN_ADDRESS = 0x8009_1234  # its two highest bits are the window increment of the caller's CALL8
_UNKNOWN = 0x7F00_0000  # whatever else has an address, but no contents here
_ARGUMENTS_MAX = 8
_SHIFT_AMOUNT = 31  # left by whatever ran before

# An event of a trace is the offset of a piece in its function, or a memory access: direction, size, address.
_READ, _WRITE = 1 << 40, 2 << 40
_SIZE_SHIFT = 32


class Xtensa:
    """One module, for any number of calls. `instructions` counts over all of them since construction or `reset`."""

    def __init__(self, data: bytes) -> None:
        """`data`: a `.mpy` for xtensawin with the native convention. Raises MpyError, EmulationError."""
        module = mpy.read_module(data)
        if module.architecture != XTENSAWIN:
            raise EmulationError(f"made for architecture {module.architecture}, not for xtensawin")
        functions = mpy.native_functions(data)
        if any(function.kind == mpy.ASM for function in functions.values()):
            raise EmulationError(
                "assembler functions: stock firmware runs them only converted to the native convention"
            )
        self._functions = {name: function.code for name, function in functions.items()}
        self._pieces: dict[tuple[str, int], tuple[int, Piece]] = {}
        self._words: dict[int, memoryview] = {}
        self._octets: dict[int, memoryview] = {}
        self._writable: dict[int, memoryview] = {}
        self.reset()

    def reset(self) -> None:
        """Counts from zero again."""
        self.instructions = 0

    def call(self, name: str, *arguments: bytes | bytearray | int) -> int:
        """Calls a function as MicroPython does; bytearrays are changed in place, also if the call fails.

        Gives the result, a small integer. Raises KeyError for an unknown name, EmulationError.
        """
        return self._call(name, arguments, self._load, self._store, self._load_octet, lambda _at: None)

    def trace(self, name: str, *arguments: bytes | bytearray | int) -> bytes:
        """Calls like `call`; a digest of `events`: the same for the same behaviour, whatever the data were."""
        return hashlib.blake2b(self.events(name, *arguments).tobytes(), digest_size=32).digest()

    def events(self, name: str, *arguments: bytes | bytearray | int) -> "array[int]":
        """Calls like `call`; where each piece of straight code begins, and direction, size and address of accesses.

        They come in order. Arguments of the same lengths get the same addresses.
        """
        events: array[int] = array("Q")

        def load(address: int) -> int:
            events.append(_READ | 4 << _SIZE_SHIFT | address)
            return self._load(address)

        def store(address: int, value: int) -> None:
            events.append(_WRITE | 4 << _SIZE_SHIFT | address)
            self._store(address, value)

        def load_octet(address: int) -> int:
            events.append(_READ | 1 << _SIZE_SHIFT | address)
            return self._load_octet(address)

        self._call(name, arguments, load, store, load_octet, events.append)
        return events

    def first_difference(
        self, name: str, one: tuple[bytes | bytearray | int, ...], other: tuple[bytes | bytearray | int, ...]
    ) -> str | None:
        """Calls with one and with the other arguments and says where the traces part; None if they are the same."""
        pairs = zip_longest(self.events(name, *one), self.events(name, *other))
        for number, (left, right) in enumerate(pairs):
            if left != right:
                return f"event {number}: {_describe(left)} against {_describe(right)}"
        return None

    def frame(self) -> bytes:
        """The usable octets of the frame as the last call left them."""
        return bytes(self._octets[_FRAME_REGION])

    def _call(
        self,
        name: str,
        arguments: tuple[bytes | bytearray | int, ...],
        load: Load,
        store: Store,
        load_octet: Load,
        enter: Callable[[int], None],
    ) -> int:
        code = self._functions[name]
        registers = [0x5EED_0001 * number & 0xFFFFFFFF for number in range(16)] + [_SHIFT_AMOUNT]
        registers[:6] = [
            _RETURN_ADDRESS,
            (_FRAME_REGION << _REGION_BITS) + _FRAME_SIZE,
            _UNKNOWN,
            len(arguments),
            0,
            self._place(arguments),
        ]
        at, limit = 0, self.instructions + _INSTRUCTIONS_MAX
        try:
            while at >= 0:
                piece = self._pieces.get((name, at))
                if piece is None:
                    piece = self._pieces[name, at] = translate(code, at)
                enter(at)
                self.instructions += piece[0]
                if self.instructions > limit:
                    raise EmulationError(f"more than {_INSTRUCTIONS_MAX} instructions")
                at = piece[1](registers, load, store, load_octet)
        except (EmulationError, TranslationError) as error:
            raise EmulationError(f"{name} + 0x{at:x}: {error}") from None
        if registers[:2] != [_RETURN_ADDRESS, _FRAME_REGION << _REGION_BITS]:
            raise EmulationError(f"{name}: a0 or a1 comes back changed")
        if not registers[2] & 1:
            raise EmulationError(f"{name}: the result 0x{registers[2]:x} is not a small integer")
        return (registers[2] >> 1) - (registers[2] >> 31 << 31)

    # --- memory

    def _place(self, arguments: tuple[bytes | bytearray | int, ...]) -> int:
        """Maps frame and arguments. Gives the address of the array of their objects. Raises ValueError, TypeError."""
        if len(arguments) > _ARGUMENTS_MAX:
            raise ValueError(f"{len(arguments)} arguments, {_ARGUMENTS_MAX} at most")
        for mapped in (self._words, self._octets, self._writable):
            mapped.clear()
        self._map(_FRAME_REGION, bytearray(_FRAME_USABLE))
        placed: dict[int, int] = {}
        for number, argument in enumerate(arguments):
            if id(argument) not in placed:
                placed[id(argument)] = self._place_one(number, argument)
        self._map(_ARRAY_REGION, _as_words([placed[id(argument)] for argument in arguments]))
        return _ARRAY_REGION << _REGION_BITS

    def _place_one(self, number: int, argument: bytes | bytearray | int) -> int:
        if type(argument) is int:
            if not -(1 << 30) <= argument < 1 << 30:
                raise ValueError(f"argument {number} is not a small integer")
            return (argument << 1 | 1) & 0xFFFFFFFF
        if not isinstance(argument, bytes | bytearray):
            raise TypeError(f"argument {number} is {type(argument).__name__}, not bytes, bytearray or int")
        buffer = _BUFFER_REGIONS + number
        self._map(buffer, argument)
        self._map(_OBJECT_REGIONS + number, _as_words([_UNKNOWN, _UNKNOWN, len(argument), buffer << _REGION_BITS]))
        return _OBJECT_REGIONS + number << _REGION_BITS

    def _map(self, region: int, contents: bytes | bytearray) -> None:
        if len(contents) > 1 << _REGION_BITS:
            raise ValueError(f"{len(contents)} octets in one buffer")
        self._octets[region] = memoryview(contents)
        self._words[region] = memoryview(contents)[: len(contents) // 4 * 4].cast("I")
        if isinstance(contents, bytearray):
            self._writable[region] = self._words[region]

    def _load(self, address: int) -> int:
        try:
            if not address & 3:
                return self._words[address >> _REGION_BITS][address >> 2 & 0x3FFFF]
        except (KeyError, IndexError):
            pass
        raise EmulationError(f"word read at 0x{address:x}")

    def _store(self, address: int, value: int) -> None:
        try:
            if not address & 3:
                self._writable[address >> _REGION_BITS][address >> 2 & 0x3FFFF] = value
                return
        except (KeyError, IndexError):
            pass
        raise EmulationError(f"word written at 0x{address:x}")

    def _load_octet(self, address: int) -> int:
        try:
            return self._octets[address >> _REGION_BITS][address & 0xFFFFF]
        except (KeyError, IndexError):
            raise EmulationError(f"octet read at 0x{address:x}") from None


def _as_words(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


def _describe(event: int | None) -> str:
    if event is None:
        return "the end"
    if event < _READ:
        return f"piece at 0x{event:x}"
    direction = "write" if event & _WRITE else "read"
    return f"{direction} of {event >> _SIZE_SHIFT & 0xFF} octets at 0x{event & 0xFFFFFFFF:x}"
