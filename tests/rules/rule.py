"""How a rule is shown to be needed: its scenario holds, and fails once the rule is taken out of the code.

A rule is taken out of the very function that keeps it, by changing the words that say it; if those words change, the
test says so instead of passing.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FunctionType

import pytest


@contextmanager
def without(function: Callable | property, *changes: tuple[str, str], **names: object) -> Iterator[None]:
    """`function` with other words in its source: (old, new), each old one found exactly once.

    Its code is exchanged in place, so that whoever holds the function, in a table or by import, runs the changed one.
    `names` are what the new words may use beside what the function's module has.
    """
    target = function.fget if isinstance(function, property) else function
    assert isinstance(target, FunctionType)
    source = textwrap.dedent(inspect.getsource(target))
    for old, new in changes:
        assert source.count(old) == 1, f"{target.__qualname__} does not say once: {old}"
        source = source.replace(old, new)
    source = source.replace("@property\n", "")
    scope = dict(target.__globals__)
    exec(compile("from __future__ import annotations\n" + source, f"<{target.__qualname__} changed>", "exec"), scope)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setitem(target.__globals__, name, value)
        patch.setattr(target, "__code__", scope[target.__name__].__code__)
        yield


def check_needed(scenario: Callable[[], None], *taken_out: AbstractContextManager, outcome: str) -> None:
    """The scenario holds; without the rule it ends as `outcome` says, which is the text of its failing assertion."""
    scenario()
    with ExitStack() as rules:
        for rule in taken_out:
            rules.enter_context(rule)
        with pytest.raises(AssertionError, match=outcome):
            scenario()
