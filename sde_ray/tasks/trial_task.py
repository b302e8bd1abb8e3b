"""The task of a trial, from the trial's configuration alone: any process can build it, wherever the run's folder is.

    trial_task("masa:d1")                                a task that has a name
    trial_task("hotels", {"name": "hotels", ...})        one written out in the sweep's YAML: the trial has the section
    trial_examples("hotels", "dev", {"name": ...})       its examples

`definition` is `TrialConfig.definition`. It may be handed in for the other tasks of the trial, too (those scored
out-of-domain): it counts for the task whose name it has. Tasks and examples are cached, as trials share them.

A definition names the files or the hub's data set that are read, and the ledger that it comes from may be somebody
else's. So it counts only where `trust_definition` has seen it: in the user's own YAML, or in a trial that the driver
sent. Where the YAML defines a task of that name in another way (its data were moved), that is the one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sde_ray.errors import UserError
from sde_ray.plugins import trust
from sde_ray.tasks import references, resolve_task
from sde_ray.tasks.custom import code_in, task_from_yaml
from sde_ray.types import Example, Split, Task

_definitions: dict[str, dict[str, str]] = {}  # by a task's name: its trusted sections as JSON, the latest at the end


def trial_task(name: str, definition: Mapping[str, Any] | None = None) -> Task:
    """The task called `name` in a trial that carries `definition`. Raises UserError as `resolve_task` does."""
    return _open(name, _section(name, definition))


def trial_examples(name: str, split: Split, definition: Mapping[str, Any] | None = None) -> list[Example]:
    """All examples of a split of that task, in their fixed order."""
    return _examples(name, split, _section(name, definition))


def trust_definition(definition: Mapping[str, Any]) -> None:
    """Read what this section of a task names, from here on: its data, its metrics, its sibling tasks."""
    sections = _definitions.setdefault(str(definition.get("name")), {})
    sections.pop(_sorted(definition), None)
    sections[_sorted(definition)] = json.dumps(definition, ensure_ascii=False)
    domains = definition.get("domains", [])
    names = [str(name) for name in (domains if isinstance(domains, list | tuple) else [domains])]
    trust(*code_in(definition), *(reference for name in names for reference in references(name)))


def is_trusted_definition(definition: Mapping[str, Any]) -> bool:
    """Whether the user has given this very section of a task."""
    return _sorted(definition) in _definitions.get(str(definition.get("name")), {})


def trust_trial(name: str, others: tuple[str, ...], definition: Mapping[str, Any]) -> None:
    """Open the tasks of a trial that the driver sent, in a worker; the driver has taken them from the user's YAML."""
    trust(*(reference for task in (name, *others) for reference in references(task)))
    if definition:
        trust_definition(definition)


def _section(name: str, definition: Mapping[str, Any] | None) -> str:
    """The definition as a key of the caches; empty where it is of another task."""
    if not definition or str(definition.get("name")) != name:
        return ""
    sections = _definitions.get(name)
    if not sections:
        raise UserError(
            f'The task "{name}" is defined in the results only, and results lead to no data that you have not named '
            "yourself. If they are yours, give the sweep's own YAML file in place of its folder."
        )
    latest = next(reversed(sections.values()))
    return sections.get(_sorted(definition), latest)


def _sorted(definition: Mapping[str, Any]) -> str:
    return json.dumps(json.loads(json.dumps(definition)), sort_keys=True)


@lru_cache(maxsize=32)
def _open(name: str, section: str) -> Task:
    return task_from_yaml(json.loads(section), Path()) if section else resolve_task(name)


@lru_cache(maxsize=64)
def _examples(name: str, split: Split, section: str) -> list[Example]:
    return _open(name, section).load(split)
