"""DeepSpeed's side of a trial: the process group, the configuration, and whole parameters under ZeRO-3.

The user's `deepspeed` section is passed through. Keys that a sweep decides by itself are refused with the setting that
does it, since two places for one number end in a trial that ran something else than it says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from sde_ray.config.trial import TrainSettings
from sde_ray.errors import FaultList

RESERVED_KEYS = {
    "train_batch_size": "train.batch_size",
    "train_micro_batch_size_per_gpu": "train.batch_size and resources.workers_per_trial",
    "gradient_accumulation_steps": "train.gradient_accumulation",
    "gradient_clipping": "train.max_grad_norm",
    "optimizer": "train.lr and train.weight_decay (the optimiser is AdamW)",
    "scheduler": "train.schedule and train.warmup",
    "bf16": "train.precision",
    "fp16": "train.precision",
    "steps_per_print": "nothing: progress is shown by the sweep",
}


def check_deepspeed_section(settings: TrainSettings) -> None:
    """Raise UserError, all faults at once, for what cannot stand beside the trial's own settings."""
    faults = FaultList("deepspeed section")
    for key in settings.deepspeed:
        if key in RESERVED_KEYS:
            faults.add(f'"{key}" is decided by {RESERVED_KEYS[key]}. Remove it here and set that instead.')
    if settings.batch_size % settings.workers:
        faults.add(
            f"train.batch_size {settings.batch_size} cannot be spread evenly over {settings.workers} workers. "
            f"Use a multiple of {settings.workers}."
        )
    if stage(settings) not in (0, 1, 2, 3):
        faults.add(f'zero_optimization.stage is "{stage(settings)}"; expected 0, 1, 2 or 3.')
    faults.raise_if_any()


def stage(settings: TrainSettings, precision: str = "fp32") -> Any:
    """The ZeRO stage: the user's, else 2 to shard over several workers and 0 for one, which has nothing to shard.

    In bf16 and fp16 one worker has stage 1: the optimiser of DeepSpeed's stage 0 takes a step on zero gradients when it
    is made, so that Adam's step counter starts at 1 and the first update is 0.745 of the learning rate.
    """
    section = settings.deepspeed.get("zero_optimization", {})
    return section.get("stage", 2 if settings.workers > 1 else 0 if precision == "fp32" else 1)


def configuration(settings: TrainSettings, precision: str) -> dict[str, Any]:
    """The complete DeepSpeed configuration of a trial."""
    check_deepspeed_section(settings)
    own = {
        "train_micro_batch_size_per_gpu": settings.batch_size // settings.workers,
        "gradient_accumulation_steps": settings.gradient_accumulation,
        "gradient_clipping": settings.max_grad_norm,
        "zero_optimization": {"stage": stage(settings, precision)},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    if precision in ("bf16", "fp16"):
        own[precision] = {"enabled": True}
    return _merge(own, settings.deepspeed)


def init_group(rank: int, workers: int, address: str, port: int) -> None:
    """Join the process group that every engine of this process will use. Once a process, before any ZeRO-3 model."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK="0", WORLD_SIZE=str(workers), MASTER_ADDR=address, MASTER_PORT=str(port)
    )
    if not torch.cuda.is_available():
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if not torch.cuda.is_available():
        # On a CPU DeepSpeed compiles a kernel here that serves its inference all-reduce only. It takes half a minute,
        # needs a compiler, and a process killed meanwhile leaves a lock that hangs all later ones. Training needs none.
        deepspeed.ops.__compatible_ops__ = {}
    deepspeed.init_distributed(dist_backend="nccl" if torch.cuda.is_available() else "gloo")


@contextmanager
def gathered_parameters(engine: Any, model: torch.nn.Module) -> Iterator[None]:
    """Inside, every worker holds the model's full parameters, and ordinary forward passes are safe.

    Under ZeRO-3 a parameter is a shard that hooks fetch and drop layer by layer, in step with the other workers. To
    decode, each worker its own items, the hooks are taken off and all parameters are gathered. Every worker must enter.
    """
    import deepspeed

    if engine is None or engine.zero_optimization_stage() < 3:
        yield
        return
    offload = engine.optimizer.parameter_offload
    parameters = list(model.parameters())
    for hook in (*offload.forward_hooks, *offload.backward_hooks):
        hook.remove()
    offload.forward_hooks, offload.backward_hooks = [], []
    try:
        with deepspeed.zero.GatheredParameters(parameters):
            yield
    finally:
        offload._register_deepspeed_module(offload.module)


def _merge(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given section over our own, mapping by mapping."""
    merged = dict(own)
    for key, value in given.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged
