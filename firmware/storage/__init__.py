"""What a device remembers: `journal` for money on raw flash, `settings` for keys and certificates in small files.

Stores bytes; what they mean is known elsewhere.
"""
