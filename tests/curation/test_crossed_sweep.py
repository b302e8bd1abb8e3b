"""A sweep that crosses two design axes, a training axis and a nuisance axis, from its plan to the verdict, without a
model: what is planted is found, with intervals, and what is not planted is not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from helpers import in_process
from helpers.fake_runner import FakeRunner, Fakes

import sde_ray
from sde_ray.cli.views.plan import summary
from sde_ray.config.load import load_config
from sde_ray.sweep.plan import plan
from sde_ray.training.runner import RunnerResources
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import RungResult

pytestmark = pytest.mark.slow
PINNED = {"input_modeling": "off", "unmentioned": "placeholder", "labels": "text", "reasoning": "none"}
AXES = {**PINNED, "format": ["natural", "lines"], "instruction": ["last", "first"], "repeat": [1, 4]}


class PlantedRunner(FakeRunner):
    """`lines` brings 0.08, and `gain` comes with repeat=4; the rate 0.006 brings 0.15, whatever the design."""

    def train_rung(self, index: int, rival: Any = None, on_checkpoint: Any = None) -> RungResult:
        assert isinstance(self.fakes, Planted)
        design, train = dict(self.config.design.options), self.config.train
        score = 0.4 + 0.08 * (design["format"] == "lines") + 0.15 * (train.learning_rate == 0.006)
        score += self.fakes.gain * (design.get("repeat") == "4") + Random(self.config.key).gauss(0, 0.01)
        scores = {split: {"weighted_kappa": score, "format_adherence": 1.0} for split in self.config.splits}
        self.rungs.append(RungResult(index, self.config.train_size, scores))
        adapter = self.folder / "adapter"
        adapter.mkdir(exist_ok=True)
        (adapter / "trial.json").write_text(json.dumps(self.config.resolved()))
        return self.rungs[-1]


@dataclass(frozen=True)
class Planted(Fakes):
    gain: float = 0.0

    def __call__(self, place: RunnerResources) -> PlantedRunner:
        return PlantedRunner(self, place)


def crossed(folder: Path, gain: float, **values: Any) -> sde_ray.Run:
    defaults = {
        "name": "crossed",
        "task": "masa:d1",
        "axes": {**AXES, "learning_rate": [0.001, 0.006]},
        "search": {"method": "grid"},
        "seeds": [0, 1],
        "train_sizes": 40,
        "eval_size": 20,
        "out_of_domain": [],
        "storage_path": str(folder / "runs"),
        "mlflow": {"enabled": False},
        "validation": {"seeds": [101, 102, 103], "test_size": 20, "controls": ["baseline"]},
    }
    sweep = folder / "crossed.yaml"
    sweep.write_text(yaml.safe_dump({**defaults, **values}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sde_ray.sweep.run._tune", in_process.Tune())
        return sde_ray.run(sweep, runner_factory=Planted(folder / "calls", gain=gain))


@pytest.fixture(scope="module")
def helping(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, sde_ray.Run]:
    folder = tmp_path_factory.mktemp("helping")
    return folder, crossed(folder, 0.1, mlflow={"tracking_uri": f"sqlite:///{folder / 'mlflow.db'}"})


def test_the_plan_names_the_axes(helping: tuple[Path, sde_ray.Run]) -> None:
    lines = "\n".join(summary(plan(load_config(helping[0] / "crossed.yaml"))))
    assert "repeat, training: 1, 4" in lines
    assert "learning_rate, training: 0.001, 0.006; a test of robustness" in lines


def test_what_helps_is_found_and_becomes_part_of_the_combination(helping: tuple[Path, sde_ray.Run]) -> None:
    strategy = helping[1].strategy
    assert strategy is not None
    effect = next(one for one in strategy.effects if one.axis == "repeat")
    assert effect.low is not None and effect.low > 0.05 and effect.difference == pytest.approx(0.1, abs=0.02)
    assert (strategy.design["repeat"], strategy.design["format"], strategy.design["instruction"]) == (
        "4",
        "lines",
        "last",
    )
    assert "learning_rate" not in dict(strategy.design.options)
    assert strategy.ranking.startswith("The ranking of designs holds at each learning_rate")


def test_the_final_comparison_uses_the_whole_combination(helping: tuple[Path, sde_ray.Run]) -> None:
    verdict = helping[1].verdict
    assert verdict is not None
    (row,) = [one for one in verdict.overall() if one.control == "baseline"]
    assert row.claim == "better" and row.paired is not None
    assert row.paired.difference == pytest.approx(0.18, abs=0.03)
    assert "The ranking of designs holds at each learning_rate" in verdict.summary
    again = {row.at: row for row in verdict.repeated if row.control == "baseline"}
    assert list(again) == ["learning_rate=0.001", "learning_rate=0.006"]
    assert {row.claim for row in again.values()} == {"better"}
    assert "The same is found at learning_rate 0.001:" in verdict.summary


def test_page_and_mlflow_have_them(helping: tuple[Path, sde_ray.Run]) -> None:
    from mlflow import MlflowClient

    folder = helping[0]
    page = (folder / "runs" / "crossed" / "report.html").read_text()
    assert "The ranking of designs holds at each learning_rate" in page and "4 epochs of 1/4" in page
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "sde_ray"]
    runs = client.search_runs([experiment.experiment_id], "tags.`sde.phase` = 'search'", max_results=100)
    params = {(run.data.params["repeat"], run.data.params["learning_rate"]) for run in runs}
    assert params == {(repeat, rate) for repeat in ("1", "4") for rate in ("0.001", "0.006")}
    assert {run.data.params["train.learning_rate"] for run in runs} == {"0.001", "0.006"}


def test_the_shipped_sweep_trains_and_is_judged_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sweeps/crossed.yaml with a real, small training: both kinds of axes are in plan, strategy, verdict and page."""
    monkeypatch.setattr("sde_ray.sweep.run._tune", in_process.Tune())
    runners: list[TrialRunner] = []

    def factory(place: RunnerResources) -> TrialRunner:
        runners[:] = runners or [TrialRunner(WorkerGroup(RunnerResources(), in_process=True))]
        return runners[0]

    sets = ["axes.instruction=last", "axes.train_size=[8, 16]", "seeds=[0]", "eval_size=20", "mlflow.enabled=false"]
    sets += ["validation.seeds=[101]", "validation.test_size=20", "validation.controls=[baseline]"]
    shipped = Path(__file__).parents[2] / "sweeps" / "crossed.yaml"
    run = sde_ray.run(shipped, [*sets, f"storage_path={tmp_path}"], runner_factory=factory)
    trials = run.trials()
    search = trials[trials["phase"] == "search"]
    assert set(search["status"]) == {"finished"} and len(search) == 2 * 2 * 2 + 2  # a second seed of the first design
    assert run.strategy is not None and {"format", "train_size"} < set(dict(run.strategy.design.options))
    assert {check.option for check in run.strategy.robustness} == {"0.004", "0.006"}
    assert run.verdict is not None and {row.at for row in run.verdict.repeated} == {"learning_rate=0.004"}
    assert "all trained again at learning_rate 0.004" in (tmp_path / "crossed" / "report.html").read_text()


def test_what_does_not_help_keeps_its_neutral_option(tmp_path: Path) -> None:
    strategy = crossed(tmp_path, 0.0).strategy
    assert strategy is not None
    effect = next(one for one in strategy.effects if one.axis == "repeat")
    assert effect.low is not None and effect.high is not None and effect.low <= 0 <= effect.high
    assert strategy.design["repeat"] == "1" and strategy.design["format"] == "lines"
