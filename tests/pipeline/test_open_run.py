"""A run as a notebook sees it: the rows and columns of every frame, one study and several, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sde_ray
from sde_ray.analysis.frames import EFFECTS, LEADERBOARD, PREDICTIONS, TRIAL, agreement
from sde_ray.config.load import check, write_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.pipeline import run as pipeline
from sde_ray.pipeline.context import PipelineResult
from sde_ray.storage.ledger import Ledger
from sde_ray.storage.uri import MIRROR
from sde_ray.testing.planted import BEST, planted
from sde_ray.types import TrialResult

ONE_OPTION = {"unmentioned": ["placeholder"], "labels": ["text"], "reasoning": ["none"], "input_modeling": ["off"]}
GARBAGE = "no idea"


def configure(folder: Path, **values: Any) -> SweepConfig:
    defaults = {
        "name": "small",
        "task": "masa:d1",
        "out_of_domain": [],
        "axes": {"format": ["natural", "lines"], "instruction": ["first", "last"], **ONE_OPTION},
        "search": {"method": "grid"},
        "seeds": [0, 1, 2],
        "train_sizes": 40,
        "eval_size": 4,
        "storage_path": str(folder / "runs"),
    }
    return check({**defaults, **values})


def fill(config: SweepConfig) -> sde_ray.Run:
    """A run whose trials have ended: planted scores, and gold completions but for one item of every `natural` trial."""
    write_sweep(config)
    run = sde_ray.Run(config)
    ledger = Ledger(run.path / "ledger.jsonl")
    for trial in sde_ray.plan(config).trials:
        folder = run.path / "trials" / trial.key
        folder.mkdir(parents=True)
        task = sde_ray.get_task(trial.task)
        examples = task.load("dev")[:4]
        texts = [sde_ray.render_sample(example, task, trial.design).completion.text for example in examples]
        if trial.design["format"] == "natural":
            texts[0] = GARBAGE
        lines = [
            {"split": "dev", "id": example.id, "prediction": text, "task": trial.task}
            for example, text in zip(examples, texts, strict=True)
        ]
        (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        scores = {"dev": {"weighted_kappa": planted(trial.design, trial.seed), "weighted_kappa/food": 0.5}}
        used = {"seconds": {"total": 2.0}, "tokens": {"output": 9.0}}
        ledger.append(TrialResult(trial.key, trial.resolved(), "finished", scores, **used))
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> sde_ray.Run:
    return fill(configure(tmp_path_factory.mktemp("open_run")))


# ---- the package -----------------------------------------------------------------------------------------------------


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import sde_ray; dir(sde_ray); print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert {name for name in modules if name.startswith("sde_ray")} == {"sde_ray"}
    assert not modules & {"numpy", "pydantic", "yaml", "pandas", "torch", "ray", "typing_extensions"}


def test_every_name_of_the_package_is_there_and_no_other_one_is_shown() -> None:
    assert dir(sde_ray) == sorted(sde_ray.__all__)
    for name in sde_ray.__all__:
        assert getattr(sde_ray, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'opne_run'"):
        sde_ray.opne_run  # noqa: B018


def test_using_a_run_imports_nothing_heavy(run: sde_ray.Run) -> None:
    code = (
        "import sys, sde_ray; run = sde_ray.open_run(sys.argv[1]); run.effects(), run.trials(), run.predictions(); "
        "print({'torch', 'ray', 'mlflow', 'deepspeed', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run.path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- frames ----------------------------------------------------------------------------------------------------------


def test_trials_are_rows_with_a_column_for_each_axis_and_score(run: sde_ray.Run) -> None:
    trials = run.trials()
    assert len(trials) == 4 * 3 and trials["key"].is_unique
    assert set(trials["status"]) == {"finished"} and set(trials["phase"]) == {"search"}
    assert set(zip(trials["format"], trials["instruction"], trials["seed"], strict=True)) == {
        (form, place, seed) for form in ("natural", "lines") for place in ("first", "last") for seed in (0, 1, 2)
    }
    assert trials["dev/weighted_kappa"].max() == pytest.approx(0.8, abs=0.01)
    assert list(trials["seconds"]) == [2.0] * 12 and list(trials["tokens/output"]) == [9.0] * 12
    assert list(trials.columns[-3:]) == ["seconds", "peak_memory_mb", "error"]
    assert "dev/weighted_kappa/food" not in trials and "dev/weighted_kappa/food" in run.trials(by_slot=True)


def test_the_leaderboard_has_the_best_design_first_with_its_interval(run: sde_ray.Run) -> None:
    board = run.leaderboard()
    best = board.iloc[0]
    assert len(board) == 4 and (best["format"], best["instruction"]) == (BEST["format"], BEST["instruction"])
    assert best["score"] == pytest.approx(0.8, abs=0.01) and best["trials"] == 3 and best["tokens"] == 9.0
    assert best["low"] <= best["expected"] <= best["high"] and best["expected"] == pytest.approx(
        best["score"], abs=0.01
    )
    assert best["label"] == "Inst-first, No-MI, Lines, PU, TxtLabel, No-CoT"
    assert set(LEADERBOARD) <= set(board.columns)


def test_effects_are_those_that_were_planted(run: sde_ray.Run) -> None:
    effects = run.effects()
    assert list(zip(effects["axis"], effects["option"], strict=True)) == [("instruction", "first"), ("format", "lines")]
    assert list(effects["difference"]) == pytest.approx([0.2, 0.2], abs=0.01)
    assert (effects["low"] < effects["difference"]).all() and (effects["difference"] < effects["high"]).all()
    assert list(effects["replicates"]) == [6, 6] and effects["low"].iloc[0] > 0.1
    assert set(EFFECTS) <= set(effects.columns) and set(effects["model"]) == {"tiny"}
    ((axis, option, other, other_option),) = run.interactions()[["axis", "option", "other_axis", "other_option"]].values
    assert {(axis, option), (other, other_option)} == {("instruction", "first"), ("format", "lines")}


def test_predictions_are_rows_with_gold_answer_faults_and_score(run: sde_ray.Run) -> None:
    predictions = run.predictions()
    assert len(predictions) == 12 * 4 and set(predictions["split"]) == {"dev"}
    garbled = predictions[predictions["completion"] == GARBAGE]
    assert len(garbled) == 6 and set(garbled["format"]) == {"natural"}
    assert all(answer == {} for answer in garbled["answer"]) and all(len(faults) for faults in garbled["faults"])
    right = predictions[predictions["completion"] != GARBAGE]
    assert set(right["score"]) == {1.0} and all(faults == [] for faults in right["faults"])
    first = sde_ray.get_task("masa:d1").load("dev")[0]
    assert garbled.iloc[0]["text"] == first.text and garbled.iloc[0]["score"] == 0.0
    assert garbled.iloc[0]["gold"] == {slot: list(values) for slot, values in first.answer.items()}


def test_predictions_can_be_of_one_trial_and_one_split(run: sde_ray.Run) -> None:
    key = run.trials()["key"].iloc[5]
    assert set(run.predictions(trial=key)["key"]) == {key}
    assert len(run.predictions("dev", key)) == 4
    with pytest.raises(sde_ray.UserError, match=r'"nope" is no trial of .*run\.trials'):
        run.predictions(trial="nope")
    with pytest.raises(sde_ray.UserError, match='Unknown split of these trials "dve". Did you mean "dev"'):
        run.predictions("dve")


def test_agreement_is_the_share_of_slots_that_are_right() -> None:
    gold = {"food": ("good",), "price": ("bad",)}
    assert agreement(gold, gold) == agreement({}, {}) == 1.0
    assert agreement({"x": ("a", "b")}, {"x": ("b", "a")}) == 1.0
    assert agreement(gold, {"food": ("good",), "staff": ("bad",)}) == pytest.approx(1 / 3)


def test_several_studies_are_more_rows_and_strategies_are_by_task_and_model(tmp_path: Path) -> None:
    config = configure(tmp_path, task=["masa:d1", "masa:d2"], train_sizes=[20, 40], seeds=[0, 1])
    run = fill(config)
    assert len(run.effects().groupby(["task", "model", "train_size"])) == len(run.studies) == 4
    assert set(run.leaderboard()["train_size"]) == {20, 40} and set(run.predictions()["task"]) == {"masa:d1", "masa:d2"}
    assert run.strategy is None and run.verdict is None and run.validation().empty
    assert {conclusion.study.group.train_size for conclusion in run.assemble()} == {40}
    assert set(run.strategies) == {("masa:d1", "tiny"), ("masa:d2", "tiny")}
    assert run.strategies["masa:d2", "tiny"].design["format"] == "lines"
    with pytest.raises(sde_ray.UserError, match=r"has 2 strategies.*run.strategies\[\('masa:d1', 'tiny'\)\]"):
        run.strategy  # noqa: B018
    with pytest.raises(sde_ray.UserError, match="Several adapters fit. Name one of: task='masa:d1', model='tiny'"):
        run.predict(["Nice."])
    with pytest.raises(sde_ray.UserError, match="holds no adapter of a trial.*that was validated"):
        run.predict(["Nice."], task="masa:d1")


# ---- opening and running ---------------------------------------------------------------------------------------------


def test_a_run_is_opened_by_its_folder_its_yaml_a_copy_and_an_address(
    run: sde_ray.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    monkeypatch.setenv(MIRROR, str(tmp_path / "mirror"))
    shutil.copytree(run.path, tmp_path / "other" / "copy")
    shutil.copy(run.path / "sweep.yaml", tmp_path / "small.yaml")
    places: dict[str, Callable[[], sde_ray.Run]] = {
        "folder": lambda: sde_ray.open_run(run.path),
        "yaml": lambda: sde_ray.open_run(tmp_path / "small.yaml"),
        "copy": lambda: sde_ray.open_run(tmp_path / "other" / "copy"),
        "address": lambda: sde_ray.open_run(f"file://{tmp_path}/other/copy"),
    }
    for name, opened in places.items():
        assert opened().effects().equals(run.effects()), name
        assert len(opened().predictions()) == 48, name
    with pytest.raises(sde_ray.UserError, match=r"is not the folder of a sweep"):
        sde_ray.open_run(tmp_path)


def test_a_run_that_has_not_begun_has_empty_frames_and_says_how_to_begin(tmp_path: Path) -> None:
    run = sde_ray.Run(configure(tmp_path))
    assert list(run.trials().columns)[: len(TRIAL)] == list(TRIAL) and run.trials().empty
    assert list(run.predictions().columns) == list(PREDICTIONS)
    assert repr(run).endswith("small: no trial has ended)") and run.strategy is None and run.report_path is None
    with pytest.raises(sde_ray.UserError, match=r"has no finished trial\. Run the sweep first: sde-ray run"):
        run.effects()


def test_a_notebook_shows_what_a_run_came_to(run: sde_ray.Run) -> None:
    assert "12 finished" in run._repr_html_() and "<b>small</b>" in run._repr_html_()
    (sample,) = run.samples(1)
    assert "<mark>food: " in sample._repr_html_()
    named = sde_ray.preview(run.config, ["es-sde", "baseline"])
    assert [one.design for one in named] == [sde_ray.parse_design("es-sde"), sde_ray.parse_design("baseline")]


def test_run_goes_the_way_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure(tmp_path)
    calls: list[Any] = []

    def fake(*given: Any) -> PipelineResult:
        calls.append(given)
        return PipelineResult(tmp_path, interrupted="" if len(calls) == 1 else "Stopped. 3 of 12 trials are saved.")

    monkeypatch.setattr(pipeline, "run", fake)
    listener = sde_ray.PipelineListener()
    assert sde_ray.run(config, validate=False, listener=listener).config is config
    assert calls[0][:3] == (config, listener, False)
    with pytest.raises(KeyboardInterrupt, match="3 of 12 trials are saved"):
        sde_ray.run(config)
    with pytest.raises(sde_ray.UserError, match=r"load_config\(path, sets\)"):
        sde_ray.run(config, sets=["seeds=[0]"])
