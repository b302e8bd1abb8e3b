"""A trial's checkpoint: how far it got, so that a later run resumes it there.

    checkpoint.json                  rungs scored, losses, whom it races, and the sha256 of the workers' files
    checkpoint.1.40.0.safetensors    after 1 rung and 40 steps: worker 0's part of the engine (`engine_state.py`)

Written after every rung but the last, and within a rung when so much time has passed, in the trial's folder. The
workers' files come first and `checkpoint.json` names them: it is replaced in one move, and only then are older files
removed. So at any moment there is one whole checkpoint or none, whatever is killed. It belongs to one trial by its key.
It is removed when the ledger has the trial's end; that of a failed trial stays, and the next run goes on from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sde_ray.config.trial import TrialConfig
from sde_ray.storage.files import write_atomic
from sde_ray.storage.layout import CHECKPOINT, TRIALS
from sde_ray.storage.mirror import LocalFolder
from sde_ray.types import RungResult, TrialResult

FORMAT = 2  # of `checkpoint.json` and of the workers' files; another one is not read
NAME, WORKER_FILES = CHECKPOINT, "checkpoint.*.safetensors"


class CheckpointError(Exception):
    """There is a checkpoint, but the trial cannot be resumed from it; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """A trial's progress. `losses` has one value a step, so its length is the number of steps done.

    `promoted`: the search has decided to train the trial beyond the last of `rungs`; within a rung it has. `rival`: the
    key of the trial that it races, or "". `worker_files`: file name -> sha256, in the order of the workers.
    """

    key: str
    rungs: tuple[RungResult, ...]
    losses: tuple[float, ...] = ()
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rival: str = ""
    promoted: bool = False
    worker_files: Mapping[str, str] = field(default_factory=dict)

    @property
    def promoted_rungs(self) -> int:
        """The number of rungs after which the trial was promoted to the next."""
        return len(self.rungs) - (not self.promoted)

    @property
    def progress(self) -> tuple[int, int]:
        """How far the trial is: rungs scored, steps done."""
        return len(self.rungs), len(self.losses)


def worker_file(progress: tuple[int, int], rank: int) -> str:
    """The name of a worker's file, after so many rungs and steps."""
    return f"checkpoint.{progress[0]}.{progress[1]}.{rank}.safetensors"


def write(folder: Path, checkpoint: Checkpoint) -> Checkpoint:
    """Replace the checkpoint in a trial's folder; its workers' files are on disk already."""
    text = json.dumps(asdict(checkpoint), ensure_ascii=False, sort_keys=True)
    outer = json.dumps({"format": FORMAT, "sha256": digest(text.encode()), "checkpoint": text})
    write_atomic(folder / NAME, outer, durable=True)
    for path in folder.glob(WORKER_FILES):
        if path.name not in checkpoint.worker_files:
            path.unlink(missing_ok=True)
    return checkpoint


def read(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of the trial with this key; None if there is none. Raises CheckpointError for any other."""
    try:
        outer = json.loads((folder / NAME).read_bytes())
        if outer["format"] != FORMAT:
            raise CheckpointError(f"it has format {outer['format']}, this version of sde_ray reads format {FORMAT}")
        if digest(outer["checkpoint"].encode()) != outer["sha256"]:
            raise CheckpointError(f"{NAME} is damaged")
        checkpoint = _from_json(json.loads(outer["checkpoint"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{NAME} cannot be read ({type(error).__name__})") from None
    if checkpoint.key != key:
        raise CheckpointError(f"it belongs to the trial {checkpoint.key}, this is {key}")
    return checkpoint


def remove(folder: Path) -> None:
    """Delete the checkpoint: the trial has ended, or starts again from its beginning."""
    for path in (folder / NAME, *folder.glob(WORKER_FILES)):
        path.unlink(missing_ok=True)


def progress(folder: Path, key: str) -> tuple[int, int]:
    """How far the checkpoint in a trial's folder is, in rungs and steps; (0, 0) where none can be used."""
    try:
        saved = read(folder, key)
    except CheckpointError:
        saved = None
    return saved.progress if saved else (0, 0)


def in_flight(
    run: LocalFolder, trials: Iterable[TrialConfig], results: Mapping[str, TrialResult]
) -> dict[str, Checkpoint]:
    """The checkpoints of trials that an earlier run started and did not finish, by key.

    A checkpoint of a trial that has ended, left by a driver killed between the two, is removed, from a remote storage,
    too. One that is beyond that end belongs to a trial that the search has requested again, to train it further.

    Args:
        run: The folder of the run.
        trials: Those that may be resumed.
        results: What the ledger has.
    """
    checkpoints = {}
    for trial in trials:
        folder = run.folder / TRIALS / trial.key
        try:
            checkpoint = read(folder, trial.key)
        except CheckpointError:
            continue  # the trial itself says so when it starts
        if checkpoint is None:
            continue
        result = results.get(trial.key)
        if result is not None and result.status != "failed" and checkpoint.promoted_rungs < len(result.rungs):
            run.delete(folder, NAME, WORKER_FILES)
        elif len(checkpoint.rungs) < len(trial.rungs):
            checkpoints[trial.key] = checkpoint
    return checkpoints


def digest(content: bytes) -> str:
    """The sha256 of a file's content, in hex."""
    return hashlib.sha256(content).hexdigest()


def _from_json(plain: dict[str, Any]) -> Checkpoint:
    values = {name: plain[name] for name in (field.name for field in fields(Checkpoint))}
    values["rungs"] = tuple(RungResult(**rung) for rung in values["rungs"])
    values["losses"] = tuple(values["losses"])
    return Checkpoint(**values)
