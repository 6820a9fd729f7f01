"""The fuzz targets at a size that fits CI: spoilt vectors, Hypothesis' own bytes, the same on the real MicroPython; and
that the targets find what is broken on purpose.
"""

import json
import re

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
from tests.fuzz.targets import ON_DEVICE, TARGETS, host, storage
from tests.fuzz.targets.driver import iso_dep, pn532, pn532_i2c, pn532_spi
from tests.fuzz.targets.inputs import joined, pieces

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


@pytest.mark.parametrize("name", ON_DEVICE)
def test_targets_on_micropython(name, tmp_path):
    spoiler = Spoiler(name, "ci")
    inputs = [*corpus(name)[:5], *[spoiler.next() for _ in range(MICROPYTHON_INPUTS)]]
    assert on_micropython.run_batch(name, inputs, on_micropython.device_folder(tmp_path)) is None


def test_input_that_breaks_a_promise_on_micropython_is_named(tmp_path):
    folder = on_micropython.device_folder(tmp_path)
    targets = folder / "tests" / "fuzz" / "targets" / "__init__.py"
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


def settings_take_what_they_read(monkeypatch):
    """As long as the checksum is right."""

    def careless(data):
        if len(data) < 12 or storage.crc32(data[:-4]) != int.from_bytes(data[-4:], "big"):
            return None
        values, at = {}, 8
        while at < len(data) - 4:
            value_at = at + 3 + data[at]
            end = value_at + int.from_bytes(data[value_at - 2 : value_at], "big")
            values[data[at + 1 : value_at - 2].decode(errors="replace")] = data[value_at:end]
            at = end
        return int.from_bytes(data[4:8], "big"), values

    monkeypatch.setattr(storage.stored_settings, "_decode", careless)


def records_may_be_longer_than_their_room(monkeypatch):
    record_in = storage.journal_format.record_in
    monkeypatch.setattr(storage.journal_format, "record_in", lambda data, at, room: record_in(data, at, 1_000))


def notes_may_say_anything(monkeypatch):
    recovery = storage.journal_recovery
    monkeypatch.setattr(
        recovery.Recovery, "_note_in", lambda found, data, at: recovery.note_in(data, at, storage.CRC_START)
    )


def damage_is_passed_over(monkeypatch):
    monkeypatch.setattr(storage.journal_recovery.Recovery, "_lose", nothing)


def bus_stays_selected(monkeypatch):
    def wake(line):
        line._bus[1](0)

    monkeypatch.setattr(pn532_spi.SpiLine, "_wake", wake)


def silence_on_the_bus_is_an_error(monkeypatch):
    def fetch(line, count):
        data = line._bus.readfrom(0x24, 1 + count)
        return data[1:] if data[0] & 1 else None

    monkeypatch.setattr(pn532_i2c.I2cLine, "_fetch", fetch)


def words_of_anybody_are_evidence(monkeypatch):
    monkeypatch.setattr(Transfer, "verified_by", lambda *_: True)


def hex_is_what_looks_like_it(monkeypatch):
    monkeypatch.setattr(host.fraud_file, "_HEX", re.compile("[0-9a-f]*"))


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
    settings_take_what_they_read: "settings",
    records_may_be_longer_than_their_room: "entry",
    notes_may_say_anything: "journal",
    damage_is_passed_over: "journal",
    bus_stays_selected: "spi",
    silence_on_the_bus_is_an_error: "i2c",
    words_of_anybody_are_evidence: "proof",
    hex_is_what_looks_like_it: "proof_file",
    transfers_of_anybody_count: "sale_responses",
    receipts_of_anybody_count: "payment_responses",
}


@pytest.mark.parametrize(("broken", "name"), BROKEN.items(), ids=[broken.__name__ for broken in BROKEN])
def test_what_is_broken_on_purpose_is_found(monkeypatch, broken, name):
    corpus(name)  # made once, and by what is whole
    broken(monkeypatch)
    assert command.spoilt_inputs(name, 10_000, 1, TARGETS[name]) != []


def test_guided_run():
    """Only where atheris exists (Linux on x86-64)."""
    pytest.importorskip("atheris")
    done, broken = guided.run("command", 3_000, 1)
    assert done >= 3_000 and broken == []
