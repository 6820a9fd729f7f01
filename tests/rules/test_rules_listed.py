"""The tables of the other modules here: each sentence stands in docs/protocol.md, each test has its sentence."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
MODULES = sorted(file.stem for file in HERE.glob("test_rules_*.py") if file != Path(__file__))
PROTOCOL = HERE.parent.parent / "docs" / "protocol.md"


def plain(text: str) -> str:
    return " ".join(text.replace("*", "").split())


def module(name: str) -> ModuleType:
    return importlib.import_module(f"tests.rules.{name}")


def test_all_modules_are_looked_at() -> None:
    assert len(MODULES) == 7


@pytest.mark.parametrize("name", MODULES)
def test_every_sentence_stands_in_the_protocol(name: str) -> None:
    protocol = plain(PROTOCOL.read_text(encoding="utf-8"))
    missing = [sentence for sentence in module(name).RULES.values() if plain(sentence) not in protocol]
    assert missing == []


@pytest.mark.parametrize("name", MODULES)
def test_every_test_has_its_sentence(name: str) -> None:
    tests = {test for test in vars(module(name)) if test.startswith("test_")}
    assert tests == set(module(name).RULES)
