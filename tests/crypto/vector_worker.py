"""Does jobs with one implementation of Ed25519 and SHA-512. Runs on CPython and, as a script, on MicroPython.

A job is an operation and its arguments in octets, an answer octets; a ValueError is an answer, too. From job to job the
arguments change between bytes, bytearray and memoryview, and none may be written to.

    Worker(ed25519, sha512).answer("verify", [public, message, signature]) == b"\\1"
    micropython vector_worker.py <file with a job in every line> <native or plain>
"""

import sys


def _as_memoryview(value):
    return memoryview(value)


def _inside(value):
    """A view that neither begins nor ends where its memory does."""
    return memoryview(bytearray(b"\xa5" + value + b"\xa5"))[1:-1]


_KINDS = (bytes, bytearray, _as_memoryview, _inside)


class _ChosenDigests:
    """In place of the hash: gives the digests that a test wants, in the order in which they are asked for."""

    def __init__(self, digests):
        self._digests = [digests[start : start + 64] for start in range(0, len(digests), 64)]

    def digest_into(self, out, *parts):
        out[:64] = self._digests.pop(0)


def _verdict(accepted):
    return b"\1" if accepted is True else b"\0" if accepted is False else b"not a bool"


class Worker:
    """`ed25519` and `sha512` are the firmware's modules of these names, with whatever computes under them."""

    def __init__(self, ed25519, sha512):
        self._ed25519 = ed25519
        self._sha512 = sha512
        self._signing_keys = {}  # the last one
        self._prepared_keys = []  # the last two, so that jobs can go back and forth between them
        self._count = 0

    def answer(self, operation, values):
        self._count += 1
        kind = _KINDS[self._count % len(_KINDS)]
        arguments = [kind(value) for value in values]
        try:
            result = getattr(self, "_" + operation)(*arguments)
        except ValueError as error:
            result = b"ValueError: " + str(error).encode()
        if [bytes(argument) for argument in arguments] != values:
            raise RuntimeError(operation + " writes to its arguments")
        if type(result) is not bytes:  # a view of memory that is used again would change afterwards
            raise RuntimeError(operation + " does not give bytes")
        return result

    def _hash(self, data):
        return self._sha512.sha512(data)

    def _hash_parts(self, *parts):
        out = bytearray(64)
        self._sha512.Sha512().digest_into(out, *parts)
        return bytes(out)

    def _public(self, seed):
        return self._ed25519.public_key(seed)

    def _sign(self, seed, message):
        return self._ed25519.sign(seed, message)

    def _sign_with_key(self, seed, message):
        """With one key for as long as the seed stays the same."""
        seed = bytes(seed)
        if seed not in self._signing_keys:
            self._signing_keys = {seed: self._ed25519.SigningKey(seed)}
        return self._signing_keys[seed].sign(message)

    def _verify(self, public, message, signature):
        return _verdict(self._ed25519.verify(public, message, signature))

    def _verify_prepared(self, public, message, signature):
        found = [key for key in self._prepared_keys if key.public == public]
        if not found:
            del self._prepared_keys[:-1]
            found = [self._ed25519.PreparedKey(public)]
            self._prepared_keys += found
        return _verdict(found[0].verify(message, signature))

    def _show_secrets(self, seed):
        """What a key and its errors say."""
        key = self._ed25519.SigningKey(seed)
        said = repr(key) + str(key)
        for misuse in (None, 5, "pay", [seed]):
            try:
                key.sign(misuse)
            except Exception as error:  # noqa: BLE001  (whichever a backend raises: it must not show the secret)
                said += repr(error)
        try:
            self._ed25519.SigningKey(bytes(seed) * 2)
        except ValueError as error:
            said += repr(error)
        return said.encode()

    def _sign_chosen(self, digests, message):
        """Public key and signature of a seed, nonce and challenge that hash to `digests`."""
        return self._with_digests(digests, self._sign_and_show, message)

    def _sign_and_show(self, message):
        key = self._ed25519.SigningKey(bytes(32))
        return key.public + key.sign(message)

    def _verify_chosen(self, digest, public, signature):
        return self._with_digests(digest, self._verify, public, b"", signature)

    def _verify_prepared_chosen(self, digest, public, signature):
        return self._with_digests(digest, self._verify_prepared, public, b"", signature)

    def _with_digests(self, digests, operation, *arguments):
        hashes = self._sha512.Sha512
        true = hashes.digest_into
        chosen = _ChosenDigests(digests)
        hashes.digest_into = lambda _, out, *parts: chosen.digest_into(out, *parts)
        try:
            return operation(*arguments)
        finally:
            hashes.digest_into = true


class _NoNativeCode:
    """What `crypto.backend` takes for `sys` on a port that loads no native code."""

    implementation = None


def _main(path, backend):
    if backend == "plain":
        sys.modules["sys"] = _NoNativeCode  # pyright: ignore[reportArgumentType]
        import crypto.backend  # noqa: F401 # pyright: ignore[reportMissingImports]

        sys.modules["sys"] = sys
    from crypto import ed25519, sha512  # pyright: ignore[reportAttributeAccessIssue]

    worker = Worker(ed25519, sha512)
    with open(path) as jobs:
        for line in jobs:
            operation, *arguments = line.strip("\n").split(" ")
            print(worker.answer(operation, [bytes.fromhex(argument) for argument in arguments]).hex())


if __name__ == "__main__":
    _main(*sys.argv[1:])
