"""Gives private names two or three characters on devices: a `.mpy` carries every name it mentions as text, once per
module, and memory once more.

Private is what begins with one underscore: the same name becomes the same short one in every module, so it does not
matter who mentions it. Names that code reaches by their text, or that a module which is not rewritten mentions too,
keep theirs. A traceback still names modules, classes and public functions.
"""

import ast
import itertools
import re
import string
from collections import Counter
from collections.abc import Collection, Iterator

from host_tools.images.names import Modules

_NAME_FIELDS = ("id", "attr", "name", "arg", "asname", "rest")
_NAMES_FIELDS = ("names", "kwd_attrs")  # of `global` and `nonlocal`, and of a class pattern
_PRIVATE = re.compile(r"_[A-Za-z]\w\w+")


def shorten_private(modules: Modules, kept: Collection[str]) -> None:
    """Rewrite `modules` in place, but those of package `kept`."""
    counts: Counter[str] = Counter()
    taken: set[str] = set()
    for name, module in modules.items():
        for word in _words(module):
            if name.partition(".")[0] in kept or not _PRIVATE.fullmatch(word):
                taken.add(word)
            else:
                counts[word] += 1
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                taken.add(node.value)
            elif isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.module not in modules):
                taken |= {part for alias in node.names for part in alias.name.split(".")}
    often = [word for word, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if word not in taken]
    short = dict(zip(often, (name for name in _short_names() if name not in taken), strict=False))
    for name, module in modules.items():
        if name.partition(".")[0] not in kept:
            _Rewriter(short).visit(module)


def _short_names() -> Iterator[str]:
    for length in (1, 2):
        for letters in itertools.product(string.ascii_letters, repeat=length):
            yield "_" + "".join(letters)


def _words(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        words = [getattr(node, field, None) for field in _NAME_FIELDS]
        for field in _NAMES_FIELDS:
            words += getattr(node, field, [])
        for word in words:
            if isinstance(word, str):
                yield word


class _Rewriter(ast.NodeTransformer):
    def __init__(self, short: dict[str, str]) -> None:
        self._short = short

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in _NAME_FIELDS:
            word = getattr(node, field, None)
            if isinstance(word, str) and word in self._short:
                setattr(node, field, self._short[word])
        for field in _NAMES_FIELDS:
            words = getattr(node, field, [])
            words[:] = [self._short.get(word, word) if isinstance(word, str) else word for word in words]
        return super().generic_visit(node)
