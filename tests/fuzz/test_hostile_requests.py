"""Bodies that anybody sends to `sde-ray serve`, and lines of files that anybody gives to `sde-ray predict`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from fuzz.hostile import Outcomes, encoded, hostile, mutated, odd_values, twisted
from helpers.fake_predictor import FakePredictor
from hypothesis import strategies as st

from sde_ray.safe_json import read_json
from sde_ray.serving.jsonl_rows import output_line, output_row, read_rows
from sde_ray.serving.predict_stream import predict_stream
from sde_ray.serving.requests import Asked, RequestError, read_chat, read_completion, read_predict

CHAT = {
    "model": "hotels",
    "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [{"type": "text", "text": "t"}]}],
    "temperature": 0.5,
    "stream": False,
}
LINES = '{"id": 1, "text": "good room"}\n{"id": 2.5, "text": "bad", "answer": {"room": ["x"]}}\n'


@hostile(
    6_000,
    body=st.one_of(twisted(CHAT), twisted({"text": "x"}), twisted({"prompt": ["a", "b"], "n": 1}), odd_values()),
)
def test_bodies(outcomes: Outcomes, body: Any) -> None:
    """A body is texts, or refused with a status of the client's own."""
    for read in (read_predict, lambda body: read_chat(body, "hotels"), lambda body: read_completion(body, "hotels")):
        try:
            asked = read(body)
        except RequestError as error:
            outcomes.refused += 1
            assert error.status in (400, 404, 413) and error.message
        else:
            outcomes.accepted += 1
            assert isinstance(asked, Asked) and asked.texts and all(isinstance(name, str) for name in asked.ignored)


@hostile(4_000, raw=mutated(LINES).flatmap(lambda text: encoded(text, spoiled_one_in=3)))
def test_lines(outcomes: Outcomes, tmp_path: Path, raw: bytes) -> None:
    """Each line that is not blank becomes one row of JSON, with an answer or an error."""
    written: list[bytes] = []
    rows = list(read_rows(io.BytesIO(raw)))
    predictor = FakePredictor()
    counts = predict_stream(lambda: predictor, iter(rows), written.extend)  # type: ignore[arg-type, return-value]
    assert counts.rows == len(rows) == len(written)
    for row, line in zip(rows, written, strict=True):
        value = read_json(line)
        assert ("error" in value) != ("completion" in value) and line.count(b"\n") == 1
        outcomes.accepted += "error" not in value
        outcomes.refused += "error" in value
        assert json.loads(output_line(output_row(row, {"error": "x"})))["error"] == "x"
