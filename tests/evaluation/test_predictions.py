"""A trial's completions on disk: what is written is read, whatever a completion holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_ray import metrics
from sde_ray.evaluation.predictions import Prediction, completions_by_task, read_predictions, write_predictions

ROWS = [
    Prediction("1", "dev", 'food: "good"\nprice: bad\u2028\x85\r', "masa:d1"),
    Prediction("2", "dev", "价格：积极 \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "masa:d1"),
    Prediction("1", "dev_ood", "", "masa:d2"),
]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.jsonl", ROWS)
    assert read_predictions(tmp_path / "p.jsonl") == ROWS
    first = '{"split": "dev", "id": "1", "prediction": "food: \\"good\\"\\nprice: bad'
    assert (tmp_path / "p.jsonl").read_text(encoding="utf-8").startswith(first)
    assert completions_by_task(tmp_path / "p.jsonl", "masa:d1") == {
        ("dev", "masa:d1"): {"1": ROWS[0].prediction, "2": ROWS[1].prediction},
        ("dev_ood", "masa:d2"): {"1": ""},
    }


def test_a_line_without_a_task_is_of_the_trials_own(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"split": "test", "id": "7", "prediction": "x"}\n')
    assert completions_by_task(tmp_path / "p.jsonl", "mine") == {("test", "mine"): {"7": "x"}}


@pytest.mark.parametrize("line", ['{"split": "later", "id": "7", "prediction": "x"}', '{"id": "7"}', "[", "7"])
def test_a_broken_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "p.jsonl").write_text('{"split": "dev", "id": "1", "prediction": "x"}\n' + line + "\n")
    with pytest.raises(ValueError, match="line 2: "):
        read_predictions(tmp_path / "p.jsonl")


def test_a_metric_is_averaged_over_the_tasks_that_have_it() -> None:
    assert metrics.mean_over_tasks([{"f1": 0.5, "f1/food": 1.0}, {"f1": 0.25}]) == {"f1": 0.375, "f1/food": 1.0}
    assert metrics.mean_over_tasks([]) == {}
