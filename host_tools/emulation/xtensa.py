"""Runs the native functions of a `.mpy` for Xtensa (xtensawin) on the host, as MicroPython on an ESP32 calls them.

    emulator = Xtensa(Path("field_xtensa.mpy").read_bytes())
    emulator.call("run", slots, octets, program, 0)  # bytearrays are changed in place
    emulator.instructions  # exactly what the chip would have executed

Every access must be aligned and inside an argument, an object of the firmware, or the part of the frame that the
function may use: anything else fails the call, and so do an instruction that `xtensa_translation` does not know, a
return with a0 or a1 changed, and any use of MicroPython's runtime but the conversion of arguments and results, which is
all that viper without globals and calls needs. Each call starts from the same registers. It must not know what it runs.

Not emulated: caches, flash, how long an instruction takes, interrupts, and register windows beyond the one frame.

Source: Xtensa Instruction Set Architecture Reference Manual, chapter 8 (windowed ABI); MicroPython's `py/objstr.h` and
`py/objarray.h` for the arguments, `py/objfun.h` and `py/bc.h` for the objects behind a function, `py/nativeglue.c`
(`mp_fun_table`, `mp_native_from_obj`) for the runtime.
"""

import hashlib
from array import array
from collections.abc import Callable
from itertools import zip_longest

from host_tools.emulation.rv32_memory import NONE, RUNTIME, EmulationError
from host_tools.emulation.xtensa_translation import Bus, Load, Piece, Store, TranslationError, entry, translate
from host_tools.machine_code import mpy

XTENSAWIN = 10  # architecture in the header

_INSTRUCTIONS_MAX = 30_000_000  # of one call: it will not end

# Every region begins at a multiple of this, and nothing is mapped behind its end.
_REGION_BITS = 20
_FRAME_REGION, _ARRAY_REGION, _OBJECT_REGIONS, _BUFFER_REGIONS = 0x3FE, 0x3F0, 0x3C0, 0x3D0
_FUNCTION_REGION, _CONTEXT_REGION, _TABLE_REGION, _RUNTIME_REGION = 0x3B0, 0x3B1, 0x3B2, 0x3B3
_SPILLED = 32  # octets at a frame's end, where register windows may be spilled at any time
_RETURN_ADDRESS = 0x8009_1234  # its two highest bits are the window increment of the caller's CALL8
_UNKNOWN = 0x7F00_0000  # whatever else has an address, but no contents here
_ARGUMENTS_MAX = 8
_SHIFT_AMOUNT = 31  # left by whatever ran before

_RUNTIME_ENTRIES = 128  # of the function table; MicroPython 1.28 has fewer than 100
_NATIVE_FROM_OBJECT, _OBJECT_FROM_NATIVE = 3, 4  # the two that are emulated
_INT, _POINTERS = 2, (4, 5, 6, 7)  # types for these two (`MP_NATIVE_TYPE_...`)

# An event of a trace is the offset of a piece in its function, or a memory access: direction, size, address.
_READ, _WRITE = 1 << 40, 2 << 40
_SIZE_SHIFT = 32


class Xtensa:
    """One module, for any number of calls.

    `instructions` and `runtime_calls` count over all calls since construction or `reset`: instructions of the module's
    code, and calls of the runtime, whose own instructions are not counted.
    """

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
        self._frame_sizes = {name: _frame_size(name, code) for name, code in self._functions.items()}
        self._firmware = _firmware(module.objects)
        self._pieces: dict[tuple[str, int], tuple[int, Piece]] = {}
        self._words: dict[int, memoryview] = {}
        self._octets: dict[int, memoryview] = {}
        self._writable: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Counts from zero again."""
        self.instructions = self.runtime_calls = 0

    def call(self, name: str, *arguments: bytes | bytearray | int) -> int | None:
        """Calls a function as MicroPython does; bytearrays are changed in place, also if the call fails.

        Gives the result, a small integer or None. Raises KeyError for an unknown name, EmulationError.
        """
        bus = Bus(self._load, self._store, self._load_octet, self._store_octet, self._serve)
        return self._call(name, arguments, bus, lambda _at: None)

    def trace(self, name: str, *arguments: bytes | bytearray | int) -> bytes:
        """Calls like `call`; a digest of `events`: the same for the same behaviour, whatever the data were."""
        return hashlib.blake2b(self.events(name, *arguments).tobytes(), digest_size=32).digest()

    def events(self, name: str, *arguments: bytes | bytearray | int) -> "array[int]":
        """Calls like `call`; where each piece of straight code begins, and direction, size and address of accesses.

        They come in order. Arguments of the same lengths get the same addresses.
        """
        events: array[int] = array("Q")

        def reading(size: int, load: Load) -> Load:
            def read(address: int) -> int:
                events.append(_READ | size << _SIZE_SHIFT | address)
                return load(address)

            return read

        def writing(size: int, store: Store) -> Store:
            def write(address: int, value: int) -> None:
                events.append(_WRITE | size << _SIZE_SHIFT | address)
                store(address, value)

            return write

        words = reading(4, self._load), writing(4, self._store)
        octets = reading(1, self._load_octet), writing(1, self._store_octet)
        self._call(name, arguments, Bus(*words, *octets, self._serve), events.append)
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
        bus: Bus,
        enter: Callable[[int], None],
    ) -> int | None:
        code, frame_size = self._functions[name], self._frame_sizes[name]
        registers = [0x5EED_0001 * number & 0xFFFFFFFF for number in range(16)] + [_SHIFT_AMOUNT]
        registers[:6] = [
            _RETURN_ADDRESS,
            (_FRAME_REGION << _REGION_BITS) + frame_size,
            _FUNCTION_REGION << _REGION_BITS,
            len(arguments),
            0,
            self._place(arguments, frame_size - _SPILLED),
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
                at = piece[1](registers, bus)
        except (EmulationError, TranslationError) as error:
            raise EmulationError(f"{name} + 0x{at:x}: {error}") from None
        if registers[:2] != [_RETURN_ADDRESS, _FRAME_REGION << _REGION_BITS]:
            raise EmulationError(f"{name}: a0 or a1 comes back changed")
        if registers[2] == NONE:
            return None
        if not registers[2] & 1:
            raise EmulationError(f"{name}: the result 0x{registers[2]:x} is not a small integer")
        return _integer(registers[2])

    def _serve(self, address: int, value: int, kind: int) -> int:
        """One call of the runtime."""
        self.runtime_calls += 1
        number, between = divmod(address - RUNTIME, 4)
        if between or number not in (_NATIVE_FROM_OBJECT, _OBJECT_FROM_NATIVE):
            raise EmulationError(f"call of 0x{address:x}, entry {number} of the function table: not emulated")
        if number == _NATIVE_FROM_OBJECT and kind in _POINTERS:
            region, offset = value >> _REGION_BITS, value & (1 << _REGION_BITS) - 1
            if offset or region not in range(_OBJECT_REGIONS, _OBJECT_REGIONS + _ARGUMENTS_MAX):
                raise EmulationError(f"0x{value:x} is not an object with a buffer")
            return self._words[region][3]
        if kind != _INT:
            raise EmulationError(f"native type {kind} is not emulated")
        if number == _OBJECT_FROM_NATIVE:
            if value >> 30 not in (0, 3):
                raise EmulationError(f"the result 0x{value:x} does not fit a small integer")
            return (value << 1 | 1) & 0xFFFFFFFF
        if not value & 1:
            raise EmulationError(f"0x{value:x} is not a small integer")
        return _integer(value) & 0xFFFFFFFF

    # --- memory

    def _place(self, arguments: tuple[bytes | bytearray | int, ...], frame_size: int) -> int:
        """Maps the firmware's objects, frame and arguments. Gives the address of the array of the arguments' objects.

        Raises ValueError, TypeError.
        """
        if len(arguments) > _ARGUMENTS_MAX:
            raise ValueError(f"{len(arguments)} arguments, {_ARGUMENTS_MAX} at most")
        for mapped in (self._words, self._octets, self._writable):
            mapped.clear()
        for region, contents in self._firmware.items():
            self._map(region, contents)
        self._map(_FRAME_REGION, bytearray(frame_size))
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
            self._writable.add(region)

    def _load(self, address: int) -> int:
        try:
            if not address & 3:
                return self._words[address >> _REGION_BITS][address >> 2 & 0x3FFFF]
        except (KeyError, IndexError):
            pass
        raise EmulationError(f"word read at 0x{address:x}")

    def _store(self, address: int, value: int) -> None:
        try:
            if not address & 3 and address >> _REGION_BITS in self._writable:
                self._words[address >> _REGION_BITS][address >> 2 & 0x3FFFF] = value
                return
        except (KeyError, IndexError):
            pass
        raise EmulationError(f"word written at 0x{address:x}")

    def _load_octet(self, address: int) -> int:
        try:
            return self._octets[address >> _REGION_BITS][address & 0xFFFFF]
        except (KeyError, IndexError):
            raise EmulationError(f"octet read at 0x{address:x}") from None

    def _store_octet(self, address: int, value: int) -> None:
        try:
            if address >> _REGION_BITS in self._writable:
                self._octets[address >> _REGION_BITS][address & 0xFFFFF] = value
                return
        except IndexError:
            pass
        raise EmulationError(f"octet written at 0x{address:x}")


def _frame_size(name: str, code: bytes) -> int:
    try:
        return entry(code)[1]
    except TranslationError as error:
        raise EmulationError(f"{name}: {error}") from None


def _firmware(objects: list[int]) -> dict[int, bytes]:
    """What viper code reads: function object -> context -> table of objects -> function table. Region -> contents.

    `objects`: the types of a module's objects.
    """
    runtime = _RUNTIME_REGION << _REGION_BITS
    functions = [RUNTIME + 4 * number for number in range(_RUNTIME_ENTRIES)]
    words = {
        _FUNCTION_REGION: [_UNKNOWN, _CONTEXT_REGION << _REGION_BITS, _UNKNOWN, _UNKNOWN],  # type, context, ...
        _CONTEXT_REGION: [_UNKNOWN, _UNKNOWN, _UNKNOWN, _TABLE_REGION << _REGION_BITS],  # type, globals, strings, ...
        _TABLE_REGION: [runtime if kind == mpy.FUNCTION_TABLE else _UNKNOWN for kind in objects],
        _RUNTIME_REGION: [NONE, _UNKNOWN, _UNKNOWN, *functions[3:]],  # None, False, True
    }
    return {region: _as_words(contents) for region, contents in words.items()}


def _integer(placed: int) -> int:
    """Value of a small integer's object."""
    return (placed >> 1) - (placed >> 31 << 31)


def _as_words(words: list[int]) -> bytes:
    return b"".join(word.to_bytes(4, "little") for word in words)


def _describe(event: int | None) -> str:
    if event is None:
        return "the end"
    if event < _READ:
        return f"piece at 0x{event:x}"
    direction = "write" if event & _WRITE else "read"
    return f"{direction} of {event >> _SIZE_SHIFT & 0xFF} octets at 0x{event & 0xFFFFFFFF:x}"
