"""The tables of the other modules here: each sentence is marked `!` in docs/protocol.md, each mark has a test.

A mark speaks of what follows it, to the end of its sentence, of its list item or table cell, or to the next mark. A
test names its rule by any words of it; where one sentence holds several rules, by those that it is about.
"""

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
MODULES = sorted(file.stem for file in HERE.glob("test_rules_*.py") if file != Path(__file__))
PROTOCOL = HERE.parent.parent / "docs" / "protocol.md"

BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:- |\d+\. |#))|\|")
MARK = re.compile(r"(?:^|(?<=\s))! ")
SENTENCE = re.compile(r".*?\.(?=\s|$)|.*")


def plain(text: str) -> str:
    return " ".join(text.replace("*", "").split())


def marked(document: str) -> list[str]:
    """What the marks of a document speak of."""
    found = []
    for block in BLOCK.split(document):
        for after in MARK.split(plain(block))[1:]:
            sentence = SENTENCE.match(after)
            found.append(sentence[0].strip() if sentence else after)
    return found


def module(name: str) -> ModuleType:
    return importlib.import_module(f"tests.rules.{name}")


RULES = {test: plain(sentence) for name in MODULES for test, sentence in module(name).RULES.items()}
MARKED = marked(PROTOCOL.read_text(encoding="utf-8"))


def test_all_modules_are_looked_at() -> None:
    assert len(MODULES) == 7
    assert len(RULES) == sum(len(module(name).RULES) for name in MODULES), "two tests of one name"


def test_a_mark_speaks_of_its_sentence() -> None:
    document = """Free. ! **First** rule,
of `a.b` (1.5): two lines. Free again; ! in the middle; ! up to
the end

- ! an item; still the rule
- free ! mark
  2. ! inner item
| ! cell | free |
No rule! Neither is `!`.
"""
    assert marked(document) == [
        "First rule, of `a.b` (1.5): two lines.",
        "in the middle;",
        "up to the end",
        "an item; still the rule",
        "mark",
        "inner item",
        "cell",
    ]


@pytest.mark.parametrize("test", RULES)
def test_every_test_names_a_marked_rule(test: str) -> None:
    assert len([rule for rule in MARKED if RULES[test] in rule]) == 1


@pytest.mark.parametrize("rule", MARKED)
def test_every_marked_rule_has_a_test(rule: str) -> None:
    assert [test for test, words in RULES.items() if words in rule] != []


@pytest.mark.parametrize("name", MODULES)
def test_every_test_has_its_sentence(name: str) -> None:
    tests = {test for test in vars(module(name)) if test.startswith("test_")}
    assert tests == set(module(name).RULES)
