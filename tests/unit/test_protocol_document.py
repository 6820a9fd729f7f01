"""docs/protocol.md cannot drift: every table of it is read here and compared with the code."""

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from host_tools.ledger import holds
from protocol import apdu, card, errors, fraud, info, limits, objects, purse, records, spread, states, trust
from protocol.layout import Layout, SignedLayout

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
GLOSSARY = DOCUMENT.with_name("glossary.md")


class Field(NamedTuple):
    offset: int
    name: str
    size: int
    is_integer: bool


class DocumentLayout(NamedTuple):
    type: int
    stated_bytes: int
    is_signed: bool
    fields: list[Field]  # type and version included, the signature not

    @property
    def body_size(self) -> int:
        return self.fields[-1].offset + self.fields[-1].size


def rows(section: str, first_column: str) -> list[list[str]]:
    """The cells of the table in `section` whose head starts with `first_column`."""
    lines = section.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    found = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@cache
def sections() -> dict[str, str]:
    parts = re.split(r"^#{2,3} (.+)$", DOCUMENT.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@cache
def layouts() -> dict[str, DocumentLayout]:
    """Every layout that the document gives, by name."""
    found = {}
    for name, section in sections().items():
        head = re.search(r"^Type ([0-9A-F]{2}), (\d+) bytes(.*)$", section, flags=re.MULTILINE)
        if not head:
            continue
        fields = []
        for offset, field, form, _ in rows(section, "offset"):
            is_integer = form[0] == "u"
            size = int(form[1:]) // 8 if is_integer else int(form[6:-1])
            fields.append(Field(int(offset), field, size, is_integer))
        if fields[-1].name == "signature":
            fields.pop()
        found[name] = DocumentLayout(int(head[1], 16), int(head[2]), "not signed" not in head[3], fields)
    return found


def code_layouts():
    found = {}
    for module in (objects, records, info):
        for name, kind in vars(module).items():
            if isinstance(kind, type) and issubclass(kind, Layout) and kind.TYPE:
                found[name] = kind
    return found


def test_every_layout_is_in_the_document():
    assert set(layouts()) == set(code_layouts())


@pytest.mark.parametrize("name", sorted(code_layouts()))
def test_layouts(name):
    kind, written = code_layouts()[name], layouts()[name]
    assert written.type == kind.TYPE
    assert written.is_signed == issubclass(kind, SignedLayout)
    assert written.stated_bytes == (kind.size() if written.is_signed else kind.body_size())
    assert [(field.name, field.size if field.is_integer else -field.size) for field in written.fields] == [
        ("type", 1),
        ("version", 1),
        *kind.FIELDS,
    ]
    offset = 0
    for field in written.fields:
        assert field.offset == offset
        offset += field.size
    assert offset == kind.body_size()


def test_types_are_unique():
    types = [kind.TYPE for kind in code_layouts().values()]
    assert len(set(types)) == len(types)


def test_revocations_entries_stand_after_the_head():
    section = sections()["Revocations"]
    assert f"offset {objects.Revocations.body_size()}, {objects.Revocations.ENTRY_BYTES} bytes each" in section
    assert f"at most {objects.MAX_REVOCATIONS}, in a delta at most {objects.MAX_DELTA}" in section


def test_records():
    longest = {row[0]: int(row[3].replace(",", "")) for row in rows(sections()["Journal"], "record")}
    assert longest == {
        "debit": records.DEBIT_RECORD_BYTES,
        "credit": records.CREDIT_RECORD_BYTES,
        "load": records.LOAD_RECORD_BYTES,
        "closing": records.CLOSING_MAX_BYTES,
        "installation": records.INSTALLATION_MAX_BYTES,
    }


def test_causes():
    written = [(int(code), name, int(sw, 16)) for code, name, sw in rows(sections()["Commands"], "code")]
    assert written == [(code, name, errors.status_word(code)) for code, name in sorted(errors.NAMES.items())]


def test_commands():
    written = {int(ins, 16): name.split(" ")[0] for ins, name, _, _ in rows(sections()["Commands"], "INS")}
    assert set(written) == {apdu.SELECT, *card.Card._COMMANDS}
    for ins, name in written.items():
        assert getattr(apdu, name) == ins
    section = sections()["Commands"]
    assert f"`{apdu.AID.hex().upper()}`" in section
    assert f"`{apdu.NDEF_AID.hex().upper()}`" in section
    assert f"at most {apdu.MAX_CHAIN_BYTES:,} bytes" in section


def test_flags():
    named = "01 personalised, 02 a person has opened a Request here, 04 out of service"
    assert named in sections()["Commands"]
    assert "08 retired" in sections()["Commands"] and "10 locked" in sections()["Commands"]
    assert (apdu.PERSONALISED, apdu.BUSY, apdu.OUT_OF_SERVICE, apdu.RETIRED, apdu.LOCKED, apdu.CLOSED) == (
        1,
        2,
        4,
        8,
        0x10,
        0x20,
    )


@pytest.mark.parametrize(
    ("table", "opening"),
    [
        (states.DEBIT, "A debit, at its payer:"),
        (states.REQUEST, "A Request, at its payee"),
        (states.SALE, "The reader of a tap, paid"),
        (states.PAYMENT, "The reader of a tap, paying:"),
    ],
    ids=["debit", "request", "sale", "payment"],
)
def test_state_tables(table, opening):
    section = sections()["States"]
    written = rows(section[section.index(opening) :], "state")
    none = {"(none)": None}
    read = {(none.get(state, state), event): none.get(after, after) for state, event, after in written}
    assert read == table


def test_default_limits():
    section = sections()["Limits and deadlines"]
    head = next(line for line in section.splitlines() if line.startswith("| kind |"))
    assert [cell.strip() for cell in head.strip("|").split("|")][2:] == list(limits.LIMIT_FIELDS)
    written = {int(row[0], 16): tuple(int(cell.replace(",", "")) for cell in row[2:]) for row in rows(section, "kind")}
    assert written == limits.DEFAULT_LIMITS


def test_constants():
    written = {row[0]: int(row[1].replace(",", "")) for row in rows(sections()["Limits and deadlines"], "constant")}
    found = {}
    for name in written:
        module = next(
            module for module in (limits, objects, trust, spread, fraud, purse, holds) if hasattr(module, name)
        )
        found[name] = getattr(module, name)
    assert found == written
    whole = {name for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
    assert whole - set(vars(objects)) - set(vars(errors)) <= set(written)


def test_purposes():
    roles = {objects.WALLET: "wallet", objects.TERMINAL: "terminal", objects.OPERATOR_PAYEE: "operator payee"}
    written = {int(row[0]): (row[2], row[3]) for row in rows(sections()["Parties"], "purpose")}
    assert written == {
        purpose: tuple(", ".join(roles[role] for role in side) for side in sides)
        for purpose, sides in trust.PARTIES.items()
    }


def test_causes_named_in_the_text_exist():
    for section in ("Validity", "Taps", "Limits and deadlines"):
        for code in re.findall(r"\((\d\d)\)", sections()[section]):
            assert int(code) in errors.NAMES


def test_fraud_kinds():
    written = [row[0] for row in rows(sections()["Fraud proofs"], "kind")]
    assert written == [fraud.TWO_HISTORIES, fraud.RECEIPT_AND_VOID, fraud.CUMULATIVE]


def test_links_inside_the_document_have_their_heading():
    text = DOCUMENT.read_text()
    headings = {name.lower().replace(" ", "-") for name in sections()}
    assert set(re.findall(r"\(#([a-z-]+)\)", text)) <= headings


def test_the_glossary_explains_every_object_and_is_in_order():
    terms = [row[0].lower() for row in rows(GLOSSARY.read_text(), "term")]
    assert terms == sorted(set(terms))
    spaced = {re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower() for name in vars(objects) if name in layouts()}
    assert spaced <= set(terms)
