"""What is wrong with a sweep's values, in sentences: pydantic's findings, and those that need the tables.

The tables are axes, options, named designs, tasks, metrics and search methods. Ill-shaped values are left to pydantic,
so that both kinds of faults of one file can be shown together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from sde_ray.config import renamed
from sde_ray.config.alias_file import read_aliases
from sde_ray.config.installed import missing_in_peft
from sde_ray.config.schema import SweepConfig
from sde_ray.design import designs
from sde_ray.design.axes import AXES, find_axis, find_option, option_name
from sde_ray.errors import UserError, suggest, unknown
from sde_ray.metrics import check_metric
from sde_ray.search import METHODS
from sde_ray.tasks import resolve_task
from sde_ray.tasks.checks import check_task
from sde_ray.tasks.custom import task_from_yaml
from sde_ray.types import Task

Attempt = Callable[[str, Callable[[], Any]], Any]


def format_validation_error(error: Any) -> str:
    """One of pydantic's errors as a sentence: the key, what was given, what was expected."""
    parts = [str(part) for part in error["loc"]]
    where = ".".join(parts)
    if error["type"] == "extra_forbidden":
        instead = renamed.hint(parts) or _mark_hint(parts[-1], error["input"]) or _axis_hint(parts)
        if instead:
            return f'Unknown key "{where}": {instead}'
        names = _fields_at(error["loc"][:-1])
        return f'Unknown key "{where}".{suggest(parts[-1], names)} Known here: {", ".join(sorted(names))}.'
    if error["type"] == "missing":
        return f'"{where}" is missing. Add a line such as "{where}: masa:d1".'
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{where}: {message}" if where else message
    value = json.dumps(error["input"], default=str, ensure_ascii=False)
    return f"{where}: {value[:80]} is not allowed. {message}."


def _mark_hint(key: str, value: Any) -> str:
    """What to write for `{CPU:1}`, which YAML reads as one key without a value."""
    name, mark, rest = key.partition(":")
    if value is not None or not mark or not name.isidentifier():
        return ""
    return f'YAML wants a blank after the colon: "{name}: {rest.strip() or "VALUE"}".'


def _axis_hint(parts: Sequence[str]) -> str:
    """What to write for an axis that stands at the top of the file."""
    if len(parts) > 1 or parts[0] not in AXES:
        return ""
    return f'it is an axis of the design. To pin it or to choose among its options write "axes: {{{parts[0]}: [...]}}".'


def _fields_at(location: Iterable[Any]) -> list[str]:
    """The keys of the section at this place; none where it is no section."""
    model: type[BaseModel] = SweepConfig
    for part in location:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        inner = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, BaseModel)]
        if not inner:
            return []
        model = inner[0]
    return list(model.model_fields)


def check_references(values: Mapping[str, Any], base: Path) -> list[str]:
    """What the values name that does not exist: axes, options, designs, tasks, metrics, methods, settings of peft.

    Args:
        values: the values of the YAML; those of the wrong shape are skipped.
        base: the folder that data files of a written-out task are relative to.

    Returns:
        The faults, in sentences.
    """
    faults: list[str] = []

    def attempt(where: str, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except UserError as error:
            text = str(error)
            if f"{where}: {text}" not in faults:
                faults.append(f"{where}: {text}")
            return None

    _check_axes(values, faults, attempt)
    for where, design in _named_designs(values):
        attempt(where, partial(designs.parse_design, design))
    tasks = [attempt("task", partial(_open, task, base)) for task in _list(values.get("task")) if task]
    for name in _list(values.get("out_of_domain")):
        if isinstance(name, str) and name != "auto":
            attempt("out_of_domain", partial(resolve_task, name))
    _check_names(_list(values.get("task")), _list(values.get("out_of_domain")), faults)
    _check_search(values, faults)
    faults += missing_in_peft(_dict(values.get("lora")))
    aliases = _dict(_dict(values.get("curation")).get("memory_level")).get("aliases")
    if isinstance(aliases, str):
        attempt("curation.memory_level.aliases", partial(read_aliases, aliases))
    metric = _dict(values.get("objective")).get("metric")
    for task in tasks:
        if isinstance(task, Task) and isinstance(metric, str) and metric:
            attempt("objective.metric", partial(check_metric, task, metric))
    return faults


def _open(task: Any, base: Path) -> Task | None:
    if isinstance(task, str):
        return resolve_task(task)
    return check_task(task_from_yaml(task, base)) if isinstance(task, dict) else None


def _check_names(tasks: list[Any], others: list[Any], faults: list[str]) -> None:
    """A trial names its tasks, so a written-out task needs a name that no other one of the sweep has."""
    written_out = [str(task.get("name", "")) for task in tasks if isinstance(task, dict)]
    names = written_out + [name for name in (*tasks, *others) if isinstance(name, str)]
    for name in dict.fromkeys(written_out):
        if names.count(name) > 1:
            faults.append(f'task: two tasks are called "{name}". Give each a name of its own.')


def _check_axes(values: Mapping[str, Any], faults: list[str], attempt: Attempt) -> None:
    axes = _dict(values.get("axes"))
    for axis, options in ((axis, _list(options)) for axis, options in axes.items()):
        if isinstance(axes[axis], dict) or attempt("axes", partial(find_axis, axis)) is None:
            continue
        if not options:
            faults.append(f"axes.{axis} lists no option. Name at least one, or leave the axis out to try all.")
        row = find_axis(axis)
        if row.setting and len(options) == 1:
            key = f"{row.setting}s" if row.resource else row.setting
            faults.append(f"axes.{axis} has one value, so nothing is compared. Set {key} instead.")
        if row.resource and row.default in map(option_name, options):
            faults.append(f"axes.{axis}: {row.default} is what {row.setting}s says. Write that number, or all.")
        for option in options:
            attempt("axes", partial(find_option, axis, option_name(option)))
        if row.one_rung and len(options) > 1 and _has_rungs(values):
            faults.append(
                f"axes.{axis}: its trials are scored at the end of their training only. Leave out search.rungs and "
                "search.asha, or this axis."
            )
    if values.get("designs") and axes:
        faults.append("`designs` lists the designs to try, so `axes` does nothing. Keep one or the other.")


def _has_rungs(values: Mapping[str, Any]) -> bool:
    search = _dict(values.get("search"))
    rungs = search.get("rungs", "auto")
    return search.get("asha") is not None or (rungs != "auto" and len(_list(rungs)) > 1)


def _named_designs(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Every design that the values name, with the key that names it."""
    search, validation = _dict(values.get("search")), _dict(values.get("validation"))
    named = [("designs", design) for design in _list(values.get("designs"))]
    named += [("search.reference_design", search["reference_design"])] if "reference_design" in search else []
    named += [("search.points_to_evaluate", design) for design in _list(search.get("points_to_evaluate"))]
    named += [("validation.controls", design) for design in _list(validation.get("controls"))]
    return [(where, design) for where, design in named if isinstance(design, str | dict)]


def _check_search(values: Mapping[str, Any], faults: list[str]) -> None:
    search = _dict(values.get("search"))
    method = search.get("method", "adaptive")
    if isinstance(method, str) and method not in METHODS:
        faults.append(f"search.method: {unknown('search method', method, METHODS)}")
    if method == "grid" and search.get("n_trials") is not None:
        faults.append("search.n_trials: grid tries every design. Set search.method: random to try some of them.")
    if method == "adaptive" and search.get("asha") is not None:
        faults.append("search.asha: adaptive decides itself which trials go on. Set search.rungs: [0.25, 0.5, 1.0].")
    elif search.get("asha") is not None and "rungs" in search:
        faults.append("search.rungs and search.asha both set rungs. Keep those of asha: {rungs: [...]}.")
    if method != "factorial" and search.get("interactions"):
        faults.append(f"search.interactions is for search.method: factorial, not for {method}. Leave it out.")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
