import json
import struct
import zipfile

import pyarrow as pa
import pytest

from routers.base import Outcome
from routers.data.importers.registry import detect, import_outcomes
from routers.data.outcomes import OutcomeError

HEADER = {"version": 2, "status": "success", "eval": {"task": "gsm8k", "model": "openai/gpt-4o"}}


def sample(value="C", **changes):
    return {
        "id": 1,
        "epoch": 1,
        "input": "How many eggs?",
        "target": "18",
        "output": {"choices": [{"message": {"role": "assistant", "content": "ANSWER: 18"}}]},
        "scores": {"match": {"value": value, "answer": "18"}, "other": {"value": "I"}},
        "model_usage": {"openai/gpt-4o": {"input_tokens": 9, "total_cost": 0.01}},
        **changes,
    }


def json_log(path, *samples):
    path.write_text(json.dumps({**HEADER, "samples": samples}))
    return path


def archive(path, entries, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in entries.items():
            file.writestr(name, data if isinstance(data, bytes) else json.dumps(data))
    return path


def as_zstandard(path, sizes):
    """Mark the stored entries as compressed with method 93, which zipfile can't write, with their sizes before that."""
    data = bytearray(path.read_bytes())
    for signature, method, size in ((b"PK\x03\x04", 8, 22), (b"PK\x01\x02", 10, 24)):
        at = -1
        for original in sizes:
            at = data.index(signature, at + 1)
            struct.pack_into("<H", data, at + method, 93)
            struct.pack_into("<I", data, at + size, original)
    path.write_bytes(data)
    return path


EXPECTED = Outcome(
    "How many eggs?",
    {"openai/gpt-4o": 1.0},
    id="1",
    group="gsm8k",
    costs={"openai/gpt-4o": 0.01},
    answers={"openai/gpt-4o": "18"},
    target="18",
)


def test_a_json_log(tmp_path):
    path = json_log(tmp_path / "log.json", sample())
    assert detect(path) == "inspect"
    assert import_outcomes("inspect", [path]).outcomes == (EXPECTED,)


@pytest.mark.parametrize("header", ["header.json", "_journal/start.json"])
def test_an_archive_finished_or_not(tmp_path, header):
    entries = {header: HEADER, "samples/1_epoch_1.json": sample(), "summaries.json": []}
    path = archive(tmp_path / "log.eval", entries, compression=zipfile.ZIP_DEFLATED)
    assert import_outcomes("auto", [path]).outcomes == (EXPECTED,)


def test_an_archive_compressed_with_zstandard(tmp_path):
    texts = {"header.json": json.dumps(HEADER).encode(), "samples/1_epoch_1.json": json.dumps(sample()).encode()}
    packed = {name: pa.compress(text, codec="zstd", asbytes=True) for name, text in texts.items()}
    path = as_zstandard(archive(tmp_path / "log.eval", packed), [len(text) for text in texts.values()])
    assert import_outcomes("inspect", [path]).outcomes == (EXPECTED,)


@pytest.mark.parametrize(
    ("value", "reward"),
    [
        ("C", 1.0),
        ("P", 0.5),
        ("I", 0.0),
        ("N", 0.0),
        (True, 1.0),
        (0.25, 0.25),
        ("Yes", 1.0),
        ("false", 0.0),
        ("0.5", 0.5),
    ],
)
def test_values_become_numbers_as_inspect_does_it(tmp_path, value, reward):
    (outcome,) = import_outcomes("inspect", [json_log(tmp_path / "log.json", sample(value))]).outcomes
    assert outcome.rewards == {"openai/gpt-4o": reward}


def test_epochs_are_averaged_and_samples_without_a_number_left_out(tmp_path):
    path = json_log(
        tmp_path / "log.json",
        sample("C"),
        sample("I", epoch=2),
        sample(id=2, scores=None, error={"message": "timeout"}),
        sample({"a": 1}, id=3),
        sample(float("nan"), id=4),
    )
    imported = import_outcomes("inspect", [path])
    assert imported.outcomes[0].rewards == {"openai/gpt-4o": 0.5}
    assert len(imported.outcomes) == 1
    assert imported.left_out == {"samples without a score": 1, "samples whose score is no single number": 2}


def test_messages_and_attachments_become_text(tmp_path):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "attachment://abc"}]
    path = json_log(tmp_path / "log.json", sample(input=messages, attachments={"abc": "How many eggs?"}))
    assert import_outcomes("inspect", [path]).outcomes[0].query == "Be brief.\n\nHow many eggs?"


def test_logs_of_two_models_are_merged(tmp_path):
    one = json_log(tmp_path / "one.json", sample())
    two = tmp_path / "two.json"
    two.write_text(json.dumps({"eval": {"task": "gsm8k", "model": "local/tiny"}, "samples": [sample("I")]}))
    (outcome,) = import_outcomes("auto", [one, two]).outcomes
    assert outcome.rewards == {"openai/gpt-4o": 1.0, "local/tiny": 0.0}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"samples/1_epoch_1.json": sample()}, "expected 'header.json' in the archive, got 1 other files"),
        ({"header.json": b"{"}, "header.json: expected JSON"),
        ({"header.json": {"eval": {}}}, "expected an Inspect log, with 'eval' and its 'model'"),
        (
            {"header.json": HEADER, "samples/1_epoch_1.json": sample(9)},
            "log.eval:1: field 'value': .* from 0 to 1, got 9",
        ),
        ({"header.json": HEADER, "samples/1_epoch_1.json": [1]}, "log.eval:1: expected an object"),
    ],
)
def test_a_wrong_archive_says_what_was_expected(tmp_path, entries, message):
    with pytest.raises(OutcomeError, match=message):
        import_outcomes("inspect", [archive(tmp_path / "log.eval", entries)])


@pytest.mark.parametrize(
    "damage", [lambda data: b"no zip", lambda data: data[:-30], lambda data: bytes(80) + data[80:]]
)
def test_a_damaged_archive_says_so(tmp_path, damage):
    path = archive(tmp_path / "log.eval", {"header.json": HEADER, "samples/1_epoch_1.json": sample()})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OutcomeError, match=r"log.eval: .*damaged"):
        import_outcomes("inspect", [path])
