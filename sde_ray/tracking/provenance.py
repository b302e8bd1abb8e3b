"""Provenance of a run, as MLflow's own columns and tags want it: who ran what, from which commit, with which libraries.

    provenance_tags()            {"mlflow.source.name": "sde-ray run", "mlflow.source.git.commit": "5b14cb9...", ...}
    dataset_input(config)        the task's examples, by name and content hash

The hardware is that of the driver's machine; a trial's run has the device and the versions of its own worker.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = ("sde_ray", "torch", "transformers", "peft", "deepspeed", "ray", "datasets", "mlflow")
COMMAND = "sde-ray"


@lru_cache(maxsize=1)
def provenance_tags() -> dict[str, str]:
    """The tags that every run of this process gets."""
    from mlflow.tracking.context.registry import resolve_tags

    return {
        **{name: str(value) for name, value in resolve_tags({}).items()},
        **_git_tags(Path.cwd()),
        **_source_tags(),
        "sde.versions": ", ".join(f"{name} {number}" for name, number in _versions().items()),
        "sde.hardware": _hardware(),
    }


def trial_tags() -> dict[str, str]:
    """Those of them that a trial's run has, too: what MLflow shows in its columns of source and version."""
    return {name: value for name, value in provenance_tags().items() if name.startswith("mlflow.")}


def environment_tags(environment: Mapping[str, str]) -> dict[str, str]:
    """What a trial ran on (`TrialResult.environment`): sde.device, sde.dtype, sde.commit of the model, sde.versions."""
    own = {name: value for name, value in environment.items() if name not in LIBRARIES}
    versions = ", ".join(f"{name} {number}" for name, number in environment.items() if name in LIBRARIES)
    tags = {**own, **({"versions": versions} if versions else {})}
    return {f"sde.{name}": value for name, value in tags.items()}


def dataset_input(config: Mapping[str, Any]) -> Any:
    """The data set of a trial as an input of its run: the task, and the content hash of its examples as the digest."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    task = str(config["task"])
    name = Path(task).stem if task.endswith((".yaml", ".yml")) else task
    source = json.dumps({"task": task}, ensure_ascii=False)
    digest = str(config.get("data") or "unknown")[:36]
    return DatasetInput(Dataset(name[:500], digest, "sde_ray", source), [InputTag("mlflow.data.context", "training")])


def _source_tags() -> dict[str, str]:
    """The command, without its arguments, which may hold what nobody else should read."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]] if sys.argv[:1] else []
    if not words or words[0] not in (COMMAND, "__main__.py"):
        return {}
    return {"mlflow.source.name": " ".join([COMMAND, *(word for word in words[1:] if word.isidentifier())])}


def _git_tags(folder: Path) -> dict[str, str]:
    """Commit and branch of the folder that the command was given in; nothing where that is no repository."""
    git = shutil.which("git")
    found = {"mlflow.source.git.commit": "HEAD", "mlflow.source.git.branch": "--abbrev-ref HEAD"} if git else {}
    said = {tag: _output([str(git), "-C", str(folder), "rev-parse", *what.split()]) for tag, what in found.items()}
    return {tag: text for tag, text in said.items() if text}


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from its folder
            continue
    return {"python": platform.python_version(), **found}


def _hardware() -> str:
    parts = [f"{platform.system()} {platform.machine()}", f"{os.cpu_count()} CPUs"]
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        parts.append(f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB")
    if nvidia := shutil.which("nvidia-smi"):
        names = _output([nvidia, "--query-gpu=name", "--format=csv,noheader"]).splitlines()
        parts += [f"{count} × {name.strip()}" for name, count in Counter(names).items()]
    return ", ".join(parts)


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
