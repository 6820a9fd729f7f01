"""The fuzz targets at a size that fits CI: spoilt vectors, Hypothesis' own bytes, the same on the real MicroPython; and
that the targets find what is broken on purpose.
"""

import json

import pytest
from hypothesis import HealthCheck, given, settings, target
from hypothesis import strategies as st

from protocol import framing, records
from protocol.card import Card
from protocol.layout import Layout
from protocol.objects import Receipt, Transfer
from tests.fuzz import __main__ as command
from tests.fuzz import guided, on_micropython
from tests.fuzz.corpus import Spoiler, corpus
from tests.fuzz.targets import TARGETS, iso_dep, joined, pieces, pn532

CI_INPUTS = 1_200
MICROPYTHON_INPUTS = 60


@pytest.mark.parametrize("name", TARGETS)
def test_vectors_and_what_is_made_of_them(name):
    for data in corpus(name):
        TARGETS[name](data)
    assert command.spoilt_inputs(name, CI_INPUTS, 1, TARGETS[name]) == []


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_of_hypothesis(name):
    """It joins the corpus's messages and its own bytes, and is led to inputs with many intact parts."""
    seeds = st.sampled_from(corpus(name)[:60])

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    )
    @given(st.lists(st.one_of(st.binary(max_size=120), seeds), max_size=4), st.booleans())
    def run(parts, in_pieces):
        data = joined([part[:511] for part in parts]) if in_pieces else b"".join(parts)
        target(float(len(pieces(data))))
        TARGETS[name](data)

    run()


def test_same_seed_makes_the_same_inputs():
    first, second = Spoiler("card", 4), Spoiler("card", 4)
    made = [first.next() for _ in range(300)]
    assert made == [second.next() for _ in range(300)]
    assert len(set(made)) > 200


def test_pieces_are_what_was_joined():
    messages = [b"", b"a", bytes(255), bytes(256), bytes(511)]
    assert pieces(joined(messages)) == messages


@pytest.mark.parametrize("name", TARGETS)
def test_targets_on_micropython(name, tmp_path):
    spoiler = Spoiler(name, "ci")
    inputs = [*corpus(name)[:5], *[spoiler.next() for _ in range(MICROPYTHON_INPUTS)]]
    assert on_micropython.run_batch(name, inputs, on_micropython.device_folder(tmp_path)) is None


def test_input_that_breaks_a_promise_on_micropython_is_named(tmp_path):
    folder = on_micropython.device_folder(tmp_path)
    targets = folder / "tests" / "fuzz" / "targets.py"
    targets.write_text(targets.read_text() + "\n\ndef pcd(data):\n    assert data != b'ab'\nTARGETS['pcd'] = pcd\n")
    broken = on_micropython.run_batch("pcd", [b"aa", b"ab", b"ac"], folder)
    assert broken is not None and broken[0] == b"ab".hex() and "AssertionError" in broken[1]


def test_command_reports_one_line(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fuzz", "--inputs", "400", "--seed", "3", "--unguided"])
    assert command.main() == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["violations"], result["seed"], result["guided"]) == (0, 3, False)
    assert result["fuzz_inputs"] == sum(result["inputs"].values()) and set(result["inputs"]) == set(TARGETS)


# What is broken on purpose


def nothing(*arguments) -> None:
    """Stands for a check that is taken out."""


def decoder_takes_what_trails(monkeypatch):
    monkeypatch.setattr(Layout, "_check_head", classmethod(nothing))


def record_forgets_its_end(monkeypatch):
    monkeypatch.setattr(records._Reader, "end", lambda reader: None)


def chain_grows_without_end(monkeypatch):
    def collect(card, sent):
        card._chain += sent.data * 40
        return None if sent.cla & 0x10 else card._chain

    monkeypatch.setattr(Card, "_collect", collect)


def card_forgets_a_cause(monkeypatch):
    monkeypatch.setattr(Card, "_refuse_data", lambda card, data: data and data[9999])


def transfers_of_anybody_count(monkeypatch):
    monkeypatch.setattr(Transfer, "verified_by", lambda *_: True)


def receipts_of_anybody_count(monkeypatch):
    monkeypatch.setattr(Receipt, "verified_by", lambda *_: True)


def serial_line_keeps_everything(monkeypatch):
    monkeypatch.setattr(framing.FrameDecoder, "_keep", lambda decoder, piece: decoder._pending.extend(piece))


def reader_keeps_everything(monkeypatch):
    def keep(card, chaining, part):
        card._parts += part
        if chaining:
            return b"\xa2"
        card.command, card._parts = card._parts, b""

    monkeypatch.setattr(iso_dep.Picc, "_take_part", keep)


def chip_driver_takes_an_empty_answer(monkeypatch):
    take = pn532.Pn532._take

    def careless(chip, payload):
        return payload[2:] if payload[:1] == b"\xd5" else take(chip, payload)

    monkeypatch.setattr(pn532.Pn532, "_take", careless)


BROKEN = {
    decoder_takes_what_trails: "signed_object",
    record_forgets_its_end: "record",
    chain_grows_without_end: "card",
    card_forgets_a_cause: "card",
    serial_line_keeps_everything: "frames",
    reader_keeps_everything: "picc",
    chip_driver_takes_an_empty_answer: "radio",
    transfers_of_anybody_count: "sale_responses",
    receipts_of_anybody_count: "payment_responses",
}


@pytest.mark.parametrize(("broken", "name"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN])
def test_what_is_broken_on_purpose_is_found(monkeypatch, broken, name):
    broken(monkeypatch)
    assert command.spoilt_inputs(name, 10_000, 1, TARGETS[name]) != []


def test_guided_run():
    """Only where atheris exists (Linux on x86-64)."""
    pytest.importorskip("atheris")
    done, broken = guided.run("command", 3_000, 1)
    assert done >= 3_000 and broken == []
