"""Cryptography on the device: Ed25519 and the SHA-512 under it. Knows bytes and numbers, nothing of payments."""
