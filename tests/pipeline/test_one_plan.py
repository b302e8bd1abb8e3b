"""One run makes one plan and reads the ledger once a phase: before the sweep, in it, and in the final comparison."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runner import FakeRunner, Fakes
from helpers.in_process import Tune

from sde_ray.config.load import SweepConfig, check
from sde_ray.evaluation.racing import Opponent
from sde_ray.pipeline import run as pipeline
from sde_ray.pipeline.listener import PipelineListener
from sde_ray.storage.ledger import Ledger
from sde_ray.sweep import plan as plans
from sde_ray.sweep import run as sweeps
from sde_ray.sweep import sweep_run as runs
from sde_ray.testing.planted import planted
from sde_ray.training.runner import RunnerResources
from sde_ray.types import RungResult


class EverySplit(FakeRunner):
    """Scores the splits that the trial asks for."""

    def train_rung(self, index: int, rival: Opponent | None = None, on_checkpoint: Any = None) -> RungResult:
        value = planted(self.config.design, self.config.seed)
        scores = {split: {"weighted_kappa": value, "format_adherence": 1.0} for split in self.config.splits}
        self.rungs.append(RungResult(index, self.config.train_size, scores))
        (self.folder / "adapter").mkdir(exist_ok=True)
        (self.folder / "adapter" / "trial.json").write_text(json.dumps(self.config.resolved()))
        return self.rungs[-1]


class EverySplitFakes(Fakes):
    def __call__(self, resources: RunnerResources) -> EverySplit:
        return EverySplit(self, resources)


def configure(folder: Path, **search: Any) -> SweepConfig:
    return check(
        {
            "name": "study",
            "task": "masa:d1",
            "out_of_domain": [],
            "axes": {
                "format": ["natural", "lines"],
                "instruction": ["first", "last"],
                "reasoning": "none",
                "labels": "text",
                "input_modeling": "off",
                "unmentioned": "placeholder",
            },
            "seeds": [0, 1],
            "train_sizes": 40,
            "eval_size": 20,
            "search": search,
            "storage_path": str(folder),
            "mlflow": {"enabled": False},
            "validation": {"seeds": [101, 102], "test_size": 20, "controls": ["baseline"]},
        }
    )


@pytest.mark.parametrize("search", [{"method": "grid"}, {"method": "adaptive", "rungs": [1.0], "confidence": 1.0}])
def test_one_run_makes_one_plan_and_reads_the_ledger_once_a_phase(
    search: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: Counter[str] = Counter()
    made, phase = plans.plan, ["plan"]

    def count_plan(*arguments: Any) -> plans.Plan:
        calls["plan made"] += 1
        return made(*arguments)

    def counted(read: Callable[[Ledger], Any]) -> Callable[[Ledger], Any]:
        def count_read(ledger: Ledger) -> Any:
            calls[phase[0]] += 1
            return read(ledger)

        return count_read

    class Phases(PipelineListener):
        def on_plan(self, plan: Any) -> None:
            phase[0] = "sweep"

        def on_study(self, study: Any) -> None:
            phase[0] = "assembly"

        def on_validation_start(self, trials: Any) -> None:
            phase[0] = "validation"

        def on_verdict(self, verdict: Any, path: Path) -> None:
            phase[0] = "report"

    monkeypatch.setattr(runs, "plan", count_plan)
    for reader in ("entries", "repair"):
        monkeypatch.setattr(Ledger, reader, counted(getattr(Ledger, reader)))
    monkeypatch.setattr(sweeps, "_tune", Tune())
    result = pipeline.run(configure(tmp_path, **search), Phases(), runner_factory=EverySplitFakes(tmp_path / "calls"))
    assert result.conclusions[0].verdict is not None and result.report is not None
    assert calls == {"plan made": 1, "plan": 1, "sweep": 1, "validation": 1}


def test_the_search_that_has_run_recommends_what_one_made_from_its_ledger_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "_tune", Tune())
    config = configure(tmp_path, method="adaptive", rungs=[1.0], confidence=1.0)
    sweep_run = runs.SweepRun(config)
    outcome = sweeps.run_plan(sweep_run, EverySplitFakes(tmp_path / "calls"))
    assert {result.key: result for result in outcome.results} == runs.SweepRun(config).results == sweep_run.results
    recommended = sweep_run.recommendation("masa:d1", "tiny", 40)
    again = runs.SweepRun(config).recommendation("masa:d1", "tiny", 40)
    assert recommended and [design for design, _ in again] == [design for design, _ in recommended]
    assert [expected for _, expected in again] == pytest.approx([expected for _, expected in recommended], abs=1e-9)
