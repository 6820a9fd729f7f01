"""What computes on this chip: the field machine, scalars modulo L, and the blocks of SHA-512, always the same names.

Chosen by the native code that this MicroPython loads (`sys.implementation._mpy`, bits 10 to 13; docs.micropython.org,
"MicroPython .mpy files"). A wrong choice could not be caught: native code is run as it is.
"""

import sys

_architecture = getattr(sys.implementation, "_mpy", 0) >> 10 & 0xF

if _architecture == 0:
    from crypto.field_int import INVERTS, SLOT, run
    from crypto.scalar_int import multiply_add, reduce
    from crypto.schedule_int import comb_digits, comb_schedule, windows_schedule
    from crypto.sha512_int import CONSTANTS, hash_blocks
else:
    from crypto.scalar_viper import multiply_add, reduce
    from crypto.schedule_viper import comb_digits, comb_schedule, windows_schedule

    if _architecture == 11:  # rv32imc
        from crypto.field_rv32 import INVERTS, SLOT, run
        from crypto.sha512_rv32 import CONSTANTS, hash_blocks
    elif _architecture == 10:  # xtensawin
        from crypto.field_xtensa import INVERTS, SLOT, run
        from crypto.sha512_xtensa import CONSTANTS, hash_blocks
    else:
        from crypto.field_viper import INVERTS, SLOT, run
        from crypto.sha512_viper import CONSTANTS, hash_blocks


def new_slots(count: int):
    """Memory of the field machine for `count` field elements, all 0: integers for plain integers, octets else."""
    return bytearray(SLOT * count) if _architecture else [0] * count
