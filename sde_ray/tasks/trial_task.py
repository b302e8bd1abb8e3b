"""The task of a trial, from the trial's configuration alone: any process can build it, wherever the run's folder is.

    trial_task("masa:d1")                                a task that has a name
    trial_task("hotels", {"name": "hotels", ...})        one written out in the sweep's YAML: the trial has the section
    trial_examples("hotels", "dev", {"name": ...})       its examples

`definition` is `TrialConfig.definition`. It may be handed in for the other tasks of the trial, too (those scored
out-of-domain): it counts for the task whose name it has. Tasks and examples are cached, as trials share them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sde_ray.tasks import get_task
from sde_ray.tasks.custom import task_from_yaml
from sde_ray.types import Example, Split, Task


def trial_task(name: str, definition: Mapping[str, Any] | None = None) -> Task:
    """The task called `name` in a trial that carries `definition`. Raises UserError as `get_task` does."""
    return _open(name, _section(name, definition))


def trial_examples(name: str, split: Split, definition: Mapping[str, Any] | None = None) -> list[Example]:
    """All examples of a split of that task, in their fixed order."""
    return _examples(name, split, _section(name, definition))


def _section(name: str, definition: Mapping[str, Any] | None) -> str:
    """The definition as a key of the caches; empty where it is of another task."""
    fits = definition and str(definition.get("name")) == name
    return json.dumps(definition, ensure_ascii=False) if fits else ""


@lru_cache(maxsize=32)
def _open(name: str, section: str) -> Task:
    return task_from_yaml(json.loads(section), Path()) if section else get_task(name)


@lru_cache(maxsize=64)
def _examples(name: str, split: Split, section: str) -> list[Example]:
    return _open(name, section).load(split)
