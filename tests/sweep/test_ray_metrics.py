"""The metrics of a sweep: what each says as trials start and end, that none costs a sweep, and a real scrape."""

from __future__ import annotations

import io
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.fake_runner import Fakes
from rich.console import Console

from sde_ray.config.load import check
from sde_ray.config.schema import SweepConfig
from sde_ray.sweep import ray_metrics
from sde_ray.sweep.cluster.ray_session import short_folder
from sde_ray.sweep.progress import Progress
from sde_ray.sweep.ray_metrics import METRICS, Metric, SweepMetrics
from sde_ray.sweep.run import run_sweep
from sde_ray.sweep.sweep_run import SweepRun
from sde_ray.sweep.tune_job import TuneJob
from sde_ray.testing.planted import planted
from sde_ray.types import TrialResult

pytestmark = pytest.mark.filterwarnings("error:The sweep exports no metrics")


def configure(folder: Path, **values: Any) -> SweepConfig:
    base: dict[str, Any] = {"name": "x", "task": "masa:d1", "train_sizes": 40, "eval_size": 20}
    base |= {"axes": {"format": ["natural", "lines"], "reasoning": "none", "labels": "text"}}
    base |= {"search": {"method": "grid"}, "storage_path": str(folder / "runs"), "mlflow": {"enabled": False}}
    return check({**base, **values})


@dataclass
class Board:
    """What gauges were set to, by name and tags."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)

    def gauges(self) -> dict[Metric, Any]:
        return {metric: SimpleNamespace(set=self._setter(metric)) for metric in METRICS}

    def _setter(self, metric: Metric) -> Callable[[float, dict[str, str]], None]:
        def put(value: float, tags: dict[str, str]) -> None:
            assert set(tags) == set(metric.tags), "Ray refuses a value that lacks a tag"
            self.values[metric.name, frozenset(tags.items())] = value

        return put

    def read(self, name: str, **tags: str) -> list[float]:
        return [value for (one, had), value in self.values.items() if one == name and tags.items() <= dict(had).items()]


@pytest.fixture
def job(tmp_path: Path) -> TuneJob:
    gpus = {"num_workers": 2, "resources_per_worker": {"GPU": 1}}
    return job_of(SweepRun(configure(tmp_path, resources=gpus)))


def job_of(sweep_run: SweepRun, search: bool = True) -> TuneJob:
    return TuneJob(sweep_run, sweep_run.start_queue({}), sweep_run.run_dir.ledger, "dev", sweep_run.score, search)


def end(job: TuneJob, metrics: SweepMetrics, status: Any = "finished") -> TrialResult:
    trial = job.queue.next_trial()
    assert trial is not None
    metrics.started(trial)
    scores = {"dev": {"weighted_kappa": planted(trial.design, trial.seed)}} if status != "failed" else {}
    result = TrialResult(trial.key, trial.resolved(), status, scores, seconds={"total": 3.0})
    metrics.ended(result, job.score(result))
    return result


def test_each_status_counts_and_what_remains_goes_down(job: TuneJob) -> None:
    board = Board()
    metrics, count = SweepMetrics(job, gauges=board.gauges), job.sweep_run.plan.count
    assert board.read("sde_trials_remaining", sweep="x", phase="sweep") == [count]
    for status in ("finished", "finished", "pruned", "failed"):
        end(job, metrics, status)
    started = job.queue.next_trial()
    assert started is not None
    metrics.started(started)
    counts = {
        status: board.read("sde_trials", status=status, task="masa:d1") for status in (*ray_metrics.ENDED, "running")
    }
    assert counts == {"finished": [2.0], "pruned": [1.0], "failed": [1.0], "running": [1.0]}
    assert board.read("sde_trials_remaining") == [count - 4]


def test_the_best_is_of_a_finished_trial_and_has_its_metric(job: TuneJob) -> None:
    board = Board()
    metrics = SweepMetrics(job, gauges=board.gauges)
    ended = [end(job, metrics) for _ in range(3)]
    end(job, metrics, "pruned")
    best = max(job.score(result) or 0.0 for result in ended)
    assert board.read("sde_best_score", metric="weighted_kappa", split="dev", model="tiny") == [best]


def test_seconds_are_those_of_all_workers(job: TuneJob) -> None:
    board = Board()
    metrics = SweepMetrics(job, gauges=board.gauges)
    end(job, metrics)
    end(job, metrics, "failed")
    assert board.read("sde_worker_seconds") == board.read("sde_gpu_seconds") == [12.0]
    assert abs(board.read("sde_last_result_timestamp_seconds")[0] - time.time()) < 60


def test_a_driver_that_resumes_goes_on_where_the_last_one_was(job: TuneJob) -> None:
    before = Board()
    first = SweepMetrics(job, gauges=before.gauges)
    for status in ("finished", "failed"):
        job.sweep_run.record(end(job, first, status))
    after = Board()
    SweepMetrics(job_of(job.sweep_run), gauges=after.gauges)
    assert after.read("sde_trials", status="finished") == after.read("sde_trials", status="failed") == [1.0]
    assert after.read("sde_gpu_seconds") == before.read("sde_gpu_seconds")
    assert after.read("sde_trials_remaining") == [job.sweep_run.plan.count - 1], "the failed one runs again"


def test_a_failed_trial_that_runs_again_is_counted_once(job: TuneJob) -> None:
    board = Board()
    metrics = SweepMetrics(job, gauges=board.gauges)
    failed = end(job, metrics, "failed")
    metrics.ended(TrialResult(failed.key, failed.config, "finished", seconds={"total": 5.0}), 0.5)
    assert board.read("sde_trials", status="failed") == [0.0] and board.read("sde_trials", status="finished") == [1.0]
    assert board.read("sde_worker_seconds") == [10.0]


def test_lag_and_unsent_files_change_without_a_trial(job: TuneJob, monkeypatch: pytest.MonkeyPatch) -> None:
    board, tracker = Board(), SimpleNamespace(lag_s=7.0)
    metrics = SweepMetrics(job, tracker, board.gauges)
    assert board.read("sde_tracker_lag_seconds") == [7.0] and board.read("sde_storage_unsent_files") == [0.0]
    tracker.lag_s = 9.0
    metrics.refresh()
    assert board.read("sde_tracker_lag_seconds") == [7.0], "not more often than Ray reports"
    later = time.monotonic() + ray_metrics.INTERVAL_S + 1
    monkeypatch.setattr(ray_metrics.time, "monotonic", lambda: later)
    metrics.refresh()
    assert board.read("sde_tracker_lag_seconds") == [9.0]


def test_without_a_tracker_there_is_no_lag(job: TuneJob) -> None:
    board = Board()
    SweepMetrics(job, gauges=board.gauges)
    assert board.read("sde_tracker_lag_seconds") == [] and board.read("sde_trials_remaining") != []


def test_a_metric_that_fails_is_one_warning_and_the_sweep_goes_on(job: TuneJob) -> None:
    def broken() -> dict[Metric, Any]:
        def fail(value: float, tags: dict[str, str]) -> None:
            raise RuntimeError("no agent at http://u:hush-value@agent")

        return {metric: SimpleNamespace(set=fail) for metric in METRICS}

    with pytest.warns(UserWarning, match=r"exports no metrics any more: RuntimeError.*\*\*\*@agent") as told:
        metrics = SweepMetrics(job, gauges=broken)
        end(job, metrics)
        metrics.refresh()
    assert len(told) == 1


def test_rays_gauges_take_values_where_no_ray_runs_and_cost_little(job: TuneJob) -> None:
    """`RAY_enable_metrics_collection=0`, a Ray Client, no agent: the same calls, which reach nobody."""
    metrics = SweepMetrics(job)
    for _ in range(3):
        end(job, metrics)
    started = time.perf_counter()
    for _ in range(20):
        metrics._set_all()
    assert (time.perf_counter() - started) / 20 < 0.01


def test_names_are_prometheus_names_and_each_says_what_it_is() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 8
    for metric in METRICS:
        assert re.fullmatch(r"sde_[a-z]+(_[a-z]+)*", metric.name) and metric.tags[0] == "sweep"
        assert metric.description.endswith("."), metric
        assert not {"le", "instance", "job", "WorkerId"} & set(metric.tags)


def test_the_table_of_the_page_is_that_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operation.md").read_text("utf-8")
    rows = [
        f"| `{metric.exported}` | {', '.join(f'`{tag}`' for tag in metric.tags)} | {metric.description} |"
        for metric in METRICS
    ]
    assert "\n".join(rows) in page


# ---- a real Ray ------------------------------------------------------------------------------------------------------


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a Ray of its own, with the options of `sde-ray run` on one machine, that reports every second."""
    import shutil

    import ray

    folder = short_folder()
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "error"}
    ray.init("local", num_cpus=1, _temp_dir=folder, _system_config={"metrics_report_interval_ms": 1000}, **options)
    try:
        yield int(ray.nodes()[0]["MetricsExportPort"])
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def scrape(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """What Prometheus would read of ours."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = {}
    for name, labels, value in re.findall(r"^(ray_sde_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
        samples[name, frozenset(re.findall(r'(\w+)="([^"]*)"', labels))] = float(value)
    return samples


@pytest.mark.cluster
def test_prometheus_reads_the_metrics_of_a_sweep_at_the_nodes_agent(tmp_path: Path, port: int) -> None:
    progress = Progress(Console(file=io.StringIO(), width=200))
    outcome = run_sweep(configure(tmp_path), Fakes(tmp_path / "calls", fail="last"), None, progress)
    ended = {status: sum(one.status == status for one in outcome.results) for status in ("finished", "failed")}
    assert min(ended.values()) > 0
    expected = {
        ("ray_sde_trials", ("status", "finished")): ended["finished"],
        ("ray_sde_trials", ("status", "failed")): ended["failed"],
        ("ray_sde_trials", ("status", "running")): 0,
        ("ray_sde_trials_remaining", ("phase", "sweep")): 0,
        ("ray_sde_worker_seconds", ("task", "masa:d1")): sum(one.seconds["total"] for one in outcome.results),
        ("ray_sde_best_score", ("metric", "weighted_kappa")): max(
            one.scores["dev"]["weighted_kappa"] for one in outcome.results if one.status == "finished"
        ),
    }
    deadline = time.monotonic() + 30
    while True:
        samples = scrape(port)
        read = {
            (name, tag): value
            for (name, tags), value in samples.items()
            for wanted, tag in expected
            if name == wanted and tag in tags and ("sweep", "x") in tags
        }
        if read == pytest.approx(expected) or time.monotonic() > deadline:
            break
        time.sleep(0.3)
    assert read == pytest.approx(expected)
    assert {name for name, _ in samples} == {metric.exported for metric in METRICS} - {"ray_sde_tracker_lag_seconds"}
