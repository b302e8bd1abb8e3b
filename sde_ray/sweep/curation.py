"""What the data and training axes of a sweep mean for its plan: settings, data read, faults, rungs, cost.

carried_out(trial)              the trial with the settings that its axes name, and the data that it reads
check_methods(trials)           UserError with every trial that its methods cannot carry out
check_reachable(trials)         UserError where an endpoint or the like, which they need, does not answer
located(config, design, ...)    the settings of the axes, with where the sweep's memory levels are
home_option(config, axis, ...)  the option that a design has which says nothing of the axis
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sde_ray.config.curation import Curation
from sde_ray.config.memory_file import digest_of_levels
from sde_ray.config.schema import SweepConfig
from sde_ray.config.section import Section
from sde_ray.config.trial import TrialConfig
from sde_ray.curation.pairs import undone
from sde_ray.design.axes import find_axis, find_option, spell
from sde_ray.design.designs import SIZE
from sde_ray.errors import FaultList, UserError
from sde_ray.safe_json import stream_hash
from sde_ray.tasks import fingerprint, resolve_task
from sde_ray.training.curation import methods_of
from sde_ray.types import Design


def carried_out(trial: TrialConfig) -> TrialConfig:
    """The trial with the options of its axes that are settings in these, and other tasks' data in its `data`."""
    changes: dict[str, Any] = {}
    for axis, option in trial.curated.items():
        section, _, name = find_axis(axis).setting.rpartition(".")
        value = getattr(find_option(axis, option), "value", None)
        if name and not section:
            changes[name] = value
        if section:
            settings: Section = changes.get(section, getattr(trial, section))
            changes[section] = _with_setting(type(settings), settings.model_dump_json(), name, value)
    if trial.tasks_read:
        changes["data"] = _with_data(trial.data, trial.tasks_read)
    return replace(trial, **changes) if changes else trial


@lru_cache(maxsize=256)
def _with_setting(kind: type[Section], settings: str, name: str, value: Any) -> Section:
    """The section with another value: one object for all its trials, since each computes its part of the key once."""
    return kind.model_validate_json(json.dumps({**json.loads(settings), name: value}))


@lru_cache(maxsize=64)
def _with_data(data: str, names: tuple[str, ...]) -> str:
    return stream_hash([" ".join([data, *(fingerprint(resolve_task(name)) for name in names)])])


def located(config: SweepConfig, design: Design, task_name: str, model: str) -> Curation:
    """The settings of the axes, with where the sweep's own memory levels are, if the design has facts of a level."""
    if dict(design.options).get("memory_level", "any") == "any" or config.curation.memory_level.levels:
        return config.curation
    run_dir = config.run_dir
    location = run_dir.uri(run_dir.memory(task_name, model).name)
    digest = digest_of_levels(location, config.curation.memory_level.rule)  # a file measured anew is another object
    return _with_levels(config.curation.model_dump_json(), location, digest)


@lru_cache(maxsize=64)
def _with_levels(curation: str, location: str, digest: str) -> Curation:
    """One object for all trials of a task and model, since each section computes its part of the key once."""
    settings = Curation.model_validate_json(curation)
    levels = settings.memory_level.model_copy(update={"levels": location})
    return settings.model_copy(update={"memory_level": levels})


def configured_value(config: SweepConfig, axis_name: str) -> str:
    """The option of an axis that is the value of a setting which the sweep's own settings have; "" for other axes."""
    section, _, name = find_axis(axis_name).setting.rpartition(".")
    if axis_name == SIZE:
        return spell(axis_name, config.train_sizes[0])
    if not name:
        return ""
    return spell(axis_name, getattr(getattr(config, section) if section else config, name))


def home_option(config: SweepConfig, axis_name: str, options: Sequence[str]) -> str:
    """Of these options that of a design which says nothing of the axis: the default, or as it is configured."""
    axis = find_axis(axis_name)
    homes = (axis.default, configured_value(config, axis_name))
    if not options:
        return homes[axis.resource]  # an amount is a number, also where it is the configured one
    return next((home for home in homes if home in options), options[0])


def check_methods(trials: Iterable[TrialConfig]) -> None:
    """Raises UserError: with all that the methods of these trials cannot carry out, each once."""
    faults, seen = FaultList("Data and training axes"), set()
    for trial in trials:
        signature = (tuple(trial.curated.items()), trial.task, trial.model, trial.train_size)
        if signature in seen or not trial.curated:
            continue
        seen.add(signature)
        own = (fault for method in methods_of(trial) for fault in method.faults())
        for fault in dict.fromkeys([*undone(trial.curated), *own]):
            if fault not in faults.faults:  # what is wrong with all options of an axis is said once
                faults.add(fault)
    faults.raise_if_any()


def check_reachable(trials: Iterable[TrialConfig]) -> None:
    """Raises UserError: where what the methods of these trials need cannot be reached, each asked once."""
    asked: set[Any] = set()
    for trial in {tuple(trial.curated.items()): trial for trial in trials if trial.curated}.values():
        for method in methods_of(trial):
            needed = (method.axis, method.settings.model_dump_json() if method.settings else "")
            if needed not in asked:
                asked.add(needed)
                try:
                    method.check_reachable()
                except UserError as error:
                    raise UserError(f"{method.axis}={trial.design[method.axis]}: {error}") from None


def cost(trial: TrialConfig) -> float:
    """The time of a trial in plain ones, by what its options and its methods say."""
    options = (getattr(find_option(axis, option), "cost", 1.0) for axis, option in trial.curated.items())
    return math.prod([*options, *(method.cost() for method in methods_of(trial))])


_ROBUSTNESS = (
    "a test of robustness, never a reason for a design: each is trained at all of them, in the final comparison, too"
)


def describe(axes: Iterable[str], trials: Sequence[TrialConfig]) -> tuple[str, ...]:
    """What a person should know of the data and training axes that are tried, a line each."""
    lines = []
    for name in axes:
        axis = find_axis(name)
        if not axis.curates:
            continue
        options = axis.ordered(dict.fromkeys(trial.design[name] for trial in trials))
        words = [f"{name}, {axis.stage}: {', '.join(options)}"]
        alone = {trial.design[name]: _with_axis_alone(trial, name) for trial in reversed(trials)}
        costs = {option: cost(alone[option]) for option in options}
        words += [f"{option} takes {times:g} times as long" for option, times in costs.items() if times != 1]
        words += [_ROBUSTNESS] * axis.nuisance
        sizes = [trial.train_size for trial in trials]
        words += [f"the largest trains on {max(sizes) / min(sizes):.3g} times the samples"] * (name == SIZE)
        words += ["scored at the end of the training only"] * axis.one_rung
        lines.append("; ".join(words))
    return (*lines, *_notes(trials))


def _notes(trials: Iterable[TrialConfig]) -> Iterator[str]:
    """What the methods of these trials say of them, each once."""
    seen: set[Any] = set()
    for trial in trials:
        signature = (trial.design, trial.task, trial.train_size)
        if trial.curated and signature not in seen:
            seen.add(signature)
            notes = dict.fromkeys(note for method in methods_of(trial) for note in method.notes())
            yield from (note for note in notes if note not in seen)
            seen.update(notes)


def _with_axis_alone(trial: TrialConfig, axis: str) -> TrialConfig:
    """The trial without its other data and training axes."""
    options = {name: option for name, option in trial.design.options if name == axis or name not in trial.curated}
    return replace(trial, design=Design(tuple(options.items())))
