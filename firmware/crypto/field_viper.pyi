"""What each generated field machine offers (`host_tools.machine_code.modules`); `field_int.run` says what it does."""

SLOT: int  # bytes a slot
INVERTS: bool  # whether programs may hold INVERT

# Slots are what `backend.new_slots` made: here always a bytearray, but its type cannot know.
def run(slots: bytearray | list[int], octets: bytearray, program: bytearray, start: int) -> int: ...
