"""A trial that was cut off goes on from its checkpoint, to the last digit of one that was not; or says why it does not.

Real training on the tiny random model. "Cut off" is a runner that is let go after a rung; another one begins the trial.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers.one_worker import runner_on
from helpers.run_trial import cut_within, run_trial

from sde_ray.config.trial import Generation, Lora, Train, TrialConfig
from sde_ray.design import designs
from sde_ray.evaluation.racing import Opponent
from sde_ray.storage.ledger import load_result
from sde_ray.storage.mirror import LocalFolder
from sde_ray.sweep.trainable import TrialTrainable
from sde_ray.sweep.tune_search import NOTE_KEY, PROMOTED_KEY, RUNG_KEY, SCORE_KEY
from sde_ray.training import checkpoint, engine_state, nodes, trial_runner, worker_group
from sde_ray.training.runner import ResumeState, RunnerResources, WorkerDiedError
from sde_ray.training.trainer import Trainer
from sde_ray.training.trial_runner import TrialRunner
from sde_ray.training.worker import Worker
from sde_ray.training.worker_group import WorkerGroup
from sde_ray.types import RungResult, TrialResult

PREDICTIONS = "predictions.jsonl"
ADAPTER = "adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def config(tiny_llama: Path) -> TrialConfig:
    """Six steps, scored after the second, the fourth and the last; dropout, warm-up and accumulation are all on."""
    train = Train(
        learning_rate=1e-2,
        train_batch_size=2,
        gradient_accumulation_steps=2,
        warmup_steps=0.3,
        lr_scheduler_type="cosine",
        weight_decay=0.1,
        num_train_epochs=2,
        max_length=2048,
    )
    return TrialConfig(
        "masa:d1",
        designs.make_design(),
        str(tiny_llama),
        seed=1,
        train_size=6,
        eval_size=2,
        lora=Lora(lora_dropout=0.3),
        train=train,
        rungs=(0.3, 0.6, 1.0),
        generation=Generation(batch_size=4, max_new_tokens=8),
    )


@pytest.fixture(scope="module")
def whole(worker: Worker, config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrialResult, Path]:
    """The same trial, undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return run_trial(runner_on(worker), config, folder), folder


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of every step that is trained, in order."""
    taken: list[int] = []
    step = Trainer._step

    def counted(training: Trainer, own: Any) -> float:
        taken.append(len(training.losses))
        return step(training, own)

    monkeypatch.setattr(Trainer, "_step", counted)
    return taken


def cut_off(runner: TrialRunner, config: TrialConfig, folder: Path, after: int) -> None:
    """Run the trial up to this rung, no further."""
    resumed = runner.start(config, folder)
    for rung in range(len(resumed.rungs), after + 1):
        runner.train_rung(rung)
    scramble()


@pytest.fixture(scope="module")
def one_rung(worker: Worker, config: TrialConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trial that was cut off after its first rung. Tests spoil copies of it."""
    folder = tmp_path_factory.mktemp("cut")
    cut_off(runner_on(worker), config, folder, after=0)
    return folder


def scramble() -> None:
    """What another process would not share either."""
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


def assert_same(result: TrialResult, folder: Path, undisturbed: tuple[TrialResult, Path]) -> None:
    whole, its = undisturbed
    assert (result.status, result.error) == ("finished", "")
    assert result.losses == whole.losses
    assert result.rungs == whole.rungs
    assert (result.scores, result.faults, result.tokens) == (whole.scores, whole.faults, whole.tokens)
    names = [PREDICTIONS, *(path.name for path in its.glob("predictions.*.jsonl")), ADAPTER]
    for name in names:
        assert (folder / name).read_bytes() == (its / name).read_bytes(), name
    assert checkpoint_files(folder) == [], "what has ended leaves no checkpoint"


def checkpoint_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint*"))


SETTINGS: dict[str, dict[str, Any]] = {
    "no dropout": {"lora": Lora(lora_dropout=0.0)},
    "constant rate": {
        "train": {
            "lr_scheduler_type": "constant_with_warmup",
            "train_batch_size": 1,
            "gradient_accumulation_steps": 1,
            "num_train_epochs": 1.5,
        }
    },
    "linear, clipped": {"train": {"lr_scheduler_type": "linear", "max_grad_norm": 0.01}},
    "bf16": {"train": {"dtype": "bfloat16"}},
    "SGD, NEFTune": {"train": {"optim": "sgd", "neftune_noise_alpha": 5.0, "learning_rate": 1.0}},
    "RMSprop, label smoothing": {"train": {"optim": "rmsprop", "label_smoothing_factor": 0.1}},
    "ZeRO 1": {"deepspeed": {"zero_optimization": {"stage": 1}}},
    "ZeRO 2": {"deepspeed": {"zero_optimization": {"stage": 2}}},
    "ZeRO 2, bf16": {"train": {"dtype": "bfloat16"}, "deepspeed": {"zero_optimization": {"stage": 2}}},
    "ZeRO 2, offloaded": {"deepspeed": {"zero_optimization": {"stage": 2, "offload_optimizer": {"device": "cpu"}}}},
    "ZeRO 3": {"deepspeed": {"zero_optimization": {"stage": 3}}},
}


def test_a_trial_goes_on_to_the_last_digit(
    worker: Worker, config: TrialConfig, whole: tuple[TrialResult, Path], steps: list[int], tmp_path: Path
) -> None:
    cut_off(runner_on(worker), config, tmp_path, after=0)
    cut_off(runner_on(worker), config, tmp_path, after=1)
    assert checkpoint_files(tmp_path) == ["checkpoint.2.4.0.safetensors", "checkpoint.json"]
    result = run_trial(runner_on(worker), config, tmp_path)
    assert steps == list(range(6)), "no step is trained twice"
    assert len(set(whole[0].losses)) == 6, "it must train to compare anything"
    assert_same(result, tmp_path, whole)
    assert result.seconds["total"] > result.seconds["train"] > 0


@pytest.mark.parametrize(("cut", "kept"), [(1, (0, 1)), (3, (1, 3)), (4, (1, 4)), (6, (2, 6))])
def test_it_goes_on_within_a_rung_and_at_decoding(
    cut: int,
    kept: tuple[int, int],
    worker: Worker,
    config: TrialConfig,
    whole: tuple[TrialResult, Path],
    steps: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Steps 4 and 6 are the last of a rung: what is left of it is to decode."""
    monkeypatch.setattr(trial_runner, "PART_S", 0.0)
    cut_within(runner_on(worker, checkpoint_interval_s=1e-9), config, tmp_path, cut)
    scramble()
    assert checkpoint.progress(tmp_path, config.key) == kept
    assert checkpoint_files(tmp_path) == [f"checkpoint.{kept[0]}.{kept[1]}.0.safetensors", "checkpoint.json"]
    result = run_trial(runner_on(worker), config, tmp_path)
    assert steps == list(range(6)), "no step is trained twice"
    assert_same(result, tmp_path, whole)


@pytest.mark.slow
@pytest.mark.parametrize("settings", SETTINGS)
def test_whatever_the_settings(
    settings: str,
    worker: Worker,
    config: TrialConfig,
    steps: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cut off within the first rung, after the second, and within the last."""
    given = dict(SETTINGS[settings])
    config = replace(config, train=config.train.model_copy(update=given.pop("train", {})), **given)
    whole = run_trial(runner_on(worker), config, tmp_path / "whole")
    total = len(whole.losses)
    with monkeypatch.context() as patch:
        patch.setattr(trial_runner, "PART_S", 0.0)
        cut_within(runner_on(worker, checkpoint_interval_s=1e-9), config, tmp_path / "cut", 1)
        scramble()
        cut_off(runner_on(worker), config, tmp_path / "cut", after=1)
        cut_within(runner_on(worker, checkpoint_interval_s=1e-9), config, tmp_path / "cut", total - 1)
        scramble()
    result = run_trial(runner_on(worker), config, tmp_path / "cut")
    assert steps == 2 * list(range(total)) and len(set(whole.losses)) > total / 2
    assert_same(result, tmp_path / "cut", (whole, tmp_path / "whole"))


# ---- checkpoints that do not serve -----------------------------------------------------------------------------------


def state_file(folder: Path) -> Path:
    (path,) = folder.glob(checkpoint.WORKER_FILES)
    return path


def edit(folder: Path, **changes: Any) -> None:
    outer = json.loads((folder / checkpoint.NAME).read_text())
    (folder / checkpoint.NAME).write_text(json.dumps({**outer, **changes}))


def flip_a_bit(folder: Path) -> None:
    path = state_file(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def change_a_loss(folder: Path) -> None:
    outer = json.loads((folder / checkpoint.NAME).read_text())
    saved = json.loads(outer["checkpoint"])
    saved["losses"][0] += 1.0
    edit(folder, checkpoint=json.dumps(saved))


def give_to_another(folder: Path) -> None:
    saved = checkpoint.read(folder, json.loads((folder / "config.json").read_text())["key"])
    assert saved is not None
    checkpoint.write(folder, replace(saved, key="f" * 16))


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "a file is cut short": (
        lambda folder: half(state_file(folder)),
        r"checkpoint\.1\.2\.0\.safetensors is damaged",
    ),
    "a bit has flipped": (flip_a_bit, "is damaged"),
    "a file is gone": (lambda folder: state_file(folder).unlink(), "cannot be read"),
    "the checkpoint is cut short": (lambda folder: half(folder / checkpoint.NAME), r"checkpoint\.json cannot be read"),
    "the checkpoint was edited": (change_a_loss, r"checkpoint\.json is damaged"),
    "the checkpoint is another trial's": (give_to_another, "it belongs to the trial ffff"),
    "the checkpoint has another format": (lambda folder: edit(folder, format=99), "format 99"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_or_foreign_checkpoint_is_told_and_not_used(
    what: str, worker: Worker, config: TrialConfig, one_rung: Path, tmp_path: Path
) -> None:
    harm, told = DAMAGE[what]
    shutil.copytree(one_rung, tmp_path, dirs_exist_ok=True)
    harm(tmp_path)
    resumed = runner_on(worker).start(config, tmp_path)
    assert resumed.rungs == () and resumed.promoted_rungs == 0
    assert re.fullmatch(rf"The trial starts from its beginning, not from its checkpoint: .*{told}.*\.", resumed.note)
    assert checkpoint_files(tmp_path) == []


def test_a_checkpoint_of_other_libraries_is_told_and_not_used(
    worker: Worker, config: TrialConfig, one_rung: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(one_rung, tmp_path, dirs_exist_ok=True)
    versions = engine_state.library_versions()
    assert set(versions) == {"torch", "transformers", "peft", "deepspeed"}
    monkeypatch.setattr(engine_state, "library_versions", lambda: {**versions, "torch": "99.0"})
    resumed = runner_on(worker).start(config, tmp_path)
    assert resumed == ResumeState(note=resumed.note) and "torch" in resumed.note and "99.0" in resumed.note


def test_after_a_checkpoint_that_does_not_serve_the_trial_is_as_undisturbed(
    worker: Worker, config: TrialConfig, whole: tuple[TrialResult, Path], steps: list[int], tmp_path: Path
) -> None:
    cut_off(runner_on(worker), config, tmp_path, after=1)
    flip_a_bit(tmp_path)
    result = run_trial(runner_on(worker), config, tmp_path)
    assert steps == [0, 1, 2, 3, *range(6)]
    assert_same(result, tmp_path, whole)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    worker: Worker,
    config: TrialConfig,
    whole: tuple[TrialResult, Path],
    one_rung: Path,
    steps: list[int],
    tmp_path: Path,
) -> None:
    """The moment after the newer file of the worker, or a part of it, and before the new `checkpoint.json`."""
    shutil.copytree(one_rung, tmp_path, dirs_exist_ok=True)
    (tmp_path / checkpoint.worker_file((2, 4), 0)).write_bytes(b"a newer state")
    (tmp_path / (checkpoint.NAME + ".new")).write_bytes(b"{")
    result = run_trial(runner_on(worker), config, tmp_path)
    assert steps == [2, 3, 4, 5]
    assert_same(result, tmp_path, whole)


@pytest.mark.parametrize("path", [checkpoint.NAME, checkpoint.worker_file((1, 2), 0)])
def test_where_a_checkpoint_cannot_be_written_the_trial_goes_on(
    path: str, worker: Worker, config: TrialConfig, whole: tuple[TrialResult, Path], tmp_path: Path
) -> None:
    (tmp_path / (path + ".new")).mkdir()  # in the way of the file
    with pytest.warns(UserWarning, match=rf"No checkpoint of the trial {config.key} is kept: .*directory"):
        cut_off(runner := runner_on(worker), config, tmp_path, after=0)
    assert checkpoint.read(tmp_path, config.key) is None
    (tmp_path / (path + ".new")).rmdir()
    runner.train_rung(1)
    assert len(checkpoint.read(tmp_path, config.key).rungs) == 2  # type: ignore[union-attr]


def test_where_a_later_checkpoint_cannot_be_written_the_one_before_stays(
    worker: Worker, config: TrialConfig, whole: tuple[TrialResult, Path], steps: list[int], tmp_path: Path
) -> None:
    cut_off(runner := runner_on(worker), config, tmp_path, after=0)
    (tmp_path / (checkpoint.worker_file((2, 4), 0) + ".new")).mkdir()
    with pytest.warns(UserWarning, match="No checkpoint of the trial"):
        runner.train_rung(1)
    assert checkpoint.progress(tmp_path, config.key) == (1, 2)
    scramble()
    result = run_trial(runner_on(worker), config, tmp_path)
    assert steps == [0, 1, 2, 3, 2, 3, 4, 5], "what the older one does not have is trained once more"
    (tmp_path / (checkpoint.worker_file((2, 4), 0) + ".new")).rmdir()
    assert_same(result, tmp_path, whole)


# ---- when a trial is saved -------------------------------------------------------------------------------------------


def calls_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the workers are told to do, in order."""
    told: list[str] = []
    group_map = WorkerGroup.map

    def noted(group: WorkerGroup, method: str, arguments: Any) -> list[Any]:
        told.append(method)
        return group_map(group, method, arguments)

    monkeypatch.setattr(WorkerGroup, "map", noted)
    return told


def test_a_rung_of_seconds_costs_nothing(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the default interval a short trial trains in one call a rung, and is saved between rungs only."""
    told = calls_of(monkeypatch)
    monkeypatch.setattr(nodes, "draining_nodes", lambda: 1 / 0)
    result = run_trial(
        runner_on(worker, checkpoint_interval_s=RunnerResources().checkpoint_interval_s), config, tmp_path
    )
    assert result.status == "finished", result.error
    trained = [one for one in told if one in ("train", "save_state")]
    assert trained == ["train", "train", "save_state", "train", "save_state", "train"]


def test_a_long_rung_is_saved_each_time_the_interval_has_passed(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes a minute by this clock, so every fifth is followed by a checkpoint; so is the end of training."""
    step, clock = Trainer._step, [0.0]

    def minute(trainer: Trainer, own: Any) -> float:
        clock[0] += 60.0
        return step(trainer, own)

    monkeypatch.setattr(Trainer, "_step", minute)
    for module in ("trainer", "trial_runner", "trial_state"):
        monkeypatch.setattr(f"sde_ray.training.{module}.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    saved: list[tuple[int, int]] = []
    write = checkpoint.write

    def noted(folder: Path, one: checkpoint.Checkpoint) -> checkpoint.Checkpoint:
        saved.append(one.progress)
        return write(folder, one)

    monkeypatch.setattr(checkpoint, "write", noted)
    config = replace(config, rungs=(1.0,), train=config.train.model_copy(update={"num_train_epochs": 4}))
    result = run_trial(runner_on(worker, checkpoint_interval_s=300.0), config, tmp_path)
    assert result.status == "finished" and len(result.losses) == 12
    assert saved == [(0, 5), (0, 10), (0, 12)]


def test_a_trial_on_a_node_that_will_be_taken_away_is_saved_and_leaves(
    worker: Worker,
    config: TrialConfig,
    whole: tuple[TrialResult, Path],
    steps: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial_runner, "PART_S", 0.0)
    runner = runner_on(worker)
    runner.start(config, tmp_path)
    runner.train_rung(0)
    uploads: list[tuple[int, int]] = []
    with monkeypatch.context() as patch:
        patch.setattr(WorkerGroup, "draining", property(lambda group: len(steps) >= 3))
        with pytest.raises(WorkerDiedError, match="will be taken away") as told:
            runner.train_rung(1, None, lambda: uploads.append(checkpoint.progress(tmp_path, config.key)))
    assert told.value.preempted and uploads == [(1, 3)], "at the next step, and it is told before the trial leaves"
    scramble()
    result = run_trial(runner_on(worker), config, tmp_path)
    assert steps == list(range(6))
    assert_same(result, tmp_path, whole)


def test_a_worker_that_a_draining_node_does_not_start_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray keeps a new process off a node that will be taken away, also in room that it has given before."""
    killed: list[Any] = []
    actor = SimpleNamespace(node=SimpleNamespace(remote=lambda: "a call that waits"))
    monkeypatch.setattr(worker_group, "_actor", lambda resources, rank: actor)
    monkeypatch.setattr("ray.wait", lambda calls, **options: ([], calls))
    monkeypatch.setattr("ray.kill", killed.append)
    monkeypatch.setattr(worker_group, "placement_nodes", lambda: frozenset(["here", "there"]))
    looks = iter([frozenset(), frozenset(["elsewhere"]), frozenset(["there"])])
    monkeypatch.setattr(worker_group, "draining_nodes", lambda: next(looks))
    group = WorkerGroup(RunnerResources(num_workers=2), in_process=False)
    with pytest.raises(WorkerDiedError, match="will be taken away") as told:
        group.call("train", 1)
    assert told.value.preempted and killed == [actor, actor] and not group.running


def test_a_trial_that_cannot_be_saved_stays_on_its_node_as_long_as_it_may(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial_runner, "PART_S", 0.0)
    monkeypatch.setattr(WorkerGroup, "draining", property(lambda group: True))
    monkeypatch.setattr(Worker, "save_state", lambda *_: ("", "out of reach"))
    with pytest.warns(UserWarning, match="out of reach") as told:
        assert run_trial(runner_on(worker), config, tmp_path).status == "finished"
    assert len([one for one in told if "out of reach" in str(one.message)]) == 1, "once a trial"


def test_an_optimiser_out_of_reach_is_not_kept(worker: Worker, config: TrialConfig, tmp_path: Path) -> None:
    runner = runner_on(worker)
    runner.start(config, tmp_path)
    worker._trainer.engine.basic_optimizer.state.clear()  # as if DeepSpeed had them on NVMe
    assert worker.save_state(tmp_path / "state") == (
        "",
        "DeepSpeed holds the optimiser's state outside of this process",
    )
    assert not (tmp_path / "state").exists()


# ---- what a checkpoint says ------------------------------------------------------------------------------------------


def test_a_checkpoint_says_where_the_trial_stands(worker: Worker, config: TrialConfig, tmp_path: Path) -> None:
    runner = runner_on(worker)
    runner.start(config, tmp_path)
    done = runner.train_rung(0, Opponent(tmp_path / "rival-key", "weighted_kappa"))
    saved = checkpoint.read(tmp_path, config.key)
    assert saved is not None
    assert (saved.rungs, len(saved.losses), saved.rival) == ((done,), 2, "rival-key")
    assert (saved.promoted, saved.promoted_rungs) == (False, 0), "whether it goes on is not decided yet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrialRunner, "_train", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            runner.train_rung(1)
    assert runner_on(worker).start(config, tmp_path) == ResumeState((done,), promoted_rungs=1)
    engine = worker._trainer.engine
    assert (engine.global_steps, engine.micro_steps, engine.lr_scheduler.last_epoch) == (2, 4, 2)


def test_a_trial_of_one_rung_keeps_nothing(worker: Worker, config: TrialConfig, tmp_path: Path) -> None:
    runner = runner_on(worker)
    runner.start(replace(config, rungs=(1.0,)), tmp_path)
    runner.train_rung(0)
    assert checkpoint_files(tmp_path) == []


def test_a_trial_that_is_given_up_keeps_nothing(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = runner_on(worker)
    runner.start(config, tmp_path)
    monkeypatch.setattr(runner, "_score", lambda name, rival: ({"dev": {}}, "far behind"))
    assert runner.train_rung(0).stopped_early == "far behind"
    assert checkpoint_files(tmp_path) == []


def test_checkpoints_beside_a_trials_end_are_removed_and_others_found(config: TrialConfig, tmp_path: Path) -> None:
    folder = tmp_path / "trials"
    rung = RungResult(0, 2, {"dev": {"weighted_kappa": 0.5}})
    two = (rung, replace(rung, rung=1))
    kinds = {"new": (rung,), "failed": (rung,), "pruned": (rung,), "further": two, "finished": two, "odd": (rung,)}
    kinds["again"] = (rung,)  # pruned there, asked for once more, and let go on
    trials = {kind: replace(config, seed=seed) for seed, kind in enumerate(kinds)}
    for kind, trial in trials.items():
        (folder / trial.key).mkdir(parents=True)
        promoted = kind in ("again", "finished")
        checkpoint.write(folder / trial.key, checkpoint.Checkpoint(trial.key, kinds[kind], promoted=promoted))
    half(folder / trials["odd"].key / checkpoint.NAME)
    ends: dict[str, Any] = {"failed": ("failed", ()), "pruned": ("pruned", (rung,)), "further": ("pruned", (rung,))}
    ends["again"] = ends["pruned"]
    ends["finished"] = ("finished", (*two, rung))
    results = {
        trials[kind].key: TrialResult(trials[kind].key, {}, status, rungs=rungs)
        for kind, (status, rungs) in ends.items()
    }
    found = checkpoint.in_flight(LocalFolder(str(tmp_path)), trials.values(), results)
    assert set(found) == {trials[kind].key for kind in ("new", "failed", "further", "again")}
    left = {kind for kind, trial in trials.items() if checkpoint_files(folder / trial.key)}
    assert left == {"new", "failed", "further", "again", "odd"}


# ---- under Ray Tune's trainable --------------------------------------------------------------------------------------


def trainable(config: TrialConfig, folder: Path, worker: Worker) -> TrialTrainable:
    """A warm trial without Tune around it."""
    trial: TrialTrainable = TrialTrainable.__new__(TrialTrainable)
    wanted = {"trial": config, "folder": str(folder), "metric": "weighted_kappa", "split": "dev", "factor": 2.0}
    trial.setup(wanted, factory=lambda resources: runner_on(worker), resources=RunnerResources())
    return trial


def test_tune_hears_of_every_rung_once_more_and_of_what_was_decided(
    worker: Worker, config: TrialConfig, whole: tuple[TrialResult, Path], steps: list[int], tmp_path: Path
) -> None:
    first = trainable(config, tmp_path, worker)
    told = [first.step(), first.step()]
    assert [(one[RUNG_KEY], one[PROMOTED_KEY], one["done"]) for one in told] == [(0, False, False), (1, False, False)]
    first.cleanup()  # what Tune does with a trial when the sweep is stopped
    second = trainable(config, tmp_path, worker)
    again = [second.step() for _ in range(3)]
    assert [one[SCORE_KEY] for one in again[:2]] == [one[SCORE_KEY] for one in told]
    assert [(one[RUNG_KEY], one[PROMOTED_KEY]) for one in again] == [(0, True), (1, False), (2, False)]
    assert not any(NOTE_KEY in one for one in again) and again[-1]["done"]
    assert steps == list(range(6))
    kept = load_result(tmp_path / "result.json")
    assert kept is not None and (kept.losses, kept.rungs) == (whole[0].losses, whole[0].rungs)
    assert checkpoint_files(tmp_path) != [], "the driver removes it, when the ledger has the end"


def test_tune_hears_why_a_checkpoint_is_not_used(worker: Worker, config: TrialConfig, tmp_path: Path) -> None:
    trainable(config, tmp_path, worker).step()
    flip_a_bit(tmp_path)
    trial = trainable(config, tmp_path, worker)
    assert "is damaged" in trial.step()[NOTE_KEY]
    assert NOTE_KEY not in trial.step()


def test_a_lost_worker_ends_the_trainable_and_an_ordinary_failure_does_not(
    worker: Worker, config: TrialConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(*_: Any) -> None:
        raise WorkerDiedError("A worker process died (killed).")

    trial = trainable(config, tmp_path, worker)
    trial.step()
    monkeypatch.setattr(TrialRunner, "_train", lose)
    with pytest.raises(WorkerDiedError):
        trial.step()
    assert checkpoint_files(tmp_path) != [] and load_result(tmp_path / "result.json") is None
    monkeypatch.setattr(TrialRunner, "_train", lambda *_: 1 / 0)
    assert trainable(config, tmp_path, worker)._resume_state == ResumeState()
    failing = trainable(config, tmp_path, worker)
    failing.step()
    assert failing.step()["done"]
    failed = load_result(tmp_path / "result.json")
    assert failed is not None and failed.status == "failed" and "ZeroDivisionError" in failed.error
