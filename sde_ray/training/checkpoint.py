"""A trial's checkpoint: how far it got, so that it goes on from its last rung when it is begun again.

    checkpoint.json                rungs scored, losses, whom it races, and the digests of the shares
    checkpoint.1.0.safetensors     after rung 1, worker 0's share of the engine's state (`engine_state.py`)

Written after every rung but the last, in the trial's folder. The shares come first and `checkpoint.json` names them: it
is replaced in one move, and only then are older shares removed. So at any moment there is one whole checkpoint or none,
whatever is killed. It belongs to one trial by its key. It is removed when the ledger has the trial's end.
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
from sde_ray.storage.mirror import CHECKPOINT
from sde_ray.types import RungResult, TrialResult

FORMAT = 1  # of `checkpoint.json` and of the shares; another one is not read
NAME, SHARES = CHECKPOINT, "checkpoint.*.safetensors"


class CheckpointError(Exception):
    """There is a checkpoint, but the trial cannot go on from it; the message says why."""


@dataclass(frozen=True)
class Checkpoint:
    """What a trial has behind it. `losses` has one value a step, so its length is the number of steps done.

    `went_on`: the search has let the trial go on after the last of `rungs`. `rival`: the key of the trial that it
    races, or "". `shares`: file name -> sha256, in the order of the workers.
    """

    key: str
    rungs: tuple[RungResult, ...]
    losses: tuple[float, ...] = ()
    faults: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rival: str = ""
    went_on: bool = False
    shares: Mapping[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> int:
        """At so many of its rungs it was decided that the trial goes on."""
        return len(self.rungs) - (not self.went_on)


def share_name(rung: int, rank: int) -> str:
    return f"checkpoint.{rung}.{rank}.safetensors"


def write(folder: Path, mark: Checkpoint) -> Checkpoint:
    """Put the checkpoint in the place of the one before; its shares are on disk already."""
    text = json.dumps(asdict(mark), ensure_ascii=False, sort_keys=True)
    outer = json.dumps({"format": FORMAT, "sha256": digest(text.encode()), "mark": text})
    write_atomic(folder / NAME, outer, durable=True)
    for path in folder.glob(SHARES):
        if path.name not in mark.shares:
            path.unlink(missing_ok=True)
    return mark


def read(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of the trial with this key; None where there is none. `CheckpointError` for any other."""
    try:
        outer = json.loads((folder / NAME).read_bytes())
        if outer["format"] != FORMAT:
            raise CheckpointError(f"it has format {outer['format']}, this version of sde_ray reads format {FORMAT}")
        if digest(outer["mark"].encode()) != outer["sha256"]:
            raise CheckpointError(f"{NAME} is damaged")
        mark = _from_json(json.loads(outer["mark"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{NAME} cannot be read ({type(error).__name__})") from None
    if mark.key != key:
        raise CheckpointError(f"it belongs to the trial {mark.key}, this is {key}")
    return mark


def remove(folder: Path) -> None:
    """The trial has ended, or begins anew: nothing is left to go on from."""
    for path in (folder / NAME, *folder.glob(SHARES)):
        path.unlink(missing_ok=True)


def in_flight(folder: Path, trials: Iterable[TrialConfig], results: Mapping[str, TrialResult]) -> dict[str, Checkpoint]:
    """The checkpoints of trials that began in an earlier run and have not ended, by key. `folder`: that of all trials.

    A checkpoint that was left beside a trial's end, by a driver killed between the two, is removed. One that has
    passed that end belongs to a trial that the search has asked for once more, to get further.
    """
    found = {}
    for trial in trials:
        place = folder / trial.key
        try:
            mark = read(place, trial.key)
        except CheckpointError:
            continue  # the trial itself says so when it begins
        if mark is None:
            continue
        result = results.get(trial.key)
        if result is not None and result.status != "failed" and mark.passed < len(result.rungs):
            remove(place)
        elif len(mark.rungs) < len(trial.train.rungs):
            found[trial.key] = mark
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _from_json(plain: dict[str, Any]) -> Checkpoint:
    values = {name: plain[name] for name in (one.name for one in fields(Checkpoint))}
    values["rungs"] = tuple(RungResult(**rung) for rung in values["rungs"])
    values["losses"] = tuple(values["losses"])
    return Checkpoint(**values)
