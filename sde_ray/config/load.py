"""From a YAML file to a checked `SweepConfig`, and back to complete JSON.

    config = load_config("sweeps/quickstart.yaml", sets=("train.learning_rate=1e-3", "seeds=[0,1]"))
    tasks = open_tasks(config)                 # {"masa:d1": Task(...)}, by the names that trials carry

Precedence, low to high: the defaults of `schema.py` and `trial.py` < the YAML file < `--set`. All faults of a file are
shown at once, with the nearest name that exists. A resolved configuration holds every field; passwords are masked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from sde_ray.config.checks import check_references, format_validation_error
from sde_ray.config.names import (
    drop_environment,
    drop_notify,
    is_own_sweep,
    refuse_untrusted,
    remember_own_sweep,
    trust_named,
)
from sde_ray.config.schema import SweepConfig
from sde_ray.config.shipped import find_sweep
from sde_ray.errors import FaultList, UserError
from sde_ray.safe_text import MASK, SECRET, VARIABLE, is_masked, is_secret, mask, mask_webhook, redact, remember_secrets
from sde_ray.safe_yaml import assign, read_yaml
from sde_ray.storage.files import write_atomic
from sde_ray.tasks import TASKS, resolve_task
from sde_ray.tasks.custom import task_from_yaml
from sde_ray.tasks.yaml_records import inline_schema
from sde_ray.types import Task

DATA_PATHS = ("path", "train", "dev", "test")


def load_config(path: str | Path, sets: Sequence[str] = (), trusted: bool = True) -> SweepConfig:
    """Load a sweep's configuration: read its YAML file, apply overrides, check.

    Args:
        path: the YAML file, or the name of a shipped sweep; its name is the sweep's, unless the file says another.
        sets: overrides as on the command line, such as "train.learning_rate=1e-3", applied in order.
        trusted: the file is the user's own. False for that in a folder of results: what only it names, beyond the
            package's own, is neither imported nor read, and its cluster and environment variables are left out.

    Returns:
        The frozen configuration, with every default filled in.

    Raises:
        UserError: with all faults of the file at once, each with the nearest known name.
    """
    path = find_sweep(Path(path))
    values = {"name": path.stem, **read_yaml(path)}
    trusted = trusted or is_own_sweep(path)
    if not trusted:
        drop_environment(values)
    drop_notify(values, path)
    overrides: dict[str, Any] = {}
    for override in sets:
        assign(values, override)
        assign(overrides, override)
    trust_named(_absolute(overrides, path.parent))
    return check(values, title=str(path), base=path.parent, trusted=trusted)


def check(
    values: Mapping[str, Any], title: str = "Sweep", base: Path | None = None, trusted: bool = True
) -> SweepConfig:
    """Make the configuration that plain values describe.

    Args:
        values: what the YAML holds.
        title: what messages call the source of the values.
        base: the folder that data files of a written-out task are relative to; the working folder if None.
        trusted: the values are the user's own: the code and the data that they name may be imported and read.

    Raises:
        UserError: with all faults at once.
    """
    base = base or Path()
    values = _absolute(values, base)
    trust_named(values) if trusted else refuse_untrusted(values, title)
    faults = FaultList(title)
    config: SweepConfig | None = None
    try:
        config = SweepConfig.model_validate(values)
    except ValidationError as error:
        for details in error.errors():
            faults.add(format_validation_error(details))
    for fault in check_references(values, base):
        faults.add(fault)
    faults.raise_if_any()
    assert config is not None
    remember_secrets(config.resources.env_vars)
    return config


def _absolute(values: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """Make the data paths of written-out tasks, and that of the general set, absolute: a worker may run elsewhere.

    JSON schemas are written out. Names on the hub stay.
    """
    task, general = values.get("task"), values.get("general")
    if isinstance(general, dict) and isinstance(general.get("path"), str):
        values = {**values, "general": {**general, "path": str((base / general["path"]).resolve())}}
    if task is None:
        return dict(values)
    tasks = [_absolute_task(entry, base) for entry in task] if isinstance(task, list) else _absolute_task(task, base)
    return {**values, "task": tasks}


def _absolute_task(task: Any, base: Path) -> Any:
    if not isinstance(task, dict):
        return task
    task = inline_schema(task, base)
    if not isinstance(task.get("data"), dict):
        return task
    paths = {
        key: str((base / value).resolve())
        for key, value in task["data"].items()
        if key in DATA_PATHS and isinstance(value, str) and os.path.exists(base / value)
    }
    return {**task, "data": {**task["data"], **paths}}


def open_tasks(config: SweepConfig) -> dict[str, Task]:
    """The sweep's tasks by the names that its trials carry; one that is written out in the sweep by its own name."""
    tasks: dict[str, Task] = {}
    for entry in config.task:
        if isinstance(entry, str):
            task = resolve_task(entry)
            name = task.name if task.name.partition("@")[0] in TASKS else entry
        else:
            task = task_from_yaml(entry, Path())
            name = task.name
        tasks[name] = replace(task, name=name)
    return tasks


def definition_of(config: SweepConfig, name: str) -> dict[str, Any]:
    """The section of a task that is written out in the sweep, which its trials carry; empty for any other task."""
    sections = {str(task["name"]): task for task in config.task if not isinstance(task, str)}
    return sections.get(name, {})


def resolved(config: SweepConfig) -> dict[str, Any]:
    """The configuration as complete plain JSON, with secrets masked.

    Of `resources.env_vars` only the values of settings known to hold no secret are shown (NCCL_*, OMP_*, HF_HOME).
    """
    plain: dict[str, Any] = config.model_dump(mode="json")
    masked = {key: _masked(value, key) for key, value in plain.items()}
    env_vars = {name: MASK if is_secret(name) else mask(value) for name, value in config.resources.env_vars.items()}
    masked["resources"]["env_vars"] = env_vars
    notify = masked["notify"]
    notify["command"] = [redact(word) for word in notify["command"]]
    notify["webhook"] = config.notify.webhook and mask_webhook(config.notify.webhook)
    return masked


def webhook_variables(config: SweepConfig) -> list[str]:
    """The environment variables that `notify.webhook` names, which its driver must have."""
    return list(dict.fromkeys(VARIABLE.findall(config.notify.webhook or "")))


def refuse_masked(settings: BaseModel | Mapping[str, Any]) -> None:
    """Refuse settings in which `***` stands for a secret: a copy of what a run has written cannot run.

    Raises UserError: with every such setting.
    """
    faults = FaultList("Secrets are left out of what a run writes")
    plain = settings.model_dump() if isinstance(settings, BaseModel) else settings
    for name, text in _texts(plain, ""):
        if is_masked(text):
            variable = name.rpartition(".")[2]
            faults.add(
                f'{name} is "{text}". Write the secret itself in its place, or take the line out and set it in the '
                f"shell (export {variable}=...; with sde-ray submit also --env {variable})."
                if ".env_vars." in f".{name}"
                else f'{name} is "{text}". Write the secret itself in its place, or take the line out.'
            )
    faults.raise_if_any()


def _texts(value: Any, name: str) -> Iterator[tuple[str, str]]:
    """Every text in plain values, with its dotted name."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _texts(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, name)


def _masked(value: Any, name: str) -> Any:
    """Mask secrets: a text under a name such as HF_TOKEN becomes ***, and so does the password in any address."""
    if isinstance(value, dict):
        return {key: _masked(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner, name) for inner in value]
    if isinstance(value, str):
        return "***" if value and SECRET.search(name) else mask(value)
    return value


def write_sweep(config: SweepConfig) -> None:
    """Write what will run into the sweep's folder: sweep.yaml (sparse) and resolved.json (complete).

    `notify` is in the second only: whoever runs the first again tells nobody by it.
    """
    run_dir = config.run_dir
    try:
        run_dir.path.mkdir(parents=True, exist_ok=True)
        plain = resolved(config)
        write_atomic(run_dir.resolved, json.dumps(plain, ensure_ascii=False, indent=1) + "\n")
        sparse = _sparse(plain, resolved(SweepConfig(name=config.name, task=("",))))
        sparse.pop("notify", None)
        text = yaml.safe_dump(sparse, allow_unicode=True, sort_keys=False)
        write_atomic(run_dir.sweep, text)
        remember_own_sweep(text)
    except OSError as error:
        raise UserError(
            f'Cannot write to "{run_dir.path}": {error.strerror}. Set storage_path to a folder with room.'
        ) from None


def _sparse(plain: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not defaults, as a person would write them."""
    sparse: dict[str, Any] = {}
    for key, value in plain.items():
        default = defaults.get(key)
        if isinstance(value, dict) and isinstance(default, dict) and default:
            value = _sparse(value, default)
            if not value:
                continue
        elif value == default and key != "name":
            continue
        sparse[key] = value
    return sparse
