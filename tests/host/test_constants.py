"""host_tools.images.constants: on MicroPython literals do what the names did; what could differ is refused."""

import ast
import subprocess
import textwrap
from pathlib import Path

import pytest

from host_tools.images.constants import MAX_TEXT, inline_constants
from host_tools.images.names import Modules, NamesError


def _parsed(**sources: str) -> Modules:
    return {name.replace("__", "."): ast.parse(textwrap.dedent(text)) for name, text in {"pack": "", **sources}.items()}


def _run(folder: Path, modules: Modules, micropython: str) -> str:
    for name, module in modules.items():
        path = folder / (name.replace(".", "/") + ("/__init__.py" if name == "pack" else ".py"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ast.unparse(module))
    run = subprocess.run(
        [micropython, "-c", "import main"],
        env={"MICROPYPATH": str(folder)},
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture
def same(tmp_path: Path, micropython: str):
    """Runs `main` of some sources before and after; returns the new sources as texts, and what both printed."""

    def check(**sources: str) -> tuple[dict[str, str], str]:
        modules = _parsed(**sources)
        said = _run(tmp_path / "before", modules, micropython)
        assert said.strip()
        inline_constants(modules, ("pack",))
        assert _run(tmp_path / "after", modules, micropython) == said
        return {name: ast.unparse(module) for name, module in modules.items()}, said

    return check


def test_values_stand_where_the_names_were_and_the_names_are_gone(same):
    texts, _ = same(
        pack__base="SIZE = 4\nKIND = 'kind'\nTOTAL = (SIZE * 2 + 1 | 16) << 3\nLEFT = SIZE - 1\n",
        pack__user="""
            from pack.base import SIZE, TOTAL as ALL
            from pack import base as b
            NAMES = {SIZE: b.KIND, ALL: "all"}
            def use(size=SIZE):
                return [SIZE + i for i in range(size)], f"{ALL} of {SIZE:03d}", SIZE.to_bytes(2, "big")
            def kinds():
                return b.LEFT, b.KIND + "s"
        """,
        main="""
            from pack import base
            from pack.base import LEFT
            from pack.user import use, kinds, NAMES
            class Box:
                KIND = "the box's own"
            print(use(), kinds(), NAMES[4], NAMES[200], LEFT, base.KIND, Box.KIND, Box().KIND)
        """,
    )
    assert texts["pack.base"] == ""
    assert not any(name in texts["pack.user"] for name in ("SIZE", "TOTAL", "ALL", "LEFT", "KIND"))
    assert "LEFT" not in texts["main"] and "base." not in texts["main"]
    assert "200" in texts["pack.user"]


def test_what_is_no_plain_constant_stays_a_name(same):
    texts, _ = same(
        pack__base=f"""
            from micropython import const
            _HIDDEN = const(3)
            MINUS = 1 - 6
            NEGATIVE = -5
            ON = True
            NOTHING = None
            RATE = 1.5
            DATA = b"bytes"
            LONG = "{"x" * (MAX_TEXT + 1)}"
            PAIR = (1, 2)
            MADE = int("7")
            LOCAL = 9
            Mixed = 4
            def f(LOCAL):
                return LOCAL, _HIDDEN
        """,
        main="""
            from pack.base import MINUS, NEGATIVE, ON, NOTHING, RATE, DATA, LONG, PAIR, MADE, LOCAL, Mixed, f
            print(MINUS ** 2, NEGATIVE ** 2, -NEGATIVE, MINUS.__class__, ON is True, NOTHING is None, RATE, DATA)
            print(LONG, PAIR, MADE, LOCAL, Mixed, f(1))
        """,
    )
    imported = "MINUS, NEGATIVE, ON, NOTHING, RATE, DATA, LONG, PAIR, MADE, LOCAL, Mixed, f"
    assert f"from pack.base import {imported}" in texts["main"]


def test_other_names_in_capitals_are_left_alone(same):
    same(
        pack__base="SIZE = 4\ndef take(SIZED=1, **more):\n    return SIZED, more\n",
        main="""
            from pack.base import SIZE, take
            class Box:
                def __init__(self):
                    self.SIZE = 8
            box = Box()
            box.SIZE += SIZE
            print(take(SIZED=SIZE), take(SIZE=SIZE), box.SIZE, {"SIZE": SIZE}, "SIZE")
        """,
    )


def test_modules_outside_the_packages_keep_their_constants(same):
    """They may be asked for them by name: `__import__("apps." + board.APP).TITLE`."""
    texts, _ = same(
        ports="SPEED = 5\n",
        main="from ports import SPEED\nimport ports\nprint(SPEED, getattr(ports, 'SPEED'))",
    )
    assert texts["ports"] == "SPEED = 5"


def test_modules_outside_the_packages_may_hand_on_what_they_import_from_each_other(same):
    texts, said = same(
        small="def run():\n    return 'small'\nSIZE = 1\n",
        choice="""
            from pack.base import KIND
            if KIND == 4:
                from small import SIZE, run
            else:
                from absent import SIZE, run
        """,
        pack__base="KIND = 4\n",
        main="from choice import SIZE, run\nprint(SIZE, run())",
    )
    assert said == "1 small\n" and "from choice import SIZE, run" in texts["main"]


def test_what_they_import_from_a_package_even_once_they_may_not_hand_on():
    modules = _parsed(
        pack__base="def run():\n    pass",
        choice="try:\n    from pack.base import run\nexcept ImportError:\n    from small import run",
        main="from choice import run",
    )
    with pytest.raises(NamesError, match="'choice' does not itself define 'run'"):
        inline_constants(modules, ("pack",))


@pytest.mark.parametrize(
    "binding",
    [
        "def f(SIZE):\n    return SIZE",
        "def f(*SIZE):\n    return SIZE",
        "def f(x):\n    SIZE = x\n    return SIZE",
        "def f(x):\n    for SIZE in x: pass",
        "def f(x):\n    return [SIZE for SIZE in x]",
        "f = lambda SIZE: SIZE",
        "def f():\n    try:\n        pass\n    except OSError as SIZE:\n        pass",
        "def f(x):\n    with x as SIZE: pass",
        "def f():\n    def SIZE(): pass",
        "def f():\n    import SIZE",
        "def f():\n    global SIZE\n    SIZE = 1",
        "class C:\n    SIZE = 3",
        "SIZE = 3",
        "SIZE += 1",
        "for SIZE in 'ab': pass",
        "try:\n    pass\nexcept OSError as SIZE:\n    pass",
        "def SIZE(): pass",
        "class SIZE: pass",
        "x = (SIZE := 3)",
    ],
)
def test_a_name_that_is_also_something_else_is_an_error(binding: str):
    with pytest.raises(NamesError, match="'SIZE' is a constant or module, and something else"):
        inline_constants(_parsed(pack__base="SIZE = 4", main=f"from pack.base import SIZE\n{binding}\n"), ("pack",))


@pytest.mark.parametrize(
    ("main", "why"),
    [
        ("def f():\n    from pack.base import SIZE\n    return SIZE", "import the constant 'SIZE' at the top level"),
        ("try:\n    from pack.base import SIZE\nexcept ImportError:\n    SIZE = 1", "'SIZE' at the top level"),
        ("from pack.base import SIZE\nprint(SIZE is 4)", "compare a constant with =="),
        ("from pack import base\nprint(1 if base.SIZE is not 4 else 2)", "compare a constant with =="),
        ("from pack import base\nbase.SIZE = 5", "'SIZE' is a constant"),
        ("from pack import base\nbase.SIZE += 5", "'SIZE' is a constant"),
        ("from pack import base\ndef f(base):\n    return base.SIZE", "'base' is a constant or module"),
        ("from ports import SIZE", "'ports' does not itself define 'SIZE'"),
        ("from pack.base import *\nprint(SIZE)", "import by name"),
        ("import pack.base as base\nprint(base.SIZE)", "write `from pack import ...`"),
        ("print(globals()['SIZE'])", "'globals' does not survive"),
    ],
)
def test_a_use_that_would_not_find_the_value_is_an_error(main: str, why: str):
    modules = _parsed(pack__base="SIZE = 4", ports="from pack.base import SIZE", main=main)
    with pytest.raises(NamesError, match=why):
        inline_constants(modules, ("pack",))
