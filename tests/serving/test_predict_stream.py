"""Rows in, rows out: nothing is asked twice, nobody's row stops the others, and only a chunk is in memory."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_predictor import FakePredictor

from sde_ray.errors import UserError
from sde_ray.serving import predict_stream as stream
from sde_ray.serving.jsonl_rows import MAX_LINE, read_rows
from sde_ray.serving.output_file import MADE_BY, OutputFile
from sde_ray.serving.progress import Progress

MADE = {"adapter": "5f0c"}
GOOD = b'{"id": 1, "text": "good room"}\n{"id": 2, "text": "bad room", "answer": {"room": "good"}, "input_answer": 0}\n'
# line -> (what it says, the fields that its row keeps)
FAULTY: dict[bytes, tuple[str, dict[str, Any]]] = {
    b'{"id": 3\n': ("not JSON", {"line": 3}),
    b"[1, 2]\n": ("not an object", {"line": 3}),
    b"\xff\xfe{}\n": ("not UTF-8", {"line": 3}),
    b'{"id": "\\ud800", "text": "x"}\n': ("half a surrogate pair", {"line": 3}),
    b"[" * 100_000 + b"\n": ("nested too deeply", {"line": 3}),
    b'{"id": 3, "body": "x"}\n': ('no field "text"', {"id": 3, "body": "x"}),
    b'{"id": 3, "text": NaN}\n': ("not a string but float", {"id": 3, "text": None}),
    b'{"id": 3, "text": ["x"]}\n': ("not a string but list", {"id": 3, "text": ["x"]}),
    b'{"id": 3, "text": " \\n"}\n': ("is empty", {"id": 3, "text": " \n"}),
    b'{"id": 3, "text": "' + b"x" * 200_001 + b'"}\n': ("at most 200000", {"id": 3, "text": "x" * 200_001}),
    b'{"text": "' + b"x" * MAX_LINE + b'"}\n': ("longer than", {"line": 3}),
}  # fmt: skip


def run(data: bytes, path: Path, predictor: FakePredictor) -> stream.Counts:
    """What the command does with a file's rows."""
    with OutputFile.open(path, MADE) as output:
        rows = output.skip_answered(read_rows(io.BytesIO(data)))
        return stream.predict_stream(lambda: predictor, rows, output.write)  # type: ignore[arg-type, return-value]


def written(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_keep_their_own_fields_and_their_order(tmp_path: Path) -> None:
    assert run(b"\xef\xbb\xbf" + GOOD + b"\n  \n", tmp_path / "out", FakePredictor()) == stream.Counts(2, 0)
    first, second = written(tmp_path / "out")
    answered = {"answer": {"room": ["good"]}, "completion": "room: good", "faults": []}
    assert first == {"id": 1, "text": "good room", **answered}
    kept = {"input_answer": {"room": "good"}, "input_input_answer": 0}
    assert second == {"id": 2, "text": "bad room", **kept, "answer": {"room": ["bad"]}, "completion": "room: bad",
                      "faults": []}  # fmt: skip


@pytest.mark.parametrize("line", FAULTY, ids=lambda line: FAULTY[line][0])
def test_a_row_that_cannot_be_asked_has_an_error_and_stops_nothing(line: bytes, tmp_path: Path) -> None:
    words, kept = FAULTY[line]
    after = b'{"id": 4, "text": "fine?"}'
    assert run(GOOD + line + after, tmp_path / "out", predictor := FakePredictor()) == stream.Counts(4, 1)
    rows = written(tmp_path / "out")
    assert words in rows[2].pop("error") and rows[2] == kept
    assert rows[3]["faults"] == ["syntax"] and predictor.asked == ["good room", "bad room", "fine?"]
    assert run(GOOD + line + after, tmp_path / "out", again := FakePredictor()).rows == 0 and again.asked == []


def test_a_file_that_was_cut_anywhere_is_completed_to_the_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the last write has left: whole rows are not asked again, a part of one is."""
    monkeypatch.setattr("os.fsync", lambda file: None)
    data = GOOD + b'{"id": 3\n{"id": 4, "text": "d\xc3\xa9j\xc3\xa0"}\n'
    run(data, tmp_path / "whole", FakePredictor())
    whole = (tmp_path / "whole").read_bytes()
    ends = [n for n, byte in enumerate(whole) if byte == ord("\n")]
    for cut in sorted({*range(0, len(whole), 9), *ends, *(end + 1 for end in ends)}):
        path = tmp_path / "cut"
        path.write_bytes(whole[:cut])
        path.with_name("cut" + MADE_BY).write_text(json.dumps(MADE))
        run(data, path, predictor := FakePredictor())
        assert path.read_bytes() == whole, cut
        there = whole[:cut].count(b"\n")  # the third of the four rows has an error, and was never asked
        assert predictor.asked == [text for text in ("good room", "bad room", None, "déjà")[there:] if text], cut


def test_another_input_adapter_or_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out"
    run(GOOD, path, FakePredictor())
    before = path.read_bytes()
    for other in (
        GOOD.replace(b"good room", b"odd room"),
        GOOD.replace(b'"id": 2', b'"id": 7'),
        GOOD[:30],
        b"{\n" + GOOD,
    ):
        with pytest.raises(UserError, match="does not belong to this --input"):
            run(other, path, FakePredictor())
    with pytest.raises(UserError, match="was made with another adapter"):
        OutputFile.open(path, {"adapter": "other"})
    path.with_name(path.name + MADE_BY).unlink()
    with pytest.raises(UserError, match="is there already"):
        run(GOOD, path, FakePredictor())
    assert path.read_bytes() == before, "nothing of it is lost"
    with pytest.raises(UserError, match="cannot be written"):
        run(GOOD, tmp_path, FakePredictor())
    with OutputFile.open(path, MADE, overwrite=True) as output:
        assert list(output.skip_answered(read_rows(io.BytesIO(GOOD)))) and path.read_bytes() == b""
        with pytest.raises(UserError, match="Another sde-ray predict"):
            OutputFile.open(path, MADE)


def test_memory_holds_a_chunk_of_an_endless_input(tmp_path: Path) -> None:
    """The input is read no further ahead than a chunk, whatever its length."""
    ahead, taken, finished = [], 0, 0

    def rows() -> Iterator[Any]:
        nonlocal taken
        for row in read_rows(io.BytesIO(b'{"text": "a room"}\n' * 5_000)):
            taken += 1
            ahead.append(taken - finished)
            yield row

    def write(lines: Any) -> None:
        nonlocal finished
        finished += len(lines)

    counts = stream.predict_stream(FakePredictor, rows(), write)  # type: ignore[arg-type]
    assert counts.rows == finished == 5_000 and max(ahead) <= stream.LARGEST_CHUNK


def test_the_progress_tells_rate_and_time_left() -> None:
    shown = io.StringIO()
    progress = Progress(1000, shown)
    progress.skip(200)
    progress.add(1240, 3, 600)
    assert progress.line(20.0, 600) == "1,240 rows · 62 rows/s · 60% · 20 s left · 3 errors"
    assert shown.getvalue() == "", "no terminal: a plain line now and then"
    assert Progress().line(2.0, 0) == "0 rows · 0.0 rows/s"


KILLED = """
import sys; sys.path[:0] = sys.argv[3:]
from pathlib import Path
from helpers.fake_predictor import FakePredictor
from sde_ray.serving import predict_stream as stream
from sde_ray.serving.jsonl_rows import read_rows
from sde_ray.serving.output_file import OutputFile
with OutputFile.open(Path(sys.argv[2]), {"adapter": "5f0c"}) as output:
    rows = output.skip_answered(read_rows(open(sys.argv[1], "rb")))
    stream.predict_stream(lambda: FakePredictor(0.05), rows, output.write)
"""


@pytest.mark.faults
def test_a_killed_process_loses_a_chunk_at_most(tmp_path: Path) -> None:
    data = b"".join(b'{"id": %d, "text": "room %d"}\n' % (n, n) for n in range(400_000))
    (tmp_path / "in").write_bytes(data)
    paths = [path for path in sys.path if path]
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "in", tmp_path / "out", *paths])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        time.sleep(0.05)
        if (tmp_path / "out").exists() and (tmp_path / "out").stat().st_size > 50_000:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = (tmp_path / "out").read_bytes().count(b"\n")
    assert there > 100
    first = data[: sum(len(b'{"id": %d, "text": "room %d"}\n' % (n, n)) for n in range(there + 100))]
    run(first, tmp_path / "out", predictor := FakePredictor())
    assert len(predictor.asked) == 100 and [row["id"] for row in written(tmp_path / "out")] == list(range(there + 100))
