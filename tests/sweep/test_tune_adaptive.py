"""`adaptive` through Ray Tune with a planted best design: found, pruned, failed, stopped half-way and resumed."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runner import Fakes
from rich.console import Console

from sde_ray.config.load import check
from sde_ray.config.schema import Resources
from sde_ray.design.designs import make_design
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.mirror import LocalFolder
from sde_ray.sweep.callback import SweepCallback
from sde_ray.sweep.cluster.ray_session import ray_session
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.resume import trained_share
from sde_ray.sweep.run import SweepOutcome, run_sweep
from sde_ray.testing.planted import BEST, planted
from sde_ray.types import TrialResult

pytestmark = pytest.mark.cluster
RUNGS = [0.25, 0.5, 1.0]


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    with ray_session(Resources(max_concurrent_trials=2)):
        yield


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    return Fakes(tmp_path / "calls.jsonl")


def sweep(folder: Path, runner: Fakes, shown: io.StringIO | None = None, **search: Any) -> SweepOutcome:
    values = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20, "storage_path": str(folder / "runs")}
    config = check({**values, "seeds": [0, 1], "search": {"method": "adaptive", **search}})
    return run_sweep(config, runner, None, Progress(Console(file=shown or io.StringIO(), width=200)))


def entries(folder: Path) -> list[TrialResult]:
    return Ledger(folder / "runs" / "x" / "ledger.jsonl").entries()


def best_of(outcome: SweepOutcome) -> TrialResult:
    finished = [result for result in outcome.results if result.status == "finished"]
    return max(finished, key=lambda result: result.scores["dev"]["weighted_kappa"])


def test_full_trials_at_most_24_find_the_best_of_216(tmp_path: Path, fakes: Fakes) -> None:
    outcome = sweep(tmp_path, fakes, n_trials=24)
    assert len(outcome.results) == len(fakes.begun()) <= 24
    assert best_of(outcome).config["design"] == dict(BEST.options)
    calls = len(fakes.begun())
    assert sweep(tmp_path, fakes, n_trials=24).results == outcome.results
    assert len(fakes.begun()) == calls, "what has ended is not begun again"


def test_rungs_stop_the_weak_and_progress_counts_shares(tmp_path: Path, fakes: Fakes) -> None:
    shown = io.StringIO()
    outcome = sweep(tmp_path, fakes, shown, n_trials=8, rungs=RUNGS, confidence=1.0)
    states = Counter(result.status for result in outcome.results)
    assert states["pruned"] >= 12 and states["finished"] >= 1
    spent = sum(map(trained_share, entries(tmp_path)))
    assert 7 < spent <= 8
    lines = [line for line in shown.getvalue().splitlines() if line.startswith("[")]
    assert lines[0].startswith("[1/8] ") and lines[-1].startswith(f"[{spent:g}/8] ")
    assert any(line.startswith("[3.25/8] ") for line in lines), "a stopped trial counts with its share"
    assert best_of(outcome).config["design"] == dict(BEST.options)


def test_stopped_half_way_it_goes_on_within_the_same_budget(
    tmp_path: Path, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = SweepCallback.record

    def stop_after_ten(recorder: SweepCallback, result: TrialResult, store: LocalFolder, folder: Path) -> None:
        record(recorder, result, store, folder)
        recorder.stopping = len(recorder.ended) >= 10

    with monkeypatch.context() as patch:
        patch.setattr(SweepCallback, "record", stop_after_ten)
        sweep(tmp_path, fakes, n_trials=8, rungs=RUNGS, confidence=1.0)
    half = entries(tmp_path)
    assert 10 <= len(half) <= 12
    outcome = sweep(tmp_path, fakes, n_trials=8, rungs=RUNGS, confidence=1.0)
    assert sum(map(trained_share, entries(tmp_path))) <= 8
    assert len(outcome.results) > len(half)
    assert best_of(outcome).config["design"] == dict(BEST.options)


def test_failing_trials_are_data_and_others_win(tmp_path: Path, fakes: Fakes) -> None:
    outcome = sweep(tmp_path, Fakes(fakes.calls, fail="lines"), n_trials=22)
    states = Counter(result.status for result in outcome.results)
    assert states["failed"] >= 1 and states["finished"] >= 10
    best = make_design(**best_of(outcome).config["design"])
    assert best["format"] != "lines" and best["instruction"] == "first" and planted(best) > 0.6
