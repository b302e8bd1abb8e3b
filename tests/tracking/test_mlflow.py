"""MLflow on a sqlite store: the tree of runs, resumed without duplicates, true ends, and no way to stop a sweep."""

from __future__ import annotations

import gc
import json
import sqlite3
import time
import tracemalloc
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.planted import one_at_a_time, result, results

from sde_ray.analysis.strategy import assemble
from sde_ray.config.trial import TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.tracking import mlflow_tracker
from sde_ray.tracking.background import BackgroundTracker
from sde_ray.tracking.base import Tracker
from sde_ray.tracking.mlflow_tracker import MlflowTracker
from sde_ray.tracking.registry import model_name
from sde_ray.tracking.run_data import mlflow_name, run_metrics, run_params
from sde_ray.tracking.tracking_uri import check_tracking_uri, ui_command
from sde_ray.types import RungResult, TrialResult

METRIC = "weighted_kappa"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One database for the file: to make its tables takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    yield f"sqlite:///{folder / 'runs' / 'mlflow.db'}"


def config(seed: int = 0, **options: str) -> TrialConfig:
    section = {"zero_optimization": {"stage": 2}, "api_key": "hush"}
    return TrialConfig("masa:d1", make_design(**options), "tiny", seed, 100, 20, rungs=(0.5, 1.0), deepspeed=section)


def ended(trial: TrialConfig, status: Any = "finished") -> TrialResult:
    rungs = (
        RungResult(0, 48, {"dev": {METRIC: 0.3}}),
        RungResult(1, 100, {"dev": {METRIC: 0.6, f"{METRIC}/food": 0.7}, "dev_ood": {METRIC: 0.4}}),
    )
    return TrialResult(
        trial.key, trial.resolved(), status, rungs[-1].scores, {"dev": {"syntax": 3}}, rungs,
        error="boom" if status == "failed" else "", seconds={"train": 4.5}, tokens={"output": 12.0}, losses=(2.0, 0.5),
    )  # fmt: skip


def track(store: str, folder: Path, name: str = "quick", ledger: list[TrialResult] | None = None) -> MlflowTracker:
    tracker = MlflowTracker(store)
    tracker.on_sweep_start(name, {"name": name, "task": ["masa:d1"]}, folder, ledger or [])
    return tracker


def children(tracker: MlflowTracker) -> list[Any]:
    query = f"tags.`mlflow.parentRunId` = '{tracker.parent}'"
    return list(tracker.client.search_runs([tracker.experiment_id], query))


def texts(tracker: MlflowTracker, run: str) -> dict[str, str]:
    """The text artifacts of a run by path."""
    return {
        one.path: Path(tracker.client.download_artifacts(run, one.path)).read_text(encoding="utf-8")
        for one in tracker.client.list_artifacts(run)
        if not one.is_dir
    }


def test_a_trial_is_a_child_with_params_metrics_and_artifacts(store: str, tmp_path: Path) -> None:
    tracker, trial = track(store, tmp_path), config(format="lines")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "predictions.jsonl").write_text('{"split": "dev"}\n')
    tracker.on_trial_start(trial)
    assert [run.info.status for run in children(tracker)] == ["RUNNING"]
    tracker.on_trial_end(ended(trial), tmp_path / "t")
    tracker.on_sweep_end()
    (run,) = children(tracker)
    assert run.info.status == "FINISHED" and run.data.tags["sde.key"] == trial.key
    assert run.data.tags["sde.sweep"] == "quick" and run.data.tags["sde.axis.format"] == "lines"
    params = run.data.params
    assert (params["format"], params["seed"], params["train_size"], params["lora.r"]) == ("lines", "0", "100", "8")
    assert params["deepspeed.zero_optimization.stage"] == "2" and params["deepspeed.api_key"] == "***"
    assert "hush" not in json.dumps([params, run.data.tags])
    history = tracker.client.get_metric_history(run.info.run_id, f"dev/{METRIC}")
    assert [(one.step, one.value) for one in history] == [(48, 0.3), (100, 0.6)]
    assert run.data.metrics[f"dev_ood/{METRIC}"] == 0.4 and run.data.metrics[f"dev/{METRIC}/food"] == 0.7
    assert run.data.metrics["seconds/train"] == 4.5 and run.data.metrics["faults/dev/syntax"] == 3
    artifacts = texts(tracker, run.info.run_id)
    assert artifacts["predictions.jsonl"] == '{"split": "dev"}\n'
    assert "⟦" in artifacts["sample.txt"] and "Lines" in artifacts["sample.txt"]
    parent = tracker.client.get_run(tracker.parent)
    assert parent.info.status == "FINISHED" and parent.info.run_name == "quick"
    assert json.loads(texts(tracker, tracker.parent)["resolved.json"])["task"] == ["masa:d1"]


def test_a_resumed_sweep_finds_its_runs_and_catches_up(store: str, tmp_path: Path) -> None:
    first = track(store, tmp_path)
    first.on_trial_start(config(0))
    first.on_trial_end(ended(config(0)), tmp_path)
    first.on_trial_start(config(1))  # and the process dies
    second = track(store, tmp_path, ledger=[ended(config(0)), ended(config(2))])
    assert second.parent == first.parent
    by_key = {run.data.tags["sde.key"]: run.info.status for run in children(second)}
    assert by_key == {config(0).key: "FINISHED", config(1).key: "KILLED", config(2).key: "FINISHED"}
    second.on_trial_start(config(1))
    second.on_trial_end(ended(config(1)), tmp_path)
    second.on_sweep_end()
    assert sorted(run.info.status for run in children(second)) == ["FINISHED"] * 3
    third = track(store, tmp_path, ledger=[ended(config(n)) for n in range(3)])
    assert len(children(third)) == 3
    run = third.client.get_run(third.children[config(0).key])
    assert len(third.client.get_metric_history(run.info.run_id, f"dev/{METRIC}")) == 2  # not logged again


def test_a_sweep_of_the_same_name_elsewhere_is_another_one(store: str, tmp_path: Path) -> None:
    one, other = track(store, tmp_path / "a"), track(store, tmp_path / "b")
    assert one.parent != other.parent
    one.on_trial_end(ended(config(0)), tmp_path)
    other.on_trial_end(ended(config(0)), tmp_path)
    assert len(children(one)) == len(children(other)) == 1


@pytest.mark.parametrize(("status", "shown"), [("failed", "FAILED"), ("pruned", "KILLED"), ("finished", "FINISHED")])
def test_every_end_is_true(store: str, tmp_path: Path, status: str, shown: str) -> None:
    tracker = track(store, tmp_path)
    tracker.on_trial_start(config(0))
    environment = {"device": "NVIDIA L4", "dtype": "bfloat16", "torch": "2.13.0", "peft": "0.21.2"}
    tracker.on_trial_end(replace(ended(config(0), status), environment=environment), tmp_path)
    tracker.on_trial_start(config(1))
    tracker.on_sweep_end("KILLED")
    runs = {run.data.tags["sde.key"]: run for run in children(tracker)}
    assert runs[config(0).key].info.status == shown and runs[config(0).key].data.tags["sde.status"] == status
    assert runs[config(0).key].data.tags.get("sde.error") == ("boom" if status == "failed" else None)
    assert runs[config(1).key].info.status == "KILLED"
    ran_on = {"sde.device": "NVIDIA L4", "sde.dtype": "bfloat16", "sde.versions": "torch 2.13.0, peft 0.21.2"}
    assert ran_on.items() <= runs[config(0).key].data.tags.items()
    assert tracker.client.get_run(tracker.parent).info.status == "KILLED"


def test_tables_texts_and_files_stand_on_the_parent_once(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = track(store, tmp_path)
    (tmp_path / "strategy.yaml").write_text("kind: x\n")
    for _ in range(2):
        tracker.log_table("leaderboard", [{"design": "a", "score": 0.5}, {"design": "b", "score": None}])
        tracker.log_text("effects.svg", "<svg/>")
        tracker.log_files([tmp_path / "strategy.yaml", tmp_path / "missing.json"])
    artifacts = texts(tracker, tracker.parent)
    assert json.loads(artifacts["leaderboard.json"]) == {
        "columns": ["design", "score"],
        "data": [["a", 0.5], ["b", None]],
    }
    assert (
        artifacts["effects.svg"] == "<svg/>"
        and artifacts["strategy.yaml"] == "kind: x\n"
        and "missing.json" not in artifacts
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)  # MLflow's own reader of tables knows only this store
    loaded = tracker.client.load_table(tracker.experiment_id, "leaderboard.json", run_ids=[tracker.parent])
    assert list(loaded["design"]) == ["a", "b"]


def test_a_failing_store_warns_once_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    tracker = BackgroundTracker(MlflowTracker(f"sqlite:///{tmp_path / 'file' / 'mlflow.db'}"), list, flush_timeout_s=60)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracker.on_sweep_start("quick", {}, tmp_path / "sweep")
        tracker.on_trial_start(config())
        tracker.on_trial_end(ended(config()), tmp_path)
        tracker.log_table("leaderboard", [])
        tracker.on_sweep_end()
        assert tracker.register_adapter(assemble(results(one_at_a_time()), METRIC), tmp_path) is None
    messages = [str(warning.message) for warning in caught]
    assert sum("The sweep goes on" in text for text in messages) == 1
    assert sum(f"sde-ray sync {tmp_path / 'sweep'}" in text for text in messages) == 1


def test_a_database_that_another_process_has_locked_gets_everything_when_it_is_free(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    first = MlflowTracker(uri)
    first.on_sweep_start("quick", {}, tmp_path)  # the database is there
    other = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    results = [ended(config(seed)) for seed in range(3)]
    background = BackgroundTracker(MlflowTracker(f"{uri}?timeout=0.2"), lambda: results, retry_interval_s=0.2)
    with pytest.warns(UserWarning, match="database is locked"):
        background.on_sweep_start("quick", {}, tmp_path)
        for result in results:
            background.on_trial_end(result, tmp_path)
        deadline = time.monotonic() + 60
        while not background._warned and time.monotonic() < deadline:
            time.sleep(0.05)
        other.execute("COMMIT")
        other.close()
        background.on_sweep_end()
    first.on_sweep_start("quick", {}, tmp_path)
    runs = children(first)
    assert sorted(run.data.tags["sde.key"] for run in runs) == sorted(result.key for result in results)
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_what_a_slow_server_made_twice_is_one_run_after_the_next_look(store: str, tmp_path: Path) -> None:
    tracker = track(store, tmp_path)
    tracker.on_trial_end(ended(config(0)), tmp_path)
    run_id = tracker.children.pop(config(0).key)
    twin = tracker._trial_run(config(0).key, config(0).resolved())  # made again: the answer to the first came too late
    assert twin != run_id and len(children(tracker)) == 2
    again = track(store, tmp_path, ledger=[ended(config(0))])
    assert [run.info.run_id for run in children(again)] == [run_id]


def test_a_run_that_was_cut_off_before_its_params_is_made_anew(store: str, tmp_path: Path) -> None:
    tracker = track(store, tmp_path)
    tags = {"sde.sweep_id": tracker.sweep_id, "sde.run": "trial", "sde.key": config(0).key}
    tracker.client.create_run(tracker.experiment_id, tags=tags)
    again = track(store, tmp_path, ledger=[ended(config(0))])
    (run,) = children(again)
    assert run.info.status == "FINISHED" and run.data.params["format"] == "natural"


def test_files_that_are_refused_keep_no_run_from_its_end_and_come_later(store: str, tmp_path: Path) -> None:
    tracker = track(store, tmp_path)
    artifacts = Path(store.removeprefix("sqlite:///")).with_name("mlartifacts")
    artifacts.rename(artifacts.with_name("away"))
    artifacts.write_text("the store is not what it was")
    with pytest.warns(UserWarning, match="stores no files: NotADirectoryError"):
        tracker.on_trial_end(ended(config(0)), tmp_path)
    artifacts.unlink()
    artifacts.with_name("away").rename(artifacts)
    (run,) = children(tracker)
    assert run.info.status == "FINISHED" and tracker.incomplete_trials == {config(0).key}
    again = track(store, tmp_path, ledger=[ended(config(0))])
    (run,) = children(again)
    assert "sample.txt" in texts(again, run.info.run_id) and again.incomplete_trials == set()
    assert len(again.client.get_metric_history(run.info.run_id, f"dev/{METRIC}")) == 2  # no point twice


class Flapping:
    """A client whose store fails at one call in so many, before or after the call has taken effect."""

    def __init__(self, client: Any, every: int) -> None:
        self._client, self._every, self.calls = client, every, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            fails, late = self.calls % self._every == 0, self.calls % (2 * self._every) == 0
            if fails and not late:
                raise ConnectionError(f"{name} was refused")
            answer = method(*args, **kwargs)
            if fails:
                raise ConnectionError(f"the answer to {name} was lost")
            return answer

        return call


@pytest.mark.filterwarnings("ignore:MLflow")
def test_of_a_flapping_store_every_trial_ends_and_the_sweep_too(store: str, tmp_path: Path) -> None:
    """One call in 23 fails, in half of them after it has taken effect: 40 of 40 trials, each once, and whole."""
    ledger = [ended(config(seed)) for seed in range(40)]
    tracker = MlflowTracker(store)
    tracker._client = flapping = Flapping(tracker.client, 23)
    background = BackgroundTracker(tracker, lambda: ledger, retry_interval_s=60.0)
    background.on_sweep_start("flapping", {}, tmp_path)
    for one in ledger:
        background.on_trial_end(one, tmp_path)
    background.on_sweep_end()
    assert flapping.calls > 10 * 23 and not tracker.incomplete_trials
    tracker._client = flapping._client
    runs = children(tracker)
    assert sorted(run.data.tags["sde.key"] for run in runs) == sorted(result.key for result in ledger)
    assert {(run.info.status, run.data.tags.get("sde.status")) for run in runs} == {("FINISHED", "finished")}
    assert all(run.data.params["format"] == "natural" for run in runs)
    assert tracker.client.get_run(tracker.parent).info.status == "FINISHED"


def test_after_an_outage_the_runs_are_not_read_again(store: str, tmp_path: Path) -> None:
    """Only the first look reads them; a store that was set back is read anew, and gets what it lacks."""
    tracker = track(store, tmp_path, ledger=[ended(config(0)), ended(config(1))])
    searched, search = [], tracker._search
    tracker._search = lambda query: searched.append(query) or search(query)  # type: ignore[method-assign,func-returns-value]
    ledger = [ended(config(seed)) for seed in range(3)]
    tracker.on_sweep_start("quick", {}, tmp_path, ledger)
    assert not searched and len(children(tracker)) == 3
    tracker.client._tracking_client.store._hard_delete_run(tracker.children[config(1).key])
    again = [ended(config(1), "pruned")]
    with pytest.raises(Exception, match="not found"):
        tracker.on_sweep_start("quick", {}, tmp_path, again)
    tracker.on_sweep_start("quick", {}, tmp_path, [*ledger[:1], *again, *ledger[2:]])
    assert len(searched) == 1
    assert {run.data.tags["sde.key"]: run.info.status for run in children(tracker)} == {
        config(0).key: "FINISHED", config(1).key: "KILLED", config(2).key: "FINISHED"}  # fmt: skip


def test_a_resumed_tracker_keeps_little_of_each_run(
    store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages are read one by one, and of a run its id, status and marks are kept."""
    ledger = [ended(config(seed)) for seed in range(60)]
    track(store, tmp_path, ledger=ledger)
    monkeypatch.setattr(mlflow_tracker, "PAGE", 5)
    again = MlflowTracker(store)
    again.on_sweep_start("quick", {}, tmp_path)  # what MLflow itself keeps is there
    again._forget_runs()
    gc.collect()
    tracemalloc.start()
    again.on_sweep_start("quick", {}, tmp_path, ledger)
    gc.collect()
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(again.children) == 60 and again.num_logged == 0
    assert kept < 60 * 4000 and peak < 3 * 2**20, (kept, peak)


def test_the_address_is_checked_without_telling_its_password() -> None:
    for fine in ("sqlite:////a/b.db", "http://host:5000", "postgresql+psycopg2://u:p@h/db", "databricks"):
        check_tracking_uri(fine)
    check_tracking_uri("http://host:5000", nodes=4)
    with pytest.raises(UserError, match="sweep is on 2 nodes"):
        check_tracking_uri("sqlite:////a/b.db", nodes=2)
    for wrong in ("./mlruns", "file:///a/mlruns"):
        with pytest.raises(UserError, match="sqlite:////abs"):
            check_tracking_uri(wrong)
    with pytest.raises(UserError) as raised:
        check_tracking_uri("ftp://user:hush@host")
    assert "hush" not in str(raised.value)
    command = ui_command("sqlite:////a/b.db", port=7000)
    assert command[1:] == [
        *("-m", "mlflow", "ui", "--backend-store-uri", "sqlite:////a/b.db", "--workers", "1"),
        *("--host", "127.0.0.1", "--port", "7000"),
    ]


def test_params_and_metrics_take_any_name() -> None:
    trial = replace(config(), model="https://user:hush@host/model")
    params = run_params(trial.resolved())
    assert params["model"] == "https://user:***@host/model" and params["generation.max_new_tokens"] == "null"
    assert params["design"] == trial.design.slug and all(len(value) <= 5000 for value in params.values())
    odd = result(make_design(), float("nan"))
    assert f"dev/{METRIC}" not in [name for name, _, _ in run_metrics(odd)]
    assert mlflow_name("dev/f1/食品#质量") == "dev/f1/食品_质量"


def test_a_plain_tracker_logs_nothing_and_mlflow_overrides_all_of_it(tmp_path: Path) -> None:
    tracker = Tracker()
    tracker.on_sweep_start("quick", {}, tmp_path, [ended(config())])
    assert tracker.register_adapter(assemble(results(one_at_a_time()), METRIC), tmp_path) is None
    tracker.on_sweep_end()
    assert list(tmp_path.iterdir()) == []
    methods = {name for name, value in vars(Tracker).items() if callable(value)}
    assert methods <= set(vars(MlflowTracker)) and methods <= set(vars(BackgroundTracker))


def test_a_registered_adapter_is_found_with_its_design_and_answers(
    store: str, tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from sde_ray.models.predictor import write_card

    tracker, trial = track(store, tmp_path), replace(config(format="lines"), model=str(tiny_llama))
    base = AutoModelForCausalLM.from_pretrained(tiny_llama)
    get_peft_model(base, LoraConfig(r=4, target_modules="all-linear")).save_pretrained(tmp_path / "adapter")
    write_card(tmp_path / "adapter", trial, 8)
    strategy = replace(assemble(results(one_at_a_time()), METRIC, sweep="quick"), verdict="Wins.")
    version_name = tracker.register_adapter(strategy, tmp_path / "adapter")
    assert version_name == "quick-masa-d1/1" == f"{model_name(strategy)}/1"
    assert tracker.register_adapter(strategy, tmp_path / "adapter") == version_name  # once
    version = tracker.client.get_model_version_by_alias("quick-masa-d1", "validated")
    assert version.tags["sde.axis.format"] == "lines" and version.tags["sde.axis.instruction"] == "last"
    assert version.description == "Wins." and version.run_id == tracker.parent
    (logged,) = tracker.client.search_logged_models([tracker.experiment_id])
    assert (logged.source_run_id, str(logged.status)) == (tracker.parent, "READY")
    assert (logged.artifact_location, logged.tags) == (version.source, version.tags)
    assert logged.params["format"] == "lines"
    outputs = tracker.client.get_run(tracker.parent).outputs.model_outputs
    assert [one.model_id for one in outputs] == [logged.model_id]
    about = mlflow.models.get_model_info(logged.artifact_location.removeprefix("file://"))
    assert about.signature.inputs.to_dict() == [{"type": "string", "required": True}]
    (answer,) = about.signature.outputs.to_dict()
    assert set(answer["properties"]) == {"answer", "completion", "faults", "error"}
    assert about.saved_input_example_info
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    loaded = mlflow.pyfunc.load_model("models:/quick-masa-d1@validated")
    (answer,) = loaded.predict(["Great food, slow service."])
    assert set(answer) == {"answer", "completion", "faults"} and isinstance(answer["completion"], str)
    assert not list(
        Path(tracker.client.get_run(tracker.parent).info.artifact_uri.removeprefix("file://")).rglob("*.pkl")
    )
