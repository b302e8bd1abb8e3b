"""What a trial's engine holds between two rungs, as tensors in a file, and back to the last digit.

    digest = write(training, path)                       after a rung
    share = read(path, digest); fits(training, share)    in another process, on a fresh engine of the same trial
    put_back(training, share)

Between two optimiser steps that is: the adapter's parameters; what the optimiser works on (the same parameters, or
DeepSpeed's full-precision copies of this worker's part) with AdamW's moments and step counts; the scheduler's place;
the engine's counters and, for fp16, its loss scale; the random generators. Each worker keeps its own share, so it is
the same for ZeRO stages 0 to 3 and the optimiser on a GPU or offloaded to the CPU. Where DeepSpeed has moved moments
out of this process (offload to NVMe, or of a part of the optimiser only), they are out of reach: then nothing is kept,
and the trial starts from its beginning. Only safetensors and JSON are read, never a pickle.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from sde_ray import __version__
from sde_ray.storage.files import write_atomic
from sde_ray.training import checkpoint
from sde_ray.training.checkpoint import CheckpointError

if TYPE_CHECKING:
    from sde_ray.training.trainer import Trainer

VALUES = "values"  # the tensor that holds, as bytes of JSON, what is not a tensor
MOMENTS = ("exp_avg", "exp_avg_sq")
LIBRARIES = ("torch", "transformers", "peft", "deepspeed")  # another version may round otherwise
COUNTERS = ("global_steps", "global_samples", "micro_steps", "skipped_steps")
SCALE = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Share:
    """One worker's part of the state."""

    tensors: Tensors
    values: dict[str, Any]


def write(training: Trainer, path: Path) -> str:
    """Write this worker's share; its sha256. `CheckpointError` where the state is out of reach, else `OSError`."""
    tensors = {**_weights(training), **_moments(training), **_random_tensors()}
    text = json.dumps(_values(training)).encode()
    # Copies: several parameters may be views of one buffer, which safetensors refuses.
    whole = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    content = save({**whole, VALUES: torch.frombuffer(bytearray(text), dtype=torch.uint8)})
    write_atomic(path, content, durable=True)
    return checkpoint.digest(content)


def read(path: Path, digest: str) -> Share:
    """The share that `write` has written; `CheckpointError` where it is gone or not what was written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read ({error.strerror})") from None
    if checkpoint.digest(content) != digest:
        raise CheckpointError(f"{path.name} is damaged")
    try:
        tensors = load(content)
        return Share(tensors, json.loads(tensors.pop(VALUES).numpy().tobytes()))
    except (SafetensorError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read ({type(error).__name__})") from None


def fits(training: Trainer, share: Share) -> None:
    """`CheckpointError` unless the share was written by such an engine, under the same versions."""
    for what, own in _made_by(training).items():
        other = share.values["made_by"].get(what)
        if other != own:
            raise CheckpointError(f"it was written with {what} {other}, this is {own}")
    wanted = {**_weights(training), **_random_tensors()}
    for name, tensor in wanted.items():
        kept = share.tensors.get(name)
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.dtype:
            raise CheckpointError(f"the engine's {name} is not what was kept")


def put_back(training: Trainer, share: Share) -> None:
    """Set the engine, the adapter and the random generators as they were. Every worker must take part."""
    engine, values = training.engine, share.values
    with torch.no_grad():
        for name, tensor in _weights(training).items():
            tensor.copy_(share.tensors[name])
        for number, master in enumerate(_masters(training)):
            _put_moments(engine.basic_optimizer.state[master], f"optimizer.{number}.", share.tensors, master.device)
    persistent = getattr(engine.optimizer, "persistent_parameters", [])
    if persistent:  # ZeRO-3 keeps small parameters whole on every worker: made anew from the parts
        persistent[0].partition(persistent)
        persistent[0].all_gather(persistent)
    for name in COUNTERS:
        setattr(engine, name, values["counters"][name])
    for holder, kept in zip(_scalers(engine), values["scale"], strict=True):
        for name, value in kept.items():
            setattr(holder, name, value)
    engine.lr_scheduler.load_state_dict(values["schedule"])
    for group, lr in zip(engine.basic_optimizer.param_groups, values["lr"], strict=True):
        group["lr"] = lr
    training.losses = list(values["losses"])
    _set_random(share)


def _put_moments(state: dict[str, Any], prefix: str, tensors: Tensors, device: torch.device) -> None:
    for name, tensor in tensors.items():
        if name.startswith(prefix):
            own = state.get(name.removeprefix(prefix))
            if own is None:
                state[name.removeprefix(prefix)] = tensor.to(device, copy=True)
            else:
                own.copy_(tensor)


def _made_by(training: Trainer) -> dict[str, str]:
    settings = training.settings
    made = {
        **_versions(),
        "device": training.device.type,
        "precision": training.precision,
        "worker": str(training.rank),
    }
    return {**made, "ZeRO stage": str(training.engine.zero_optimization_stage()), "workers": str(settings.workers)}


@cache
def _versions() -> dict[str, str]:
    return {"sde_ray": __version__, **{name: version(name) for name in LIBRARIES}}


def _weights(training: Trainer) -> Tensors:
    """The trained parameters, under ZeRO-3 this worker's part of each; and masters that are not these."""
    trained = {name: one for name, one in training.peft_model.named_parameters() if one.requires_grad}
    same = {id(one) for one in trained.values()}
    found = {f"parameter.{name}": getattr(one, "ds_tensor", one).data for name, one in trained.items()}
    masters = enumerate(_masters(training))
    return {**found, **{f"master.{number}": one for number, one in masters if id(one) not in same}}


def _masters(training: Trainer) -> list[torch.Tensor]:
    """What the optimiser works on, in its order."""
    engine = training.engine
    flat = getattr(engine.optimizer, "fp32_partitioned_groups_flat", None)  # ZeRO-3 lends them for the step only
    return list(flat or (one for group in engine.basic_optimizer.param_groups for one in group["params"]))


def _moments(training: Trainer) -> Tensors:
    """The moments and step counts of all masters; `CheckpointError` where these are not in this process."""
    found: Tensors = {}
    for number, master in enumerate(_masters(training)):
        state = training.engine.basic_optimizer.state.get(master, {})
        if any(name not in state or state[name].numel() != master.numel() for name in MOMENTS):
            raise CheckpointError("DeepSpeed holds the optimiser's state outside of this process")
        found |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    return found


def _values(training: Trainer) -> dict[str, Any]:
    engine = training.engine
    return {
        "made_by": _made_by(training),
        "losses": training.losses,
        "counters": {name: getattr(engine, name) for name in COUNTERS},
        "scale": [{name: getattr(one, name) for name in SCALE if hasattr(one, name)} for one in _scalers(engine)],
        "schedule": engine.lr_scheduler.state_dict(),
        "lr": [group["lr"] for group in engine.basic_optimizer.param_groups],
        "random": _random_values(),
    }


def _scalers(engine: Any) -> list[Any]:
    """Who scales the losses of fp16: the optimiser itself, or an object of its own."""
    owners = (engine.optimizer, getattr(engine.optimizer, "loss_scaler", None))
    return [one for one in owners if one is not None and isinstance(getattr(one, "cur_scale", None), (int, float))]


def _numpy_state() -> tuple[Any, ...]:
    state: Any = np.random.get_state(legacy=True)
    return tuple(state)


def _random_tensors() -> Tensors:
    found = {
        "random.python": torch.tensor(random.getstate()[1], dtype=torch.int64),
        "random.numpy": torch.from_numpy(_numpy_state()[1].astype(np.int64)),
        "random.torch": torch.get_rng_state(),
    }
    return {**found, "random.cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else found


def _random_values() -> dict[str, Any]:
    _, _, place, has_gauss, gauss = _numpy_state()
    return {"python": random.getstate()[2], "numpy": [int(place), int(has_gauss), float(gauss)]}


def _set_random(share: Share) -> None:
    words = [int(word) for word in share.tensors["random.numpy"]]
    own = tuple(share.tensors["random.python"].tolist())
    random.setstate((random.getstate()[0], own, share.values["random"]["python"]))
    np.random.set_state(("MT19937", np.array(words, dtype=np.uint32), *share.values["random"]["numpy"]))
    torch.set_rng_state(share.tensors["random.torch"])
    if "random.cuda" in share.tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(share.tensors["random.cuda"])
