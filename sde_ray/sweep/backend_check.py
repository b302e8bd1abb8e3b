"""Whether `generation.backend` can decode here, told before anything is trained.

On a cluster that this process has only the address of, nothing is known here: there a worker says it.
"""

from __future__ import annotations

from importlib.util import find_spec

from sde_ray.config.schema import SweepConfig
from sde_ray.errors import UserError
from sde_ray.sweep.cluster.gpus import with_gpus


def check_backend(config: SweepConfig) -> None:
    """Raises UserError where vLLM is asked for, and is not installed or has no GPU."""
    if config.generation.backend == "builtin" or config.resources.address:
        return
    missing = []
    if find_spec("vllm") is None:
        missing.append('vLLM, which is not installed: pip install "sde_ray[vllm]"')
    if not with_gpus(config.resources).resources_per_worker.gpus:
        missing.append("a GPU for each trial, and this machine has none")
    if missing:
        raise UserError(f"generation.backend: vllm needs {', and '.join(missing)}. Or use backend: builtin.")
