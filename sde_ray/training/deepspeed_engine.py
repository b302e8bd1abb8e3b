"""DeepSpeed: the process group, the configuration, and gathered parameters under ZeRO-3.

The user's `deepspeed` section is passed through. Keys that a sweep decides by itself are refused with the setting that
does it, since two places for one number end in a trial that ran something else than it says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import Any
from weakref import WeakSet

import torch

from sde_ray.config.trial import TrialConfig, check_batch_size
from sde_ray.errors import FaultList, UserError

RESERVED_KEYS = {
    "train_batch_size": "train.train_batch_size",
    "train_micro_batch_size_per_gpu": "train.train_batch_size and resources.num_workers",
    "gradient_accumulation_steps": "train.gradient_accumulation_steps",
    "gradient_clipping": "train.max_grad_norm",
    "optimizer": "train.optim and train.learning_rate",
    "scheduler": "train.lr_scheduler_type and train.warmup_steps",
    "bf16": "train.dtype",
    "fp16": "train.dtype",
    "steps_per_print": "nothing: progress is shown by the sweep",
}

GROUP_TIMEOUT = timedelta(minutes=30)  # DeepSpeed's own: a worker may wait so long for the others

SECTIONS = {"bfloat16": "bf16", "float16": "fp16"}  # what DeepSpeed calls a number format


def check_deepspeed_section(config: TrialConfig) -> None:
    """Raises UserError, all faults at once, for what contradicts the trial's own settings."""
    faults = FaultList("deepspeed section")
    for key in config.deepspeed:
        if key in RESERVED_KEYS:
            faults.add(f'"{key}" is decided by {RESERVED_KEYS[key]}. Remove it here and set that instead.')
    try:
        check_batch_size(config.train, config.num_workers)
    except ValueError as error:
        faults.add(str(error))
    if stage(config) not in (0, 1, 2, 3):
        faults.add(f'zero_optimization.stage is "{stage(config)}"; expected 0, 1, 2 or 3.')
    faults.raise_if_any()


def stage(config: TrialConfig, dtype: str = "float32") -> Any:
    """The ZeRO stage: the user's; by default 2 to shard over several workers and 0 for one, which has nothing to shard.

    In bf16 and fp16 one worker has stage 1: the optimiser of DeepSpeed's stage 0 takes a step on zero gradients when it
    is made, so that Adam's step counter starts at 1 and the first update is 0.745 of the learning rate.
    """
    section = config.deepspeed.get("zero_optimization", {})
    return section.get("stage", 2 if config.num_workers > 1 else 0 if dtype == "float32" else 1)


def deepspeed_config(config: TrialConfig, dtype: str) -> dict[str, Any]:
    """The complete DeepSpeed configuration of a trial."""
    check_deepspeed_section(config)
    train = config.train
    if train.optim == "adafactor" and stage(config, dtype) != 0:
        raise UserError(
            "train.optim: adafactor works on whole matrices, which DeepSpeed flattens from ZeRO stage 1 on. Use one "
            "worker in float32 with stage 0, or train.optim: adamw_torch."
        )
    parts = config.num_workers * train.parts
    defaults = {
        "train_micro_batch_size_per_gpu": train.train_batch_size // parts,
        "gradient_accumulation_steps": train.parts,
        "gradient_clipping": train.max_grad_norm,
        "zero_optimization": {"stage": stage(config, dtype)},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
    }
    if dtype in SECTIONS:
        defaults[SECTIONS[dtype]] = {"enabled": True}
    return _merge(defaults, config.deepspeed)


def open_store(host: str, workers: int) -> Any:
    """The place where the workers of a group meet, at a port that the system has chosen and that is held from now on.

    A port that is only looked up could be somebody else's by the time it is used.
    """
    from torch.distributed import TCPStore

    return TCPStore(host, 0, workers, is_master=True, wait_for_workers=False)


def init_group(rank: int, workers: int, address: str, port: int, store: Any = None) -> None:
    """Join the process group that every engine of this process will use; once, before any ZeRO-3 model is made.

    `store`: that of the first worker (`open_store`); the others find it at its address.
    """
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
    from torch import distributed

    backend = "nccl" if torch.cuda.is_available() else "gloo"
    store = store or distributed.TCPStore(address, port, workers, is_master=False)
    distributed.init_process_group(backend, store=store, rank=rank, world_size=workers, timeout=GROUP_TIMEOUT)
    deepspeed.init_distributed(dist_backend=backend)  # finds the group


class OneWorker:
    """An engine's groups (Megatron's `mpu`) where each worker trains by itself: every group is this worker alone."""

    def __init__(self) -> None:
        from torch import distributed

        ranks = range(distributed.get_world_size())
        self._group = [distributed.new_group([rank]) for rank in ranks][distributed.get_rank()]  # all make all groups
        self._rank = distributed.get_rank()

    def get_model_parallel_rank(self) -> int:
        return 0

    def get_model_parallel_world_size(self) -> int:
        return 1

    def get_model_parallel_group(self) -> Any:
        return self._group

    def get_data_parallel_rank(self) -> int:
        return 0

    def get_data_parallel_world_size(self) -> int:
        return 1

    def get_data_parallel_group(self) -> Any:
        return self._group

    def get_data_parallel_group_ranks(self) -> list[int]:
        return [self._rank]


@cache
def one_worker() -> OneWorker:
    """The groups of an engine that trains by itself; made once in a process, by all workers at the same time."""
    return OneWorker()


def forget_groups() -> None:
    """Begin without the groups of an earlier engine, which DeepSpeed keeps for all that come later in the process."""
    from deepspeed.utils import groups

    groups.mpu = None


@contextmanager
def gathered_parameters(engine: Any, model: torch.nn.Module) -> Iterator[None]:
    """Inside, every worker holds the model's full parameters, and ordinary forward passes are safe.

    Under ZeRO-3 a parameter is a shard that hooks fetch and drop layer by layer, in step with the other workers. For
    passes that these know nothing of, the hooks are taken off and all parameters are gathered. Every worker must enter.
    """
    if engine is None or engine.zero_optimization_stage() < 3:
        yield
        return
    offload = engine.optimizer.parameter_offload
    for hook in (*offload.forward_hooks, *offload.backward_hooks):
        hook.remove()
    offload.forward_hooks, offload.backward_hooks = [], []
    try:
        with gathered(engine, model.parameters()):
            yield
    finally:
        offload._register_deepspeed_module(offload.module)


@contextmanager
def gathered_adapter(engine: Any, model: torch.nn.Module) -> Iterator[None]:
    """Inside, every worker holds all that is trained, and of the rest its shards; every worker must enter."""
    if engine is None or engine.zero_optimization_stage() < 3:
        yield
        return
    with gathered(engine, (parameter for parameter in model.parameters() if parameter.requires_grad)):
        yield


def gathered(engine: Any, parameters: Iterable[torch.Tensor]) -> Any:
    import deepspeed

    return deepspeed.zero.GatheredParameters(list(parameters))


@contextmanager
def decoding(engine: Any, peft_model: Any) -> Iterator[None]:
    """Inside, each worker may decode its own items; every worker must enter.

    Under ZeRO-3 it has one layer's weights at a time (`zero3.in_step`), so that no adapter can be merged into them.
    """
    if engine is None or engine.zero_optimization_stage() < 3:
        yield
        return
    from sde_ray.training import zero3

    with zero3.in_step(engine, peft_model):
        yield


def broadcast_trained(engine: Any) -> None:
    """Send the first worker's trained parameters to the others, not the frozen base: all have read the same files.

    In place of the engine's own broadcast, which sends every parameter (`DeepSpeedEngine._broadcast_model`).
    """
    from deepspeed import comm
    from deepspeed.utils import groups

    if engine.dist_backend is None:
        return
    for parameter in engine.module.parameters():
        if parameter.requires_grad and not hasattr(parameter, "ds_tensor"):
            data = parameter.data.view(torch.uint8)
            comm.broadcast(data, groups._get_broadcast_src_rank(), group=engine.seq_data_parallel_group)


@contextmanager
def base_sent_once(base: torch.nn.Module, alone: bool) -> Iterator[None]:
    """Inside, an engine on this base sends it to the other workers if none has before, else the adapter only.

    `alone`: the engine's group is one worker, whose sending tells the others nothing.
    """
    from deepspeed.runtime.engine import DeepSpeedEngine

    whole = DeepSpeedEngine._broadcast_model
    if base in _sent:
        DeepSpeedEngine._broadcast_model = broadcast_trained
    try:
        yield
    finally:
        DeepSpeedEngine._broadcast_model = whole
    if not alone:
        _sent.add(base)


_sent: WeakSet[torch.nn.Module] = WeakSet()  # bases that all workers have from the first one


def _merge(defaults: Mapping[str, Any], section: Mapping[str, Any]) -> dict[str, Any]:
    """The user's section over the defaults, recursively."""
    merged = dict(defaults)
    for key, value in section.items():
        default = merged.get(key)
        merged[key] = _merge(default, value) if isinstance(default, Mapping) and isinstance(value, Mapping) else value
    return merged
