"""Settings line of a benchmark: what its numbers hold for."""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from typing import Any

LIBRARIES = ("torch", "transformers", "peft", "deepspeed", "ray")


def settings(**more: Any) -> dict[str, Any]:
    """Device, cores, versions and date, with the settings of the measurement itself."""
    return {
        **more,
        "device": device_name(),
        "cores": num_cores(),
        "versions": {name: library_version(name) for name in ("sde_ray", *LIBRARIES)},
        "python": platform.python_version(),
        "date": date.today().isoformat(),
    }


def library_version(name: str) -> str:
    """The version of a library; "not installed" where it is not, which only some rows need."""
    if name == "sde_ray":
        from sde_ray import __version__

        return __version__
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def device_name() -> str:
    """The GPU's name if there is one, else the processor's."""
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    return _processor()


def num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_quiet() -> None:
    """Keep progress bars, and DeepSpeed's word on the accelerator, out of what a benchmark prints."""
    import torch
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    if not torch.cuda.is_available():
        os.environ.setdefault("DS_ACCELERATOR", "cpu")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
