"""The log of a training: what is written is read, also half-way, and nothing in it can harm its reader."""

from __future__ import annotations

from pathlib import Path

import pytest

from sde_ray.storage.train_log import TrainLog, TrainStep

STEPS = [TrainStep(n, 3.0 / n, 1e-3 * n) for n in range(1, 6)]


def test_what_is_written_is_read_from_any_step_on(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "log.jsonl")
    log.start()
    log.append(STEPS[:3])
    assert log.read() == STEPS[:3]
    log.append(STEPS[3:])
    assert log.read(after=3) == STEPS[3:]


def test_a_resumed_trial_begins_its_log_with_the_steps_before(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "log.jsonl")
    log.start()
    log.append(STEPS)
    log.start(STEPS[:2])
    log.append([TrainStep(3, 0.5, 0.1)])
    assert log.read() == [*STEPS[:2], TrainStep(3, 0.5, 0.1)]


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 6, "loss": 1.0, "learning_ra',
        '{"step": 6, "loss": NaN, "learning_rate": 0.1}',
        '{"step": 6, "loss": 1e999, "learning_rate": 0.1}',
        '{"step": 0, "loss": 1.0, "learning_rate": 0.1}',
        '{"step": true, "loss": 1.0, "learning_rate": 0.1}',
        '{"step": 1e300, "loss": 1.0, "learning_rate": 0.1}',
        '{"step": 6, "loss": "1.0", "learning_rate": 0.1}',
        '{"step": 6, "loss": 1' + "0" * 400 + ', "learning_rate": 0.1}',
        "[]",
        "null",
        "\ufffd",
    ],
)
def test_a_line_that_is_none_is_passed_over(tmp_path: Path, line: str) -> None:
    log = TrainLog(tmp_path / "log.jsonl")
    log.append(STEPS[:2])
    with log.path.open("a") as file:
        file.write(line)
    assert log.read() == STEPS[:2]


def test_a_log_that_cannot_be_written_or_read_is_none(tmp_path: Path) -> None:
    log = TrainLog(tmp_path / "no such folder" / "log.jsonl")
    log.start(STEPS)
    log.append(STEPS)
    assert log.read() == []
