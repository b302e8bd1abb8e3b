"""ZeRO-3: parameters that stay in shards while a model loads, while it decodes, and between trials.

    with sharded_loading(section): load_base(...)          each worker keeps its share of a parameter as it is read
    with in_step(engine, peft_model): generate(...)        layers are gathered one by one; workers may differ in steps
    forget_engine(peft_model)                              nothing of a destroyed engine stays on the resident base

DeepSpeed means an engine to be the only one of its process. What it leaves on the modules, and in tables of its own,
would keep each trial's adapter and optimizer alive, and call the first trial's hooks in all later ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

# What an engine of stage 3 sets on every module, its hooks and counts among it.
MODULE_STATE = ("pre_bwd_fn", "post_bwd_fn", "applied_pre_backward_ref_cnt", "ds_grads_remaining", "_external_params")


@contextmanager
def sharded_loading(section: Mapping[str, Any]) -> Iterator[None]:
    """Inside, `from_pretrained` gives each worker its shard of every parameter; all workers must load together.

    The first worker reads the weights, one module at a time, and sends the others theirs.

    Args:
        section: the trial's DeepSpeed configuration.
    """
    from transformers.integrations.deepspeed import HfDeepSpeedConfig, unset_hf_deepspeed_config

    held = HfDeepSpeedConfig(dict(section))  # transformers only has a weak reference to it
    try:
        yield
    finally:
        unset_hf_deepspeed_config()
        del held


def is_sharded(parameter: torch.Tensor) -> bool:
    """Whether this process holds a shard in place of the parameter."""
    return hasattr(parameter, "ds_tensor")


@contextmanager
def in_step(engine: Any, peft_model: Any) -> Iterator[None]:
    """Inside, each worker may call the base model as often as its own items need; its layers are gathered one by one.

    A forward pass is a sequence of collectives that all workers take part in. So before each one the workers tell each
    other that somebody goes on, and who has nothing more to do takes part with a token of no use until all are done.
    Every worker must enter. An exception leaves the others waiting: their group is lost (`WorkerGroup`).
    """
    model = peft_model.get_base_model()
    device = next(iter(model.buffers()), torch.empty(0)).device
    coordinator = engine.optimizer.parameter_offload.get_param_coordinator()
    if not coordinator.is_invalid_trace():
        coordinator._invalidate_trace()  # of a training step: its order, and what it would fetch ahead
    idle = False

    def somebody_goes_on(*_: Any) -> bool:
        going = torch.tensor([0 if idle else 1], device=device)
        distributed.all_reduce(going, op=distributed.ReduceOp.MAX)
        return bool(going.item())

    hook = model.register_forward_pre_hook(lambda *_: None if idle else (somebody_goes_on(), None)[1], prepend=True)
    try:
        yield
        idle = True
        token = torch.zeros(1, 1, dtype=torch.long, device=device)
        with torch.inference_mode():
            while somebody_goes_on():
                model(input_ids=token, use_cache=False)
    finally:
        hook.remove()
        _reset_counts(peft_model)


def _reset_counts(model: torch.nn.Module) -> None:
    """Forget the backward passes that DeepSpeed expects after the forward passes of decoding."""
    for module in model.modules():
        if "applied_pre_backward_ref_cnt" in vars(module):
            module.applied_pre_backward_ref_cnt = 0


def forget_engine(model: torch.nn.Module) -> None:
    """Take off a model what a destroyed engine of stage 3 has left; its parameters stay sharded."""
    from deepspeed.runtime.zero import parameter_offload
    from deepspeed.runtime.zero.partitioned_param_coordinator import PartitionedParameterCoordinator

    parameter_offload.FWD_MODULE_STACK.clear()  # each engine puts its model there, and none takes it off
    for module in model.modules():
        for name in MODULE_STATE:
            vars(module).pop(name, None)
        original = vars(module).pop("_original_parameters", None)
        if original is not None:  # the same parameters, in a dict that knows no engine
            module._parameters = dict(module._parameters)
    vars(model).pop("ds_inflight_param_registry", None)
    cached = PartitionedParameterCoordinator._PartitionedParameterCoordinator__params_to_release  # type: ignore[attr-defined]
    for cell in (cached, *(cell.cell_contents for cell in cached.__closure__ or ())):
        if hasattr(cell, "cache_clear"):
            cell.cache_clear()  # of a method: it holds its objects, and these the engine
