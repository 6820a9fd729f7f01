"""host_tools.images.unused: what nothing on the board mentions is left out, and nothing else."""

import ast

from host_tools.images.unused import drop_unused


def left(package: str, **others: str) -> str:
    """The source of the linked package `pack` after the step, beside other modules of the board."""
    modules = {"pack": ast.parse(package)} | {name: ast.parse(source) for name, source in others.items()}
    drop_unused(modules, ("pack",))
    return ast.unparse(modules["pack"])


def test_what_nobody_mentions_goes():
    source = "def used():\n    return 1\ndef unused():\n    return 2\nTABLE = {1: 'one'}\nclass Gone:\n    pass"
    assert left(source, app="from pack import used") == "def used():\n    return 1"


def test_what_something_needed_needs_stays():
    source = (
        "LIMIT = [3]\nclass Base:\n    pass\ndef helper(value=LIMIT):\n    return value\n"
        "class Kept(Base):\n    def run(self):\n        return helper()"
    )
    for use in ("from pack import Kept", "import pack\npack.Kept()", "def f():\n    from pack import Kept as K"):
        assert left(source, app=use) == ast.unparse(ast.parse(source))


def test_a_word_that_means_something_else_keeps_it_too():
    """Too much may stay, never too little: an attribute of anything counts."""
    assert left("def run():\n    return 1", app="thing.run()") == "def run():\n    return 1"


def test_definitions_that_only_mention_each_other_go():
    assert left("def one():\n    return two()\ndef two():\n    return one()", app="") == ""


def test_each_target_of_an_assignment_counts():
    assert left("A, B = (1, 2)\nC = 3", app="from pack import B") == "A, B = (1, 2)"


def test_imports_that_nothing_left_needs_go():
    source = (
        "import struct\nfrom other import Thing, Other as O\n"
        "def used():\n    return O()\ndef unused():\n    return struct, Thing"
    )
    assert left(source, app="from pack import used") == "from other import Other as O\n\ndef used():\n    return O()"


def test_one_package_may_need_what_only_it_mentions_in_another():
    modules = {
        "pack": ast.parse("def low():\n    pass"),
        "top": ast.parse("from pack import low\ndef high():\n    low()"),
    }
    modules["app"] = ast.parse("from top import high")
    drop_unused(modules, ("pack", "top"))
    assert ast.unparse(modules["pack"]) == "def low():\n    pass"
