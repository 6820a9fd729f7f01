"""Runs after boot.py: the application."""

try:
    # First: its tables and machine code want large pieces of memory, of which there are enough only now.
    import crypto.ed25519  # noqa: F401
    from start import run

    run()
finally:
    if "closed" in globals():  # by the boot.py of a device whose prompt its operator has closed (ports.esp32)
        import machine

        machine.reset()
