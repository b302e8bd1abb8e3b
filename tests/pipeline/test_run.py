"""The whole study without a model: from a YAML file to a verdict, files, MLflow; stopped half-way and resumed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_runner import FakeRunner, Fakes
from rich.console import Console
from typer.testing import CliRunner

from sde_ray.analysis import strategy, verdict
from sde_ray.cli.app import app
from sde_ray.cli.views.live import ConsoleListener
from sde_ray.config.load import check
from sde_ray.config.open import open_sweep
from sde_ray.config.schema import Resources, SweepConfig
from sde_ray.design.designs import NAMED
from sde_ray.evaluation.racing import Opponent
from sde_ray.pipeline import run as flow
from sde_ray.pipeline.open_run import open_run
from sde_ray.sweep.cluster.ray_session import ray_session
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.testing.planted import BEST, planted
from sde_ray.tracking.tracking_uri import resolve_tracking_uri
from sde_ray.training.runner import RunnerResources
from sde_ray.types import RungResult

pytestmark = pytest.mark.cluster
SEEDS = (101, 102, 103)


class EverySplit(FakeRunner):
    """Scores the splits that the trial asks for, and leaves an adapter behind."""

    def train_rung(self, index: int, rival: Opponent | None = None, on_checkpoint: Any = None) -> RungResult:
        score = planted(self.config.design, self.config.seed)
        scores = {split: {"weighted_kappa": score, "format_adherence": 1.0} for split in self.config.splits}
        self.rungs.append(RungResult(index, self.config.train_size, scores))
        adapter = self.folder / "adapter"
        adapter.mkdir(exist_ok=True)
        (adapter / "trial.json").write_text(json.dumps(self.config.resolved()))
        return self.rungs[-1]


class EverySplitFakes(Fakes):
    def __call__(self, place: RunnerResources) -> EverySplit:
        return EverySplit(self, place)


@pytest.fixture(scope="module", autouse=True)
def ray_here() -> Iterator[None]:
    before = os.environ.get("PYTHONPATH")
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), before]  # workers unpickle the runners here
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    with ray_session(Resources(max_concurrent_trials=1)):
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> SweepConfig:
    values: dict[str, Any] = {
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
        "seeds": [0, 1, 2],
        "train_sizes": 40,
        "eval_size": 20,
        "search": {"method": "grid"},
        "storage_path": str(tmp_path_factory.mktemp("flow") / "runs"),
        "validation": {"seeds": list(SEEDS), "test_size": 20, "controls": ["baseline", "es-sde"]},
    }
    return check(values)


@pytest.fixture(scope="module")
def fakes(tmp_path_factory: pytest.TempPathFactory) -> EverySplitFakes:
    return EverySplitFakes(tmp_path_factory.mktemp("calls") / "calls.jsonl")


@pytest.fixture(scope="module")
def told() -> io.StringIO:
    return io.StringIO()


def tell(told: io.StringIO) -> ConsoleListener:
    console = Console(file=told, width=200)
    return ConsoleListener(console, Progress(console))


@pytest.fixture(scope="module")
def outcome(config: SweepConfig, fakes: EverySplitFakes, told: io.StringIO) -> flow.PipelineResult:
    return flow.run(config, tell(told), runner_factory=fakes)


def test_the_planted_best_is_assembled_and_wins(outcome: flow.PipelineResult) -> None:
    (conclusion,) = outcome.conclusions
    assert conclusion.strategy.design == BEST.replace(unmentioned="placeholder")
    assert conclusion.verdict is not None
    claims = {row.control: row.claim for row in conclusion.verdict.overall()}
    assert claims["baseline"] == "better"
    assert claims["es-sde"] == "same design"
    assert conclusion.verdict.recommended == "assembled"


def test_each_step_leaves_its_file(outcome: flow.PipelineResult, config: SweepConfig) -> None:
    saved = strategy.load(outcome.folder / "strategy.yaml")
    judged = verdict.load(outcome.folder / "validation.json")
    assert saved.verdict == judged.summary != ""
    assert saved.design == outcome.conclusions[0].strategy.design
    trial = json.loads((outcome.folder / "adapter" / "trial.json").read_text())
    assert (trial["seed"], trial["design"]) == (SEEDS[0], dict(saved.design.options))


def test_the_story_tells_every_step(outcome: flow.PipelineResult, told: io.StringIO) -> None:
    said = told.getvalue()
    steps = [
        "12 trials",
        "Leaderboard",
        "Effects on weighted_kappa",
        "Assembled strategy",
        "Final comparison",
        "Verdict",
    ]
    places = [said.index(step) for step in [*steps, "Verdict"]]
    assert places == sorted(places)


def test_effects_are_the_planted_ones(outcome: flow.PipelineResult) -> None:
    differences = open_run(outcome.folder).effects().set_index(["axis", "option"])["difference"]
    assert differences["format", "lines"] == pytest.approx(0.2, abs=0.01)
    assert differences["instruction", "first"] == pytest.approx(0.2, abs=0.01)


def test_test_scores_never_reach_the_studies(outcome: flow.PipelineResult, config: SweepConfig) -> None:
    run = open_run(outcome.folder)
    searched = set(run.trials().query("phase == 'search'")["key"])
    (study,) = run.studies
    assert {result.key for result in study.results} == searched < set(run.trials()["key"])
    assert list(run.leaderboard()["trials"]) == [len(config.seeds)] * 4
    assert set(run.validation()["split"]) == {"test"} and len(run.validation()) > 0


def test_mlflow_has_the_sweep_its_trials_and_the_tables(outcome: flow.PipelineResult, config: SweepConfig) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=resolve_tracking_uri(config))
    experiment = client.get_experiment_by_name("sde_ray")
    runs = client.search_runs([experiment.experiment_id])
    kinds = [run.data.tags["sde.run"] for run in runs]
    contenders = {BEST.replace(unmentioned="placeholder"), NAMED["baseline"]}
    assert (kinds.count("sweep"), kinds.count("trial")) == (1, 4 * 3 + len(contenders) * len(SEEDS))
    assert {run.info.status for run in runs} == {"FINISHED"}
    (parent,) = [run for run in runs if run.data.tags["sde.run"] == "sweep"]
    files = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"leaderboard.json", "effects.json", "validation.json", "strategy.yaml", "report.html"} <= files
    assert {"pareto.json", "effects.svg", "interactions.svg"} <= files


def test_the_same_command_again_trains_nothing(
    outcome: flow.PipelineResult, config: SweepConfig, fakes: EverySplitFakes
) -> None:
    before = fakes.begun()
    again = flow.run(config, tell(io.StringIO()), runner_factory=fakes)
    assert fakes.begun() == before
    assert again.to_dict()["conclusions"] == outcome.to_dict()["conclusions"]


def test_effects_and_assemble_read_the_folder(outcome: flow.PipelineResult) -> None:
    shown = CliRunner().invoke(app, ["effects", str(outcome.folder), "--json"])
    (study,) = json.loads(shown.stdout)
    assert study["leaderboard"][0]["format"] == "lines"
    made = CliRunner().invoke(app, ["assemble", str(outcome.folder), "--json"])
    assert json.loads(made.stdout)[0]["strategy"]["design"]["instruction"] == "first"
    priced = CliRunner().invoke(app, ["assemble", str(outcome.folder), "--pareto", "--json"])
    assert json.loads(priced.stdout)[0]["pareto"] == study["pareto_front"]
    strict = ["assemble", str(outcome.folder), "--min-format-adherence", "1"]
    strict += ["--set", "constraints.max_output_tokens=30"]
    assert CliRunner().invoke(app, strict).exit_code == 2  # the fakes count no tokens


def test_the_report_is_written_again_from_the_folder(outcome: flow.PipelineResult) -> None:
    page = outcome.folder / "report.html"
    first = page.read_text(encoding="utf-8")
    assert outcome.report == page
    assert outcome.conclusions[0].verdict.summary.split(".")[0] in first
    page.unlink()
    assert CliRunner().invoke(app, ["report", str(outcome.folder)]).exit_code == 0
    assert page.read_text(encoding="utf-8").count("<section") == first.count("<section") == 1


def test_the_report_is_written_by_the_run_and_again_from_what_was_kept(outcome: flow.PipelineResult) -> None:
    path = outcome.folder / "report.html"
    first = path.read_text(encoding="utf-8")
    assert (
        "The assembled design wins" in first and "fixed by the sweep" in first and "Inst-first, No-MI, Lines" in first
    )
    path.unlink()
    done = CliRunner().invoke(app, ["report", str(outcome.folder)])
    assert done.exit_code == 0, done.output
    assert path.read_text(encoding="utf-8") == first


def test_a_folder_names_its_own_sweep(outcome: flow.PipelineResult, config: SweepConfig) -> None:
    again = open_sweep(outcome.folder)
    assert (again.name, again.seeds, again.validation) == (config.name, config.seeds, config.validation)
    assert resolve_tracking_uri(again) == resolve_tracking_uri(config)


class Stopping(ConsoleListener):
    """Presses Ctrl-C after the second trial."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, Impatient(console))


class Impatient(Progress):
    def ended(self, result: Any, score: float | None) -> None:
        super().ended(result, score)
        if self.done == 2:
            os.kill(os.getpid(), 2)


def test_ctrl_c_says_what_is_saved_and_mlflow_says_killed(
    config: SweepConfig, tmp_path: Path, fakes: EverySplitFakes
) -> None:
    from mlflow import MlflowClient

    stopped = config.model_copy(update={"storage_path": str(tmp_path)})
    outcome = flow.run(stopped, Stopping(Console(file=io.StringIO())), runner_factory=fakes)
    saved = len(stopped.run_dir.results())
    assert 2 <= saved < 12
    assert f"{saved} of 12 trials are saved" in outcome.interrupted
    client = MlflowClient(tracking_uri=resolve_tracking_uri(stopped))
    (experiment,) = [one for one in client.search_experiments() if one.name == "sde_ray"]
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`sde.run` = 'sweep'")
    assert parent.info.status == "KILLED"

    assert SweepRun(stopped).plan.estimate.finished == saved
