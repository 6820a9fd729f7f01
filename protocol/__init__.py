"""What both ends of a tap and both ends of a cable agree on: sans-IO, the same code on CPython and MicroPython."""
