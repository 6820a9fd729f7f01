"""Private names are short on devices, the same one everywhere, and never one that somebody reaches by its text."""

import ast

import pytest

from host_tools.images.private import shorten_private


def shortened(sources: dict[str, str], kept: tuple[str, ...] = ()) -> dict[str, str]:
    modules = {name: ast.parse(source) for name, source in sources.items()}
    shorten_private(modules, kept)
    return {name: ast.unparse(module) for name, module in modules.items()}


def test_a_name_is_the_same_in_every_module_and_code_does_the_same() -> None:
    sources = {
        "one": "class One:\n    def __init__(self):\n        self._balance = 5\n    def _double(self, _by=2):\n"
        "        return self._balance * _by\n",
        "two": "def ask(one):\n    return one._double(_by=3) + one._balance\n",
    }
    out = shortened(sources)
    assert "_balance" not in str(out) and "_double" not in str(out) and "_by" in out["two"]
    names: dict = {}
    for text in out.values():
        exec(text, names)
    assert names["ask"](names["One"]()) == 20


def test_different_names_stay_different() -> None:
    many = [f"_private{number}" for number in range(200)]
    out = shortened({"one": "\n".join(f"{name} = {number}" for number, name in enumerate(many))})
    names: dict = {}
    exec(out["one"], names)
    assert sorted(value for name, value in names.items() if name != "__builtins__") == list(range(200))
    assert all(len(name) <= 3 for name in names if name != "__builtins__")


@pytest.mark.parametrize(
    "source",
    [
        "_table = 1\nprint(getattr(thing, '_table'))",  # by its text
        "import _thread",  # a module
        "from _onewire import _reset",  # of a module that is not ours
        "thing.__class__",  # the language's
        "public = 1",
        "_a = 1",  # short already
    ],
)
def test_names_that_must_stay_stay(source: str) -> None:
    assert shortened({"one": source})["one"] == source


def test_names_in_statements_that_hold_text_follow() -> None:
    source = """
_counter = 0
class Thing:
    def __init__(self): self._inside = 7
def bump():
    global _counter
    _counter += 1
    _total = 1
    def more():
        nonlocal _total
        _total += _counter
        return _total
    return more()
def match(what):
    match what:
        case Thing(_inside=_found): return _found
        case {"key": _, **_others}: return _others
        case [_, *_rest]: return _rest
"""
    out = shortened({"one": source})["one"]
    for name in ("_counter", "_total", "_inside", "_others", "_rest"):
        assert name not in out
    names: dict = {}
    exec(out, names)
    assert (names["bump"](), names["bump"]()) == (2, 3)
    assert [names["match"](what) for what in (names["Thing"](), {"key": 1, "b": 2}, [1, 2])] == [7, {"b": 2}, [2]]


def test_what_a_kept_package_mentions_keeps_its_name() -> None:
    out = shortened({"crypto.curve": "_shared = 1\n_own = 2", "apps.app": "_shared = 3\n_mine = 4"}, ("crypto",))
    assert out["crypto.curve"] == "_shared = 1\n_own = 2"
    assert "_shared" in out["apps.app"] and "_mine" not in out["apps.app"]


def test_a_short_name_is_none_that_is_there_already() -> None:
    out = shortened({"one": "_a = 1\n_balance = 2\nprint(_a, _balance)"})
    assert out["one"].count("_a ") == 1
