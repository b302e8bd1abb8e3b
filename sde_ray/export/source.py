"""What is exported: the trial that a strategy stands for, and its samples, split by split.

    source = open_source("runs/quickstart", train_size=300)
    source.trial, source.samples["train"], source.samples["dev"]

The samples are those that the trial itself would train on and be scored on, in the order of its draw: the same task,
design, wording, training size and seed. Nothing is loaded for it: no model, no tokenizer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from sde_ray import data
from sde_ray.analysis import strategy as strategies
from sde_ray.analysis import verdict as verdicts
from sde_ray.analysis.strategy import KIND, Strategy
from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.config.load import open_tasks
from sde_ray.config.open import open_sweep
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import TrialConfig
from sde_ray.design import render
from sde_ray.design.asking import ask_in, samples_of
from sde_ray.design.designs import essential, parse_design, without_amounts
from sde_ray.design.groups import groups_of, whole
from sde_ray.errors import UserError, unknown
from sde_ray.evaluation.completion_lines import PART
from sde_ray.plugins import code_of, trust
from sde_ray.safe_yaml import read_yaml
from sde_ray.storage.layout import STRATEGY
from sde_ray.sweep.curation import check_methods
from sde_ray.sweep.plan import fingerprint_all, make_trial
from sde_ray.sweep.train_size import ALL, sized
from sde_ray.training.curation import Method, methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.types import Design, Example, Sample, Segment, Split, Task

SPLITS: tuple[Split, ...] = get_args(Split)
IN_TRAINING = ("steps", "before_step", "loss", "trainer")  # what of a curation method no file can carry


@dataclass(frozen=True)
class ExportSource:
    """A trial and its samples by split. `examples`: what they were written from; `origin`: whose design it is."""

    trial: TrialConfig
    task: Task
    samples: Mapping[Split, Sequence[Sample]]
    examples: Mapping[Split, Sequence[Example]]
    origin: str

    @property
    def design(self) -> Design:
        return self.trial.design

    @property
    def masked(self) -> bool:
        """Whether the loss leaves the prompt out, as with `input_modeling=off`."""
        return not any(segment.loss for sample in self.samples["train"] for segment in sample.prompt)


def prompt_text(sample: Sample) -> str:
    """The whole prompt of a sample."""
    return "".join(segment.text for segment in sample.prompt)


def open_source(
    location: str,
    task: str = "",
    model: str = "",
    design: str = "",
    train_size: int | str | None = None,
    seed: int | None = None,
    splits: Sequence[str] = ("train", "dev"),
) -> ExportSource:
    """The trial of a sweep's strategy, or of another design, and its samples.

    Args:
        location: a sweep (YAML file, shipped name, folder or address of its run), or a strategy.yaml in its folder.
        task, model: of which strategy, where the sweep has several.
        design: a name or slug, in place of the strategy's.
        train_size: samples to train on, or "all"; None: as many as the strategy's own trial has.
        seed: of the draw; None: that of the recommended adapter, the first of the final comparison.
        splits: which are written; "test" only where it is named here.

    Raises:
        UserError: when there is no strategy, several fit, or the design has an option that no file can carry.
    """
    named = dict.fromkeys(("train", *map(_split, splits)))
    config, strategy = find_strategy(location, task, model, design)
    opened, model_name = _contest(config, strategy, location, task, model)
    chosen, origin = _design(config, strategy, design)
    trial = _trial(config, opened, model_name, chosen, train_size, seed)
    examples: dict[Split, list[Example]] = {split: _examples(config, opened, split, trial) for split in named}
    samples = {
        split: _training_samples(trial, opened, each)
        if split == "train"
        else _evaluated(trial, opened, each, examples["train"])
        for split, each in examples.items()
    }
    _refuse_weights(trial, samples["train"])
    return ExportSource(trial, opened, samples, examples, origin)


def find_strategy(
    location: str, task: str = "", model: str = "", design: str = ""
) -> tuple[SweepConfig, Strategy | None]:
    """The sweep's configuration and its strategy; with a `design` named none is needed."""
    path = Path(location)
    if path.suffix in (".yaml", ".yml") and path.is_file() and read_yaml(path).get("kind") == KIND:
        config, strategy = open_sweep(path.absolute().parent), strategies.load(path, task)
        if model and strategy.model != model:
            raise UserError(f"{location} is a strategy for the model {strategy.model}, not for {model}.")
        return config, strategy
    config = open_sweep(location)
    if design:  # then no strategy is needed
        return config, None
    paths = {
        (name, base): config.run_dir.strategy(name, base)
        for name in open_tasks(config)
        for base in config.model
        if task in ("", name) and model in ("", base)
    }
    existing = {contest: path for contest, path in paths.items() if path.is_file()}
    if len(existing) > 1:
        names = "; ".join(f"--task {name} --model {base}" for name, base in existing)
        raise UserError(f"{location} has {len(existing)} strategies. Name one: {names}.")
    if not existing:
        raise UserError(
            f"{location} has no {STRATEGY}.yaml yet{f' for {task or model}' if task or model else ''}. Let the sweep "
            "end, or run `sde-ray assemble` on it, or name a design: --design baseline."
        )
    return config, strategies.load(next(iter(existing.values())))


def _split(name: str) -> Split:
    split: Split | None = next((one for one in SPLITS if one == name), None)
    if split is None:
        raise UserError(unknown("split", name, SPLITS))
    return split


def find_design(location: str, task: str = "", model: str = "", design: str = "") -> tuple[Task, Design]:
    """The task and the design of a sweep's strategy, or its task and another design. Raises as `open_source`."""
    config, strategy = find_strategy(location, task, model, design)
    model = model or (config.model[0] if strategy is None else "")  # a task's answers depend on no model
    return _contest(config, strategy, location, task, model)[0], _design(config, strategy, design)[0]


def _design(config: SweepConfig, strategy: Strategy | None, design: str) -> tuple[Design, str]:
    """The design, and whose it is: where the final comparison recommends a control, that one's."""
    if strategy is None or design:
        trust(*code_of(design))
        return parse_design(design), f"the design {design}"
    judged = config.run_dir.validation(strategy.task, strategy.model)
    verdict = verdicts.load(judged) if judged.is_file() else None
    if verdict is not None and verdict.recommended != ASSEMBLED:
        row = next((row for row in verdict.rows if row.control == verdict.recommended), None)
        if row is not None:
            return essential(row.design), f"{row.control}, which the final comparison of {config.name} recommends"
    return essential(strategy.design), f"the strategy of {config.name}"


def _contest(config: SweepConfig, strategy: Strategy | None, location: str, task: str, model: str) -> tuple[Task, str]:
    """The one task and model of a sweep that are meant."""
    if strategy:
        task, model = strategy.task, strategy.model
        if task not in open_tasks(config):
            raise UserError(f"{location} has no task {task}. It has: {', '.join(open_tasks(config))}.")
        return open_tasks(config)[task], model
    tasks = [opened for name, opened in open_tasks(config).items() if task in ("", name)]
    models = [name for name in config.model if model in ("", name)]
    if len(tasks) != 1 or len(models) != 1:
        raise UserError(
            f"Which of the sweep's tasks ({', '.join(open_tasks(config))}) and models ({', '.join(config.model)})? "
            "Name one of each: --task, --model."
        )
    return tasks[0], models[0]


def _trial(
    config: SweepConfig, task: Task, model: str, design: Design, train_size: int | str | None, seed: int | None
) -> TrialConfig:
    """The trial that the final comparison would train, of the largest size and with the first seed, or as named."""
    if seed is None:
        seed = (config.validation.seeds or config.seeds)[0]
    available = len(task.load("train"))
    count = max(config.validation.train_sizes or config.train_sizes)
    if train_size is not None:
        count, design = available if train_size == ALL else int(train_size), without_amounts(design)
    elif config.validation.train_sizes:
        design = without_amounts(design)
    if count > available:
        raise UserError(f"{count} samples were asked for, {available} are there. Lower --train-size, or say all.")
    trial = make_trial(
        config,
        task,
        model,
        sized(design, task),
        seed,
        count,
        config.eval_size,
        fingerprint_all(config, task),
        rungs=(1.0,),
    )
    check_methods([trial])
    return trial


def _examples(config: SweepConfig, task: Task, split: Split, trial: TrialConfig) -> list[Example]:
    examples = task.load(split)
    if split == "train":
        return data.draw(examples, trial.train_size, trial.seed)
    if not examples:
        return []
    return data.eval_items(examples, config.validation.test_size if split == "test" else trial.eval_size)


def _evaluated(trial: TrialConfig, task: Task, examples: Sequence[Example], drawn: Sequence[Example]) -> list[Sample]:
    """Items as they are asked: in the configured wording, after the trial's demonstrations, a sample a group of slots.

    Where an item is several samples these are numbered: "d1-17#1", "d1-17#2".
    """
    asking = ask_in(task, trial.design, drawn, trial.instruction_variant)
    groups, plain = groups_of(task, trial.design), whole(trial.design)
    samples = []
    for one in examples:
        for number, (group, (_, prompt)) in enumerate(zip(groups, asking.prompts(one.id, one.text), strict=True), 1):
            completion = Segment(render.completion_of(one, group, plain), loss=True, role="completion")
            id = f"{one.id}{PART}{number}" if len(groups) > 1 else one.id
            samples.append(Sample(id, prompt, completion))
    return samples


def _refuse_weights(trial: TrialConfig, samples: Sequence[Sample]) -> None:
    """A prompt's tokens count or do not, in every tool: none has a weight for them."""
    if any(0 < segment.loss < 1 for sample in samples for segment in sample.prompt):
        raise UserError(
            f"input_modeling={trial.design['input_modeling']} gives the prompt's tokens a weight in the loss, which "
            "none of these tools has. Export the design with input_modeling=off or on: --design ..."
        )


def _training_samples(trial: TrialConfig, task: Task, drawn: Sequence[Example]) -> list[Sample]:
    """The samples that the trial trains on; with data axes those that their methods make of the draw."""
    methods = methods_of(trial)
    if not methods:
        return samples_of(drawn, task, trial.design, trial.instruction_variant)
    for method in methods:
        changed = [name for name in IN_TRAINING if getattr(type(method), name) is not getattr(Method, name)]
        if changed:
            raise _cannot_carry(trial, method.axis, "changes the training itself, which no file can carry")
    with tempfile.TemporaryDirectory() as folder:
        return Preparation(trial, Path(folder), _NoWorkers(trial), drawn, methods).run()


class _NoWorkers:
    """Workers of a trial that is not run: a method that needs its model cannot be exported."""

    resources: Any = None

    def __init__(self, trial: TrialConfig) -> None:
        self.trial = trial

    def call(self, method: str, *arguments: Any) -> list[Any]:
        raise _cannot_carry(self.trial, "", "has samples that are made with the model while its trial runs")

    def map(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        return self.call(method)


def _cannot_carry(trial: TrialConfig, axis: str, why: str) -> UserError:
    options = {name: option for name, option in trial.curated.items() if axis in ("", name)}
    plain = replace(trial, design=Design(tuple(pair for pair in trial.design.options if pair[0] not in options)))
    named = ", ".join(f"{name}={option}" for name, option in options.items())
    return UserError(f"{named} {why}. Export the design without it: --design {plain.design.slug}")
