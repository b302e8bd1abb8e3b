"""Engine state: save and load what a trial's engine holds between two rungs, exact to the last digit.

    digest = write(trainer, path)                                     after a rung
    state = read(path, digest); check_compatible(trainer, state)      in another process, on a fresh engine of the trial
    restore(trainer, state)

Between two optimiser steps that is: the adapter's parameters; what the optimiser works on (the same parameters, or
DeepSpeed's full-precision copies of this worker's part) with AdamW's moments and step counts; the scheduler's step;
the engine's counters and, for fp16, its loss scale; the random generators. Each worker saves its own part, so it is
the same for ZeRO stages 0 to 3 and the optimiser on a GPU or offloaded to the CPU. Where DeepSpeed has moved moments
out of this process (offload to NVMe, or of a part of the optimiser only), they are out of reach: then nothing is saved,
and the trial starts from its beginning. Only safetensors and JSON are read, never a pickle.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from sde_ray import __version__
from sde_ray.config.trial import TrialConfig
from sde_ray.models.base import library_versions
from sde_ray.storage.files import write_atomic
from sde_ray.training import checkpoint
from sde_ray.training.checkpoint import CheckpointError
from sde_ray.training.optimizer import STATE

VALUES = "values"  # the tensor that holds, as bytes of JSON, what is not a tensor
COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")
SCALE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")

Tensors = dict[str, torch.Tensor]


class Trainer(Protocol):
    """What has an engine (`trainer.py`)."""

    engine: Any
    peft_model: Any
    config: TrialConfig
    losses: list[float]
    rank: int
    dtype: str
    device: torch.device

    def more_state(self) -> tuple[Tensors, dict[str, Any]]: ...

    def prepare_restore(self, values: dict[str, Any]) -> None: ...

    def restore_more(self, tensors: Tensors, values: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class WorkerState:
    """One worker's part of a trial's state."""

    tensors: Tensors
    values: dict[str, Any]


def write(trainer: Trainer, path: Path) -> str:
    """Write this worker's state; returns the file's sha256. Raises CheckpointError when it is out of reach, OSError."""
    more, values = trainer.more_state()
    text = json.dumps({**_values(trainer), "more": values}).encode()
    # Copies: several parameters may be views of one buffer, which safetensors refuses.
    whole = _copies({**_weights(trainer), **_moments(trainer), **_random_tensors(), **more})
    content = save({**whole, VALUES: torch.frombuffer(bytearray(text), dtype=torch.uint8)})
    write_atomic(path, content, durable=True)
    return checkpoint.digest(content)


def snapshot(trainer: Trainer) -> WorkerState:
    """A copy of the engine's state alone, for another engine of the same trainer (`restore_engine`).

    Raises CheckpointError when it is out of reach.
    """
    moments = _moments(trainer) if trainer.losses else {}  # none before the first step
    return WorkerState(_copies({**_weights(trainer), **moments}), _values(trainer))


def _copies(tensors: Tensors) -> Tensors:
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def read(path: Path, digest: str) -> WorkerState:
    """Read what `write` has written. Raises CheckpointError when it is gone or not what was written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror})") from None
    if checkpoint.digest(content) != digest:
        raise CheckpointError(f"{path.name} is damaged")
    try:
        tensors = load(content)
        return WorkerState(tensors, json.loads(tensors.pop(VALUES).numpy().tobytes()))
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read ({type(error).__name__})") from None


def check_compatible(trainer: Trainer, state: WorkerState) -> None:
    """Raises CheckpointError unless the state was written by an engine of this shape, under the same versions."""
    for name, present in _origin(trainer).items():
        saved = state.values["origin"].get(name)
        if saved != present:
            raise CheckpointError(f"it was written with {name} {saved}, this is {present}")
    for name, tensor in {**_weights(trainer), **_random_tensors()}.items():
        loaded = state.tensors.get(name)
        if loaded is None or loaded.shape != tensor.shape or loaded.dtype != tensor.dtype:
            raise CheckpointError(f"the engine's {name} is not what was saved")


def restore(trainer: Trainer, state: WorkerState) -> None:
    """Load the state into the engine, the adapter and the random generators. Every worker must call it."""
    trainer.prepare_restore(state.values.get("more", {}))
    restore_engine(trainer, state)
    trainer.losses = list(state.values["losses"])
    trainer.restore_more(state.tensors, state.values.get("more", {}))
    _set_random(state)


def restore_engine(trainer: Trainer, state: WorkerState) -> None:
    """Load the state into the engine and the adapter."""
    engine, values = trainer.engine, state.values
    with torch.no_grad():
        for name, tensor in _weights(trainer).items():
            tensor.copy_(state.tensors[name])
        for number, master in enumerate(masters(trainer)):
            _restore_moments(engine.basic_optimizer.state[master], f"optimizer.{number}.", state.tensors, master.device)
    persistent = getattr(engine.optimizer, "persistent_parameters", [])
    if persistent:  # ZeRO-3 keeps small parameters whole on every worker: made anew from the parts
        persistent[0].partition(persistent)
        persistent[0].all_gather(persistent)
    for name in COUNTERS:
        setattr(engine, name, values["counters"][name])
    engine.micro_steps -= engine.micro_steps % engine.gradient_accumulation_steps()  # saved under other parts, perhaps
    for holder, scale in zip(_scalers(engine), values["scale"], strict=True):
        for name, value in scale.items():
            setattr(holder, name, value)
    engine.lr_scheduler.load_state_dict(values["schedule"])
    for group, lr in zip(engine.basic_optimizer.param_groups, values["lr"], strict=True):
        group["lr"] = lr


def _restore_moments(state: dict[str, Any], prefix: str, tensors: Tensors, device: torch.device) -> None:
    """Copy the tensors of one master into its entry of the optimiser's state."""
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            present = state.get(name.removeprefix(prefix))
            if present is None:
                state[name.removeprefix(prefix)] = tensor.to(device, copy=True)
            else:
                present.copy_(tensor)


def _origin(trainer: Trainer) -> dict[str, str]:
    """What the digits of a state depend on: versions, device, dtype, ZeRO stage, workers."""
    return {
        "sde_ray": __version__,
        **library_versions(),
        "device": trainer.device.type,
        "dtype": trainer.dtype,
        "worker": str(trainer.rank),
        "ZeRO stage": str(trainer.engine.zero_optimization_stage()),
        "workers": str(trainer.config.num_workers),
    }


def _weights(trainer: Trainer) -> Tensors:
    """The trained parameters, under ZeRO-3 this worker's part of each; and masters that are not these."""
    trained = {name: weight for name, weight in trainer.peft_model.named_parameters() if weight.requires_grad}
    trained_ids = {id(weight) for weight in trained.values()}
    weights = {f"parameter.{name}": getattr(weight, "ds_tensor", weight).data for name, weight in trained.items()}
    apart = {number: weight for number, weight in enumerate(masters(trainer)) if id(weight) not in trained_ids}
    return {**weights, **{f"master.{number}": weight for number, weight in apart.items()}}


def masters(trainer: Trainer) -> list[torch.Tensor]:
    """What the optimiser works on, in its order."""
    engine = trainer.engine
    flat = getattr(engine.optimizer, "fp32_partitioned_groups_flat", None)  # ZeRO-3 lends them for the step only
    return list(flat or (weight for group in engine.basic_optimizer.param_groups for weight in group["params"]))


def _moments(trainer: Trainer) -> Tensors:
    """The moments and step counts of all masters. Raises CheckpointError when these are not in this process."""
    names = STATE.get(trainer.config.train.optim)
    if names is None:
        raise CheckpointError(f"the state of {trainer.config.train.optim} is more than tensors")
    moments: Tensors = {}
    for number, master in enumerate(masters(trainer)):
        state = trainer.engine.basic_optimizer.state.get(master, {})
        if any(name not in state or state[name].numel() != master.numel() for name in names):
            raise CheckpointError("DeepSpeed holds the optimiser's state outside of this process")
        moments |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    return moments


def _values(trainer: Trainer) -> dict[str, Any]:
    engine = trainer.engine
    return {
        "origin": _origin(trainer),
        "losses": trainer.losses,
        "counters": {name: getattr(engine, name) for name in COUNTERS},
        "scale": [
            {name: getattr(scaler, name) for name in SCALE if hasattr(scaler, name)} for scaler in _scalers(engine)
        ],
        "schedule": engine.lr_scheduler.state_dict(),
        "lr": [group["lr"] for group in engine.basic_optimizer.param_groups],
        "random": _random_values(),
    }


def _scalers(engine: Any) -> list[Any]:
    """Who scales the losses of fp16: the optimiser itself, or an object of its own."""
    owners = (engine.optimizer, getattr(engine.optimizer, "loss_scaler", None))
    return [owner for owner in owners if isinstance(getattr(owner, "cur_scale", None), (int, float))]


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state(legacy=True)
    return tuple(state)


def _random_tensors() -> Tensors:
    states = {
        "random.python": torch.tensor(random.getstate()[1], dtype=torch.int64),
        "random.numpy": torch.from_numpy(_numpy_state()[1].astype(np.int64)),
        "random.torch": torch.get_rng_state(),
    }
    return {**states, "random.cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else states


def _random_values() -> dict[str, Any]:
    _, _, position, has_gauss, gauss = _numpy_state()
    return {"python": random.getstate()[2], "numpy": [int(position), int(has_gauss), float(gauss)]}


def _set_random(state: WorkerState) -> None:
    numpy_words = [int(word) for word in state.tensors["random.numpy"]]
    python_words = tuple(state.tensors["random.python"].tolist())
    random.setstate((random.getstate()[0], python_words, state.values["random"]["python"]))
    np.random.set_state(("MT19937", np.array(numpy_words, dtype=np.uint32), *state.values["random"]["numpy"]))
    torch.set_rng_state(state.tensors["random.torch"])
    if "random.cuda" in state.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(state.tensors["random.cuda"])
