"""GPUs of a worker: what `resources.resources_per_worker.GPU: auto` comes to, and what a user should know of it.

    with_gpus(Resources())      GPU: 1 where each worker of a trial can have one, else 0
    gpu_notes(Resources())      ["This machine has 2 GPUs: a trial takes one, ..."]

A worker with GPU: 0 sees none (`training.worker.hide_gpus`): several of them would share the first one unasked.
"""

from __future__ import annotations

import sys

from sde_ray.config.schema import Resources

KEY = "resources.resources_per_worker.GPU"


PACKED_ON_GPU = 8  # trials a GPU where `resources.pack` is `auto`; passes that memory is too short for are split


def with_gpus(resources: Resources) -> Resources:
    """The resources with numbers for `auto`: by Ray, where this process is connected, else by this machine."""
    worker = resources.resources_per_worker
    if worker.GPU == "auto":
        gpus = 1.0 if _available(resources) >= resources.num_workers else 0.0
        worker = worker.model_copy(update={"GPU": gpus})
    pack = resources.pack
    if pack == "auto":
        pack = PACKED_ON_GPU if worker.gpus and resources.num_workers == 1 else 1
    return resources.model_copy(update={"resources_per_worker": worker, "pack": pack})


def _available(resources: Resources) -> float:
    """GPUs that the trials may have; none are known of a cluster that this process is not connected to."""
    ray = sys.modules.get("ray")
    if ray is not None and ray.is_initialized():
        return float(ray.cluster_resources().get("GPU", 0.0))
    return 0.0 if resources.address else float(local_gpus())


def local_gpus() -> int:
    """GPUs that this process sees."""
    import torch

    return int(torch.cuda.device_count())


def gpu_notes(resources: Resources) -> list[str]:
    """What a plan says of this machine's GPUs: who uses them, and what to set for another use."""
    count = 0 if resources.address else local_gpus()
    if not count:
        return []
    machine = f"This machine has {count} GPU{'s' * (count > 1)}"
    known = with_gpus(resources)
    gpus = known.resources_per_worker.gpus
    packed = f" and is shared by {known.pack} trials (resources.pack)" if known.pack != 1 else ""
    if not gpus:
        unused = f"{KEY}: 0" if resources.resources_per_worker.GPU != "auto" else f"{resources.num_workers} workers"
        return [f"{machine}, which trials of {unused} do not use: they see none. Set {KEY}: 1 to train on it."]
    return [f"{machine}; each worker of a trial takes {gpus:g}{packed}. {KEY}: 0 trains on the CPU."]
