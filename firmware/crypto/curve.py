"""Edwards25519 (RFC 8032 section 5.1) as byte programs over the field machine of `backend`.

Owns the machine's memory: what stands in which slot, the programs, the tables of the base point. Knows points, scalars
and their 32-octet encodings; nothing of hashes, keys and signatures. What is led by a secret is a fixed program whose
only data-dependent step is SELECT; programs for public scalars are written by `windows_schedule` and `comb_schedule`.

Points are extended coordinates X, Y, Z, T with x = X/Z, y = Y/Z, xy = T/Z. A point to be added stands as an entry:
y + x, y - x, 2dxy of its affine coordinates, or Y + X, Y - X, 2dT, 2Z (Hisil, Wong, Carter and Dawson 2008, sections
3.1 and 3.3: complete, so right for every pair of points). Tables for a fixed point are signed combs (Hamburg 2012,
"Fast and compact elliptic-curve cryptography", section 3.3): two combs of five teeth 26 bits apart, each +1 or -1.

Programs and what runs them stand in one file because MicroPython folds the slots' names within a module only.
"""

from micropython import const

from crypto.backend import INVERTS, SLOT, comb_digits, comb_schedule, new_slots, run, windows_schedule
from crypto.program import Program

_SQR = const(2)
_SUB = const(4)
_STORE = const(7)
_SELECT = const(10)
_INVERT = const(11)

# Slots. The formulas' letters are those of the paper.
_X = const(0)
_Y = const(1)
_Z = const(2)
_T = const(3)
_A = const(4)
_B = const(5)
_C = const(6)
_D = const(7)
_E = const(8)
_F = const(9)
_G = const(10)
_H = const(11)
_ENTRY = const(16)  # 16 to 19: fixed by the machine
# 20 to 23 are the backend's own
_BASE = const(24)  # the power chain's, up to 28: of what, and steps
_POWER_11 = const(25)
_POWER = const(26)
_POWER_2 = const(27)
_POWER_3 = const(28)
_SCRATCH_END = const(29)  # up to here secrets may stand
_ZERO = const(29)
_ONE = const(30)
_CURVE_D = const(31)
_TWICE_D = const(32)
_ROOT = const(33)  # of -1
_SAVED = const(34)  # 34 to 37: a point
_TEMPORARY = const(38)  # while tables are built: _BATCH slots
_BATCH = const(17)
_KEY_TABLE = const(55)  # 8 entries of 4 for a key seen once, or _COMB_ENTRIES and itself of 3 for a prepared one
_BASE_TABLE = const(154)  # of B: combs, and B, 3 B .. 31 B
_ODD_TABLE = const(250)
_SLOTS = const(298)

_WINDOW_ENTRIES = const(8)
_ODD_ENTRIES = const(16)
_COMBS = const(2)
_SPACING = const(26)
_HALF = const(16)  # entries of one comb: its highest tooth is +1, the four others are either
_COMB_ENTRIES = const(32)
_COMB_SLOTS = const(96)
_DIGITS = const(52)

# Octet strings
_IN = const(0)
_OUT_X = const(1)
_OUT_Y = const(2)
_OUT_MINUS = const(3)
_OUT_PLUS = const(4)
_OUT_OTHER_X = const(5)
_SELECT_DIGITS = const(256)  # fixed by the machine
_DIGIT_STRING = const(8)  # 52 digits stand in this one and the next
_OCTETS = const(320)

_FIXED_INSTRUCTIONS = const(421)
_SCHEDULE_INSTRUCTIONS = const(380)  # what the schedules ask for; building a table takes less

_L = (2**252 + 27742317777372353535851937790883648493).to_bytes(32, "little")
_ONE_OCTETS = b"\1" + bytes(31)
_NOTHING = bytes(32)
# RFC 8032 section 5.1: d of the curve, the square root of -1, the base point
_CURVE_CONSTANTS = (
    (_ONE, 1),
    (_CURVE_D, 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3),
    (_ROOT, 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0),
    (_X, 0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A),
    (_Y, 0x6666666666666666666666666666666666666666666666666666666666666658),
)


class _FixedPrograms(Program):
    """Writes what stays the same, and knows where each piece begins: `..._at`.

    Routines do without the sum's T: E and H are left for whoever needs T = E H.
    """

    def __init__(self) -> None:
        Program.__init__(self, bytearray(4 * _FIXED_INSTRUCTIONS), 0)
        self._write_routines()
        self._write_programs()
        self.code = self.code[: 4 * self.at] + bytes(4 * _SCHEDULE_INSTRUCTIONS)  # native code never asks for the room

    def sqr(self, to: int, a: int, times: int = 1) -> None:
        self.write(_SQR, to, a, times)

    def sub(self, to: int, a: int, b: int) -> None:
        self.write(_SUB, to, a, b)

    def store(self, octets: int, slot: int) -> None:
        self.write(_STORE, octets, slot, 0)

    def select(self, digit: int, table: int) -> None:
        """The entry that digit number `digit` says, in constant time."""
        self.write_far(_SELECT, digit, table)

    def _write_routines(self) -> None:
        self.double_at = self.at
        self.sqr(_A, _X)
        self.sqr(_B, _Y)
        self.sqr(_C, _Z)
        self.add(_C, _C, _C)
        self.add(_D, _X, _Y)
        self.sqr(_D, _D)
        self.add(_H, _A, _B)
        self.sub(_E, _H, _D)
        self.sub(_G, _A, _B)
        self.add(_F, _C, _G)
        self._end_sum()
        self.add_at = self._write_addition(_ENTRY, _ENTRY + 1, _F, _G, True)
        self.subtract_at = self._write_addition(_ENTRY + 1, _ENTRY, _G, _F, True)
        self.add_full_at = self._write_addition(_ENTRY, _ENTRY + 1, _F, _G, False)
        self.subtract_full_at = self._write_addition(_ENTRY + 1, _ENTRY, _G, _F, False)
        self.make_entry_at = self.at  # of the current point, four slots
        self.add(_ENTRY, _Y, _X)
        self.sub(_ENTRY + 1, _Y, _X)
        self.mul(_ENTRY + 2, _T, _TWICE_D)
        self.add(_ENTRY + 3, _Z, _Z)
        self.end()
        self._write_chain()
        self._write_affine_entry()

    def _end_sum(self) -> None:
        self.mul(_X, _E, _F)
        self.mul(_Y, _G, _H)
        self.mul(_Z, _F, _G)
        self.end()

    def _write_addition(self, plus: int, minus: int, difference: int, total: int, affine: bool) -> int:
        """P + entry; or P - entry, with the entry's first two exchanged, and F and G."""
        start = self.at
        self.sub(_A, _Y, _X)
        self.mul(_A, _A, minus)
        self.add(_B, _Y, _X)
        self.mul(_B, _B, plus)
        self.mul(_C, _T, _ENTRY + 2)
        if affine:
            self.add(_D, _Z, _Z)
        else:
            self.mul(_D, _Z, _ENTRY + 3)
        self.sub(_E, _B, _A)
        self.add(_H, _B, _A)
        self.sub(difference, _D, _C)
        self.add(total, _D, _C)
        self._end_sum()
        return start

    def _write_chain(self) -> None:
        """_POWER = _BASE ** (2 ** 250 - 1) and _POWER_11 = _BASE ** 11, with which roots and inverses begin."""
        self.chain_at = self.at
        self.sqr(_POWER_11, _BASE)
        self.sqr(_POWER, _POWER_11, 2)
        self.mul(_POWER, _POWER, _BASE)  # 9
        self.mul(_POWER_11, _POWER_11, _POWER)
        self.sqr(_POWER_2, _POWER_11)
        self.mul(_POWER, _POWER, _POWER_2)  # 2 ** 5 - 1
        self._lengthen(_POWER, _POWER, 5)
        self._lengthen(_POWER_2, _POWER, 10)
        self._lengthen(_POWER_2, _POWER_2, 20)  # 2 ** 40 - 1
        self.sqr(_POWER_2, _POWER_2, 10)
        self.mul(_POWER, _POWER, _POWER_2)
        self._lengthen(_POWER_2, _POWER, 50)
        self._lengthen(_POWER_2, _POWER_2, 100)  # 2 ** 200 - 1
        self.sqr(_POWER_2, _POWER_2, 50)
        self.mul(_POWER, _POWER, _POWER_2)
        self.end()

    def _lengthen(self, to: int, ones: int, bits: int) -> None:
        """From the exponent 2 ** bits - 1 to 2 ** (2 * bits) - 1."""
        self.sqr(_POWER_3, ones, bits)
        self.mul(to, _POWER_3, ones)

    def _write_affine_entry(self) -> None:
        """From X and Y in _ENTRY and 1/Z in _BASE to an entry of three, canonical as SELECT wants it."""
        self.affine_entry_at = self.at
        self.mul(_X, _ENTRY, _BASE)
        self.mul(_Y, _ENTRY + 1, _BASE)
        self.add(_ENTRY, _Y, _X)
        self.sub(_ENTRY + 1, _Y, _X)
        self.mul(_ENTRY + 2, _X, _Y)
        self.mul(_ENTRY + 2, _ENTRY + 2, _TWICE_D)
        for slot in range(_ENTRY, _ENTRY + 3):
            self.store(_IN, slot)
            self.load(slot, _IN)
        self.end()

    # --- programs

    def _write_programs(self) -> None:
        self.neutral_at = self.at
        self._write_neutral()
        self.end()
        self.multiply_base_at = self.at
        self._write_multiply_base()  # and goes on
        self.encode_at = self.at
        self._write_inverse(_Z)
        self.mul(_A, _X, _BASE)
        self.mul(_B, _Y, _BASE)
        self.store(_OUT_X, _A)
        self.store(_OUT_Y, _B)
        self.end()
        self.wipe_at = self.at
        self.mul(_A, _ZERO, _ZERO)  # native code that keeps its work on the stack has it in the same place
        self.store(_DIGIT_STRING, _ZERO)  # what else stands among the octets is the result
        self.store(_DIGIT_STRING + 1, _ZERO)
        for slot in range(_SCRATCH_END):
            self.add(slot, _ZERO, _ZERO)
        self.end()
        self.invert_at = self.at
        self._write_inverse(_A)
        self.end()
        self._write_decode()
        self._write_make_window()

    def _write_neutral(self) -> None:
        self.add(_X, _ZERO, _ZERO)
        self.add(_Y, _ONE, _ZERO)
        self.add(_Z, _ONE, _ZERO)
        self.add(_T, _ZERO, _ZERO)

    def _write_multiply_base(self) -> None:
        self._write_neutral()
        for row in range(_SPACING - 1, -1, -1):
            for comb in range(_COMBS):
                if row < _SPACING - 1 or comb:
                    if not comb:
                        self.call(self.double_at)
                    self.mul(_T, _E, _H)
                self.select(_COMBS * row + comb, _BASE_TABLE + 3 * _HALF * comb)
                self.call(self.add_at)

    def _write_inverse(self, of: int) -> None:
        """_BASE = 1 / `of`, 0 for 0. Fermat: p - 2 = 2 ** 255 - 21 = (2 ** 250 - 1) * 2 ** 5 + 11."""
        if INVERTS:
            self.write(_INVERT, _BASE, of, 0)
        else:
            self.add(_BASE, of, _ZERO)
            self.call(self.chain_at)
            self.sqr(_POWER, _POWER, 5)
            self.mul(_BASE, _POWER, _POWER_11)

    def _write_decode(self) -> None:
        """RFC 8032 section 5.1.3 steps 2 and 3: x = u v^3 (u v^7)^((p - 5) / 8), or that times the root of -1."""
        self.decode_at = self.at
        self.load(_Y, _IN)
        self.sqr(_A, _Y)
        self.mul(_B, _A, _CURVE_D)
        self.sub(_A, _A, _ONE)  # u
        self.add(_B, _B, _ONE)  # v
        self.sqr(_C, _B)
        self.mul(_C, _C, _B)  # v^3
        self.sqr(_D, _C)
        self.mul(_D, _D, _B)
        self.mul(_BASE, _D, _A)  # u v^7
        self.call(self.chain_at)
        self.sqr(_POWER, _POWER, 2)
        self.mul(_POWER, _POWER, _BASE)  # to the power 2 ** 252 - 3
        self.mul(_X, _A, _C)
        self.mul(_X, _X, _POWER)
        self.store(_OUT_X, _X)
        self.sqr(_C, _X)
        self.mul(_C, _C, _B)  # v x^2: u, -u, or there is no root
        self.sub(_D, _C, _A)
        self.store(_OUT_MINUS, _D)
        self.add(_D, _C, _A)
        self.store(_OUT_PLUS, _D)
        self.mul(_D, _X, _ROOT)
        self.store(_OUT_OTHER_X, _D)
        self.end()
        self.use_minus_x_at = self.at
        self.load(_X, _IN)
        self.sub(_X, _ZERO, _X)
        self._write_from_affine()
        self.use_x_at = self.at
        self.load(_X, _IN)
        self.from_affine_at = self.at
        self._write_from_affine()

    def _write_from_affine(self) -> None:
        self.add(_Z, _ONE, _ZERO)
        self.mul(_T, _X, _Y)
        self.end()

    def _write_make_window(self) -> None:
        """P, 3 P .. 15 P as entries of four; 2 P waits in the last one's place."""
        self.make_window_at = self.at
        step = _KEY_TABLE + 4 * (_WINDOW_ENTRIES - 1)
        self.call(self.make_entry_at)
        self.put(4, _KEY_TABLE)
        self.call(self.double_at)
        self.mul(_T, _E, _H)
        self.call(self.make_entry_at)
        self.put(4, step)
        self.pick(4, _KEY_TABLE)
        for entry in range(1, _WINDOW_ENTRIES):
            if entry > 1:
                self.pick(4, step)
            self.call(self.add_full_at)
            self.mul(_T, _E, _H)
            self.call(self.make_entry_at)
            self.put(4, _KEY_TABLE + 4 * entry)
        self.end()

    def template(self, entry_slots: int, add: int, subtract: int, base_table: int) -> bytearray:
        """The instructions that a schedule repeats, in the order that `schedule_int` tells."""
        start = self.at
        self.call(self.double_at, 0)
        self.mul(_T, _E, _H)
        self.pick(entry_slots, _KEY_TABLE)
        self.call(add)
        self.call(subtract)
        self.pick(3, base_table)
        self.call(self.add_at)
        self.call(self.subtract_at)
        self.pick(3, _KEY_TABLE + _COMB_SLOTS)
        words = self.code[4 * start : 4 * self.at]
        self.at = start
        return words


class Curve:
    """The machine with its tables, about 15 KB. One piece of work at a time: all of it goes through the same slots."""

    def __init__(self, fixed: _FixedPrograms) -> None:
        self._slots = new_slots(_SLOTS)
        self._octets = bytearray(_OCTETS)
        self._key_digits = bytearray(2 * _DIGITS)
        self._double = fixed.double_at
        self._add_full = fixed.add_full_at
        self._subtract_full = fixed.subtract_full_at
        self._make_entry = fixed.make_entry_at
        self._affine_entry = fixed.affine_entry_at
        self._neutral = fixed.neutral_at
        self._multiply_base = fixed.multiply_base_at
        self._encode = fixed.encode_at
        self._wipe = fixed.wipe_at
        self._invert = fixed.invert_at
        self._decode = fixed.decode_at
        self._use_minus_x = fixed.use_minus_x_at
        self._use_x = fixed.use_x_at
        self._make_window = fixed.make_window_at
        self._schedule = fixed.at  # from here on it is written anew for every piece of work
        self._program = Program(fixed.code, fixed.at)
        self._windows = fixed.template(4, fixed.add_full_at, fixed.subtract_full_at, _ODD_TABLE)
        self._combs = fixed.template(3, fixed.add_at, fixed.subtract_at, _BASE_TABLE)
        for slot, value in _CURVE_CONSTANTS:
            self._octets[:32] = value.to_bytes(32, "little")
            self._begin()
            self._program.load(slot, _IN)
            self._run_once()
        self._begin()
        self._program.add(_TWICE_D, _CURVE_D, _CURVE_D)
        self._run_once()
        self._run(fixed.from_affine_at)
        self._build_base_tables()

    # --- what signatures need

    def multiply_base(self, scalar: bytearray) -> bytearray:
        """The encoding of `scalar` * B for a 32-octet scalar below L, in constant time. `wipe` afterwards."""
        comb_digits(self._octets, _SELECT_DIGITS, scalar, _L)
        self._run(self._multiply_base)
        return self._encoding()

    def load_negated(self, encoded: bytes | bytearray) -> bool:
        """Makes minus the point of a canonical 32-octet encoding the current one; False if no point is encoded.

        RFC 8032 section 5.1.3, but for x = 0 with its sign bit set: the caller refuses those points as of small order.
        """
        octets = self._octets
        octets[:32] = encoded
        octets[31] &= 0x7F
        self._run(self._decode)
        at = 32 * _OUT_X
        if octets[32 * _OUT_MINUS : 32 * _OUT_MINUS + 32] != _NOTHING:
            if octets[32 * _OUT_PLUS : 32 * _OUT_PLUS + 32] != _NOTHING:
                return False
            at = 32 * _OUT_OTHER_X
        same = octets[at] & 1 == encoded[31] >> 7
        octets[:32] = octets[at : at + 32]
        self._run(self._use_minus_x if same else self._use_x)
        return True

    def encode_sum(self, key_scalar: bytearray, base_scalar: bytes | bytearray) -> bytearray:
        """The encoding of `key_scalar` * (current point) + `base_scalar` * B; 32 octets, both below L and public."""
        self._run(self._make_window)
        start = windows_schedule(self._program.code, self._schedule, self._windows, key_scalar, base_scalar)
        return self._run_schedule(start)

    def prepare(self):  # -> what the machine's slots are
        """The current point's table for `encode_sum_prepared`, about 3 KB, opaque."""
        self._begin()
        self._save_point(_KEY_TABLE + _COMB_SLOTS)
        self._run_once()
        self._build_combs()
        self._make_affine(_KEY_TABLE, _COMB_ENTRIES + 1)
        return self._slots[_KEY_TABLE * SLOT : _BASE_TABLE * SLOT]

    def encode_sum_prepared(self, table, key_scalar: bytearray, base_scalar: bytes | bytearray) -> bytearray:
        """As `encode_sum`, for the point that `table` was made of."""
        self._slots[_KEY_TABLE * SLOT : _BASE_TABLE * SLOT] = table
        digits = self._key_digits
        comb_digits(digits, 0, key_scalar, _ONE_OCTETS)
        comb_digits(digits, _DIGITS, base_scalar, _L)
        start = comb_schedule(self._program.code, self._schedule, self._combs, digits, key_scalar)
        return self._run_schedule(start)

    def wipe(self) -> None:
        """Overwrites whatever a secret scalar has left in the machine; asks for no memory."""
        self._run(self._wipe)

    # --- the machine

    def _run(self, start: int) -> None:
        run(self._slots, self._octets, self._program.code, start)

    def _begin(self) -> None:
        """A program for once, in the schedule's place."""
        self._program.at = self._schedule

    def _run_once(self) -> None:
        self._program.end()
        self._run(self._schedule)

    def _run_schedule(self, start: int) -> bytearray:
        slots = self._slots
        octets = self._octets
        code = self._program.code
        run(slots, octets, code, self._neutral)
        run(slots, octets, code, start)
        run(slots, octets, code, self._encode)
        return self._encoding()

    def _encoding(self) -> bytearray:
        """RFC 8032 section 5.1.2."""
        octets = self._octets
        encoded = octets[32 * _OUT_Y : 32 * _OUT_Y + 32]
        encoded[31] |= (octets[32 * _OUT_X] & 1) << 7
        return encoded

    # --- tables of affine entries: first X, Y, Z of each point, then all inverted together

    def _build_base_tables(self) -> None:
        """Those of B, which is the current point."""
        slots = self._slots
        program = self._program
        self._begin()
        self._save_point(_ODD_TABLE)
        self._run_once()
        self._build_combs()
        self._make_affine(_KEY_TABLE, _COMB_ENTRIES)
        slots[_BASE_TABLE * SLOT : _ODD_TABLE * SLOT] = slots[_KEY_TABLE * SLOT : (_KEY_TABLE + _COMB_SLOTS) * SLOT]
        self._begin()
        program.pick(3, _ODD_TABLE)
        for coordinate in range(3):
            program.add(coordinate, _ENTRY + coordinate, _ZERO)
        program.mul(_T, _X, _Y)
        self._put_entry(_TEMPORARY)
        self._double_point(1)
        self._put_entry(_TEMPORARY + 4)
        program.pick(4, _TEMPORARY)
        for entry in range(1, _ODD_ENTRIES):
            if entry > 1:
                program.pick(4, _TEMPORARY + 4)
            self._step(self._add_full)
            self._save_point(_ODD_TABLE + 3 * entry)
        self._run_once()
        self._make_affine(_ODD_TABLE, _ODD_ENTRIES)

    def _build_combs(self) -> None:
        """The combs of the current point in _KEY_TABLE.

        Entry n of a comb with the teeth Q0 .. Q4 is Q4 plus, for i below 4, Qi where bit i of n is set and minus Qi
        where it is not. From one to the next in Gray's order is one step of 2 Qi.
        """
        program = self._program
        for comb in range(_COMBS):
            first = _KEY_TABLE + 3 * _HALF * comb
            teeth = first + 32  # where the last entries will stand
            self._begin()
            for tooth in range(4):
                self._put_entry(teeth + 4 * tooth)
                self._double_point(1)
                self._put_entry(_TEMPORARY + 4 * tooth)
                self._double_point(_SPACING - 1)
            for coordinate in range(4):
                program.add(_SAVED + coordinate, coordinate, _ZERO)
            for tooth in range(4):
                program.pick(4, teeth + 4 * tooth)
                self._step(self._subtract_full)
            self._save_point(first)
            last = 0
            for number in range(1, _HALF):
                entry = number ^ number >> 1
                flipped = entry ^ last
                tooth = (flipped > 1) + (flipped > 2) + (flipped > 4)
                program.pick(4, _TEMPORARY + 4 * tooth)
                self._step(self._add_full if entry & flipped else self._subtract_full)
                self._save_point(first + 3 * entry)
                last = entry
            for coordinate in range(4):
                program.add(coordinate, _SAVED + coordinate, _ZERO)
            self._double_point(_SPACING)
            self._run_once()

    def _make_affine(self, table: int, count: int) -> None:
        """Turns `count` saved points into entries, with one inversion for a batch (Montgomery 1987, section 10.3.1)."""
        program = self._program
        while count:
            batch = min(count, _BATCH)
            self._begin()
            program.add(_A, _ONE, _ZERO)
            for entry in range(batch):
                program.pick(3, table + 3 * entry)
                program.add(_TEMPORARY + entry, _A, _ZERO)
                program.mul(_A, _A, _ENTRY + 2)
            self._run_once()
            self._run(self._invert)
            self._begin()
            program.add(_A, _BASE, _ZERO)
            for entry in range(batch - 1, -1, -1):
                program.pick(3, table + 3 * entry)
                program.mul(_BASE, _A, _TEMPORARY + entry)
                program.mul(_A, _A, _ENTRY + 2)
                program.call(self._affine_entry)
                program.put(3, table + 3 * entry)
            self._run_once()
            table += 3 * batch
            count -= batch

    def _put_entry(self, slot: int) -> None:
        self._program.call(self._make_entry)
        self._program.put(4, slot)

    def _double_point(self, times: int) -> None:
        self._program.call(self._double, times)
        self._program.mul(_T, _E, _H)

    def _step(self, routine: int) -> None:
        self._program.call(routine)
        self._program.mul(_T, _E, _H)

    def _save_point(self, slot: int) -> None:
        for coordinate in range(3):
            self._program.add(_ENTRY + coordinate, coordinate, _ZERO)
        self._program.put(3, slot)


curve = Curve(_FixedPrograms())
# They are written, and what wrote them is not needed again: 4 KB of the heap.
del _FixedPrograms
