"""host_tools.images.link and names: linked modules do on MicroPython what they did; what could differ is refused.

Each case here is a small tree of modules. It runs twice: as it is, and linked and compiled as for a board.
"""

import ast
import subprocess
import textwrap
from pathlib import Path

import pytest

from host_tools.images import compile as images
from host_tools.images.link import link_packages
from host_tools.images.names import Modules, NamesError

PACKAGES = ("pack", "other")


def _parsed(sources: dict[str, str]) -> Modules:
    modules = {name: ast.parse(textwrap.dedent(text)) for name, text in sources.items()}
    return {"pack": ast.parse('"""A package."""'), "other": ast.parse(""), **modules}


def _run(folder: Path, micropython: str) -> str:
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
    """Runs `main` of some sources before and after linking; returns the linked sources and what both printed."""

    def check(**sources: str) -> tuple[Modules, str]:
        modules = _parsed({name.replace("__", "."): text for name, text in sources.items()})
        for name, module in modules.items():
            path = tmp_path / "before" / (name.replace(".", "/") + (".py" if name not in PACKAGES else "/__init__.py"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(ast.unparse(module))
        linked = link_packages(modules, PACKAGES)
        (tmp_path / "after").mkdir()
        for name, module in linked.items():
            compiled = images._run_compiler(ast.unparse(module).encode(), f"{name}.py", name, None)
            (tmp_path / "after" / f"{name}.mpy").write_bytes(compiled)
        said = _run(tmp_path / "before", micropython)
        assert said.strip()
        assert _run(tmp_path / "after", micropython) == said
        return linked, said

    return check


def test_modules_of_a_package_become_one_and_every_way_to_import_them_still_works(same):
    linked, said = same(
        pack__base="""
            from micropython import const
            _SECRET = const(7)
            LIMITS = {"a": 1}
            class Base:
                KIND = "base"
                def name(self):
                    return type(self).__name__ + str(_SECRET)
        """,
        pack__user="""
            from pack.base import Base, LIMITS as limits
            from pack import base
            class User(base.Base):
                def show(self, limits_too=limits):
                    return (self.name(), base.Base.KIND, Base is base.Base, limits_too["a"])
        """,
        other__view="""
            from pack import base as b
            from pack.user import User as Someone
            def view():
                from pack.base import LIMITS
                return Someone().show(), b.LIMITS is LIMITS
        """,
        main="from other.view import view\nprint(view())",
    )
    assert sorted(linked) == ["main", "other", "pack"]
    assert said == "(('User7', 'base', True, 1), True)\n"


def test_equal_names_of_different_modules_stay_apart(same):
    linked, said = same(
        pack__one="""
            from micropython import const
            _SIZE = const(1)
            def decode(data, size=_SIZE):
                return ("one", data, size, _SIZE)
            def _help():
                return decode(0)
            def both():
                return _help()
        """,
        pack__two="""
            from micropython import const
            from pack.one import decode as decode_one
            from pack import one
            _SIZE = const(2)
            def decode(data):
                return ("two", one.decode(data, size=5), decode_one(data), _SIZE, _help())
            def _help():
                return one.both()
            class Coder:
                def decode(self):
                    return decode(9)
        """,
        main="""
            from pack.one import decode
            from pack import two
            from pack.two import decode as other_decode, Coder
            print(decode(1), two.decode(2), other_decode(3), Coder().decode())
        """,
    )
    assert "decode" not in {node.name for node in linked["pack"].body if isinstance(node, ast.FunctionDef)}
    assert said.count("'two'") == 3
    constants = {ast.unparse(node.targets[0]) for node in linked["pack"].body if isinstance(node, ast.Assign)}
    assert constants == {"_one_SIZE", "_two_SIZE"}, "what begins with an underscore vanishes in the compiler"


@pytest.mark.parametrize(
    "binding",
    [
        "def f(limit):\n    return table.limit(), limit",
        "def f(x, *limit):\n    return table.limit(), limit",
        "def f(x, **limit):\n    return table.limit(), sorted(limit)",
        "def f(x, *, limit=3):\n    return table.limit(), limit",
        "def f(x):\n    limit = x\n    return table.limit(), limit",
        "def f(x):\n    limit, y = x, 1\n    return table.limit(), limit",
        "def f(x):\n    for limit in range(3): pass\n    return table.limit(), limit",
        "def f(x):\n    return [table.limit() + limit for limit in range(x)]",
        "def f(x):\n    return (lambda limit: table.limit() + limit)(x)",
        "def f(x):\n    if (limit := x):\n        return table.limit(), limit",
        "def f(x):\n    try:\n        1 // 0\n    except Exception as limit:\n        return table.limit(), str(limit)",
        "def f(x):\n    with Manager() as limit:\n        return table.limit(), limit",
        "def f(x):\n    def limit():\n        return x\n    return table.limit(), limit()",
        "def f(x):\n    class limit:\n        y = x\n    return table.limit(), limit.y",
        "def f(x):\n    import sys as limit\n    return table.limit(), limit.byteorder",
        "def f(x):\n    limit = x\n    def g():\n        nonlocal limit\n        limit += table.limit()\n"
        "        return limit\n    return g()",
        "class C:\n    limit = 5\n    def g(self, y=limit):\n        return table.limit(), y\n"
        "def f(x):\n    return C().g()",
        "class C:\n    def limit(self):\n        return 6\n    again = limit\n"
        "    def g(self):\n        return table.limit(), self.again()\n"
        "def f(x):\n    return C().g()",
    ],
)
def test_a_local_of_the_same_name_never_hides_what_was_reached_through_its_module(same, binding: str):
    """Every form of binding: in the linked module `table.limit` is a bare name."""
    manager = (
        "class Manager:\n    def __enter__(self):\n        return 8\n    def __exit__(self, *why):\n        pass\n"
    )
    same(
        pack__table="def limit():\n    return 40\n",
        pack__user=f"from pack import table\n{manager}{binding}\n",
        main="from pack.user import f\nprint(f(2))",
    )


def test_a_method_of_the_same_name_costs_no_prefix(same):
    linked, _ = same(
        pack__one="def encode():\n    return 1\n",
        pack__two="from pack import one\nclass A:\n    def encode(self):\n        return one.encode() + 1\n",
        main="from pack.two import A\nfrom pack.one import encode\nprint(A().encode(), encode())",
    )
    assert "encode" in {node.name for node in linked["pack"].body if isinstance(node, ast.FunctionDef)}


def test_a_definition_named_like_a_built_in_does_not_replace_it_for_others(same):
    same(
        pack__files="def open(name):\n    return 'ours ' + name\ndef sum(x):\n    return open(x)\n",
        pack__user="def total(x):\n    return sum(x)\nclass Sum:\n    VALUE = sum((1, 2))\n",
        main="""
            from pack.files import open, sum as s
            from pack.user import Sum, total
            print(open('x'), s('y'), total([4, 5]), Sum.VALUE)
        """,
    )


def test_a_definition_named_like_what_another_module_imports_does_not_replace_it(same):
    same(
        pack__hexadecimal="from binascii import hexlify\ndef write(x):\n    return hexlify(x)\n",
        pack__user="from pack.hexadecimal import write\ndef hexlify(x):\n    return 'ours', write(x)\n",
        main="from pack.user import hexlify\nprint(hexlify(b'ab'))",
    )


def test_keyword_names_attributes_and_texts_are_never_renamed(same):
    same(
        pack__one="def mark(word=1):\n    return word\n",
        pack__get="from pack.one import mark\ndef word():\n    return mark(word=4)\n",
        pack__two="""
            from pack.get import word as get
            from pack.one import mark
            class Box:
                def __init__(self, **fields):
                    self.word = mark(word=fields["word"])
            def word(box: "Box") -> "word":
                return box.word, Box(word=get()).word, getattr(box, "word")
        """,
        main="from pack.two import Box, word\nprint(word(Box(word=2)))",
    )


def test_modules_run_in_the_order_they_need_each_other(same):
    same(
        pack__a="from pack import z\nfrom other.values import SEEN\nTABLE = {z.KEY: SEEN}\n",
        pack__z="KEY = tuple([1, 2])\n",
        other__values="SEEN = list('ab')\n",
        main="from pack.a import TABLE\nfrom other.values import SEEN\nprint(TABLE, TABLE[(1, 2)] is SEEN)",
    )


def test_decorators_defaults_and_bases_follow_their_names(same):
    same(
        pack__one="def wrap(f):\n    return lambda *a: ('one', f(*a))\nclass Root:\n    pass\nVALUE = [1]\n",
        pack__two="""
            from pack.one import wrap as around, Root, VALUE
            def wrap(f):
                return lambda *a: ("two", f(*a))
            class Leaf(Root):
                table = {"x": VALUE}
                @around
                def go(self, value=VALUE):
                    return value
            @wrap
            @around
            def work(x, *more, **named):
                return x, more
        """,
        main="""
            from pack.two import Leaf, work
            from pack.one import VALUE
            print(Leaf().go(), work(*[1, 2]), Leaf.table["x"] is VALUE)
        """,
    )


def test_a_module_that_a_board_does_not_carry_is_still_an_import_error(same):
    same(
        pack__one="""
            def get():
                try:
                    from other.absent import x
                except ImportError:
                    x = "absent"
                return x
        """,
        main="from pack.one import get\nprint(get())",
    )


_ONE = "def name():\n    return 1\ndef taken():\n    return 2\nVALUE = [3]\n"


@pytest.mark.parametrize(
    ("two", "why"),
    [
        # what would be merged in another order, or at another time
        ("print('side effect')", "only imports and plain definitions"),
        ("try:\n    import x as y\nexcept ImportError:\n    y = None", "only imports and plain definitions"),
        ("if True:\n    A = [1]", "only imports and plain definitions"),
        ("A, B = [1], [2]", "only imports and plain definitions"),
        ("A = [1]\nA += [2]", "only imports and plain definitions"),
        ("for i in 'ab':\n    pass", "only imports and plain definitions"),
        ("A = [1]\ndel A", "only imports and plain definitions"),
        ("async def f():\n    pass", "only imports and plain definitions"),
        ("A: list", "only imports and plain definitions"),
        ("A = [1]\nA = [2]", "'A' is defined twice"),
        ("import gc\ndef gc():\n    pass", "'gc' is defined twice"),
        ("from pack.one import name\nfrom other.there import name", "'name' is imported twice"),
        ("A = (B := [1])", "'B' is bound inside an expression"),
        ("A = [1]\ndef f():\n    global A\n    A = [2]", "'A' is declared global"),
        # names that would stand for something else
        ("def name():\n    return 1\ndef f(name):\n    return name", "'name' means one thing at the top level"),
        ("def name():\n    return 1\ng = lambda name: name", "'name' means one thing at the top level"),
        ("def name():\n    return 1\ng = [name for name in 'ab']", "'name' means one thing at the top level"),
        (
            "def name():\n    return 1\ndef f():\n    def name():\n        pass\n    return name",
            "'name' means one thing",
        ),
        ("def name():\n    return 1\nclass C:\n    name = 5", "'name' means one thing"),
        (
            "def name():\n    return 1\nclass C:\n    def name(self):\n        pass\n    other = name",
            "'name' means one",
        ),
        ("def name():\n    return 1\nclass C:\n    def name(self):\n        pass\n    name = 5", "'name' means one"),
        ("from pack import one\ndef f(one):\n    return one.name", "'one' means one thing"),
        ("from pack.one import name as n\ndef f(n):\n    return n", "'n' means one thing"),
        ("def name():\n    return 1\ndef _one_name():\n    return 2", "'_one_name' is taken"),
        ("def name():\n    return 1\ndef f(_one_name):\n    return 2", "'_one_name' is taken"),
        ("class VALUE:\n    pass", "class 'VALUE' has its name from another"),
        # modules that nobody can find any more
        ("import pack.one", "write `from pack import ...`"),
        ("import pack", "write `from pack import ...`"),
        ("from pack.one import *", "import by name"),
        ("from . import one", "a relative import"),
        ("from pack.three import x", "there is no 'pack.three' on this board"),
        ("from pack.one import missing", "'pack.one' does not itself define 'missing'"),
        ("def f():\n    from pack.one import name\n    return name", "'name' must be imported at the top level"),
        ("def f():\n    from other import there\n    return there", "'there' must be imported at the top level"),
        ("from pack import one\nA = [one]", "the module 'one' is used as a value"),
        ("from pack import one\ndef f(x):\n    return getattr(one, x)", "the module 'one' is used as a value"),
        ("from pack import one\ndef f():\n    one.VALUE = 5", "'VALUE' is no definition of 'pack.one' to be read"),
        ("from pack import one\nA = one.missing", "'missing' is no definition of 'pack.one'"),
        ("def f():\n    return globals()['name']", "'globals' does not survive"),
        ("A = [__name__]", "'__name__' does not survive"),
        ("def f(x):\n    return __import__('pack.' + x)", "'__import__' does not survive"),
        ("def __getattr__(name):\n    return 1", "'__getattr__' cannot be linked"),
        # imports from outside, which the whole package then shares
        ("from binascii import hexlify as h", "imports as 'h' what another module"),
        ("from time import sleep as open", "imports 'open', which another module"),
        ("from pack.late import x\ny = [1]", "imports itself by way of"),
    ],
)
def test_what_would_mean_something_else_is_an_error_of_the_build(two: str, why: str):
    modules = _parsed(
        {
            "pack.one": _ONE,
            "pack.two": two,
            "pack.three_": "from binascii import unhexlify as h\ndef f(x):\n    return open(x)\n",
            "pack.late": "from pack import two\nx = [1]\n",
            "other.there": "name = [1]\n",
        }
    )
    with pytest.raises(NamesError, match=why):
        link_packages(modules, PACKAGES)


@pytest.mark.parametrize(
    ("main", "why"),
    [
        ("import pack.one", "write `from pack import ...`"),
        ("def f():\n    from pack import one\n    return one.name", "'one' must be imported at the top level"),
        ("from pack import one\ndef f(one):\n    return one.name", "'one' means one thing at the top level"),
        ("from pack import one\none = one.name", "'one' means one thing"),
        ("from pack import one\nprint(one)", "the module 'one' is used as a value"),
        ("from pack import one\none.VALUE = 1", "'VALUE' is no definition"),
        ("from pack.one import *", "import by name"),
        ("__import__('pack.one')", "may be in a linked package"),
        ("__import__('pack.' + 'one')", "may be in a linked package"),
        ("def f(x):\n    return __import__(x)", "may be in a linked package"),
        ("f = __import__", "may be in a linked package"),
        ("exec('from pack.one import name')", "'exec' does not survive"),
    ],
)
def test_users_of_a_linked_package_are_held_to_the_same(main: str, why: str):
    with pytest.raises(NamesError, match=why):
        link_packages(_parsed({"pack.one": _ONE, "main": main}), PACKAGES)


def test_two_modules_of_the_same_last_name_are_refused_when_their_names_meet():
    with pytest.raises(NamesError, match="'_one_name' would stand twice"):
        link_packages(_parsed({"pack.a.one": _ONE, "pack.b.one": _ONE}), PACKAGES)


def test_something_in_a_packages_init_is_refused():
    with pytest.raises(NamesError, match="a package's __init__ stays empty"):
        link_packages({"pack": ast.parse("X = [1]"), "pack.one": ast.parse(_ONE)}, PACKAGES)


def test_packages_that_import_each_other_are_refused_though_their_modules_do_not():
    modules = _parsed(
        {
            "pack.low": "def low():\n    return 1\n",
            "other.middle": "from pack.low import low\ndef middle():\n    return low()\n",
            "pack.high": "from other.middle import middle\ndef high():\n    return middle()\n",
        }
    )
    with pytest.raises(NamesError, match="imports itself by way of"):
        link_packages(modules, PACKAGES)
