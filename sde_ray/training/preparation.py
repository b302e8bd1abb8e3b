"""Preparation of a curated trial: its samples, and what its methods may use to make them.

    preparation = Preparation(config, folder, workers, drawn, methods)
    samples = preparation.run()

A method that needs a model trains and asks the workers of its own trial, before these train the trial itself:

    preparation.fit(samples)                    train a fresh adapter on these samples, from start to end
    preparation.complete(prompts)               what it answers to prompts, greedily
    preparation.apply("confidence", samples)    the function `confidence(worker, samples)` beside the method's class

All of it is a function of the trial's seed, so a trial that is interrupted prepares the same again; `remember` keeps
what was dear in the trial's folder, `share` in the run's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from sde_ray import data
from sde_ray.config.trial import TrialConfig
from sde_ray.design import render
from sde_ray.design.answer_end import AnswerEnd
from sde_ray.design.asking import Asking, ask_in
from sde_ray.design.axes import find_axis
from sde_ray.errors import UserError
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.training.evaluated_items import Question, ask
from sde_ray.types import Example, Parsed, Sample, Segment, Task

Prompts = Sequence[tuple[str, tuple[Segment, ...]]]

FOLDER = "curation"  # in the trial's, for what is remembered and for files that a person may look at
SHARED = "curation.jsonl"  # beside the trials' folders, for what several trials of a run use


class Workers(Protocol):
    """A trial's workers (`worker_group.py`)."""

    resources: Any

    def call(self, method: str, *arguments: Any) -> list[Any]: ...

    def map(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]: ...


class Preparation:
    """What the methods of a trial may use. `counts`: what they have counted, by "axis/name"; it is in the result.

    `methods` are those of `curation.py`.
    """

    def __init__(
        self,
        config: TrialConfig,
        folder: Path,
        workers: Workers,
        drawn: Sequence[Example],
        methods: Sequence[Any],
    ) -> None:
        self.config, self.folder, self.workers, self.drawn = config, folder / FOLDER, workers, drawn
        self.task: Task = trial_task(config.task, config.definition)
        self.counts: dict[str, float] = {}
        self._methods, self._method = methods, methods[0]
        self._pool: list[Example] | None = None

    def run(self) -> list[Sample]:
        """The samples that the trial trains on. Raises UserError when a method leaves none."""
        examples: Sequence[Example] = self.drawn
        for method in self._methods:
            self._method = method
            examples = method.examples(examples, self)
        samples: Sequence[Sample] = self.render(examples)
        for method in self._methods:
            self._method = method
            samples = method.samples(samples, self)
        if not samples:
            names = ", ".join(f"{axis}={option}" for axis, option in self.config.curated.items())
            raise UserError(f"{names} leaves no sample to train on, of {len(self.drawn)}. Take another option.")
        self.counts["samples"] = len(samples)
        return list(samples)

    # ---- examples --------------------------------------------------------------------------------------------------

    def pool(self) -> list[Example]:
        """All examples of the train split, in their fixed order; after a method has narrowed it, what it left."""
        if self._pool is not None:
            return list(self._pool)
        return trial_examples(self.config.task, "train", self.config.definition)

    def narrow(self, examples: Sequence[Example]) -> None:
        """Leave these in the pool, for the methods that follow."""
        self._pool = list(examples)

    def pool_of(self, name: str) -> tuple[Task, list[Example]]:
        """Another task, one that the axis `reads`, with its train split."""
        return trial_task(name), trial_examples(name, "train")

    def draw(self, examples: Sequence[Example], count: int) -> list[Example]:
        """The first `count` of an order that the trial's seed decides, so that a smaller draw is part of a larger."""
        return data.draw(examples, count, self.config.seed)

    def render(self, examples: Sequence[Example], task: Task | None = None) -> list[Sample]:
        """Examples as samples in the trial's design."""
        asking = self._asking.of(task or self.task)
        return [sample for one in examples for sample in asking.samples(one)]

    @property
    def _asking(self) -> Asking:
        return ask_in(self.task, self.config.design, self.drawn, self.config.instruction_variant)

    # ---- the model -------------------------------------------------------------------------------------------------

    def fit(self, samples: Sequence[Sample], steps: int | None = None) -> list[float]:
        """Train a fresh adapter, with the trial's settings; it stays until the next one. Returns the steps' losses.

        Args:
            samples: in whatever number; one pass is `num_train_epochs` of the trial.
            steps: how many optimiser steps; None: all. With 0 the base model answers as it is.
        """
        total = self._start(samples)
        until = total if steps is None else min(steps, total)
        parts = self.workers.call("train", until) if until else []
        losses = [sum(part) for part in zip(*parts, strict=True)]
        self.count("prepared_steps", until)
        return losses

    def fit_in_parts(self, samples: Sequence[Sample], parts: int, model: str = "") -> Iterator[int]:
        """Like `fit`, stopping at so many evenly spaced steps, the last among them; at fewer where there are fewer.

        Yields the number of steps so far, while the adapter is as it was then. `model`: the base, if another.
        """
        total = self._start(samples, model)
        for until in sorted({max(1, round(total * part / parts)) for part in range(1, parts + 1)}):
            self.workers.call("train", until)
            yield until
        self.count("prepared_steps", total)

    def _start(self, samples: Sequence[Sample], model: str = "") -> int:
        """A fresh adapter, untrained. Returns how many steps its training has."""
        config = replace(self.config, model=model) if model else self.config
        return int(self.workers.call("start_plain", config, list(samples), self.render(self.drawn))[0].steps)

    def complete(self, prompts: Prompts, ends: Sequence[AnswerEnd | None] = ()) -> list[str]:
        """The completions of (id, prompt) pairs, greedily, by the adapter that was fitted last.

        `ends`: when the answer of each is settled, and its grammar.
        """
        count = self.workers.resources.num_workers
        parts = self.workers.map("generate", [(list(prompts)[rank::count], ends[rank::count]) for rank in range(count)])
        completions = [""] * len(prompts)
        for rank, (texts, num_tokens) in enumerate(parts):
            completions[rank::count] = texts
            self.count("prepared_tokens", num_tokens)
        return completions

    def answer(self, examples: Sequence[Example]) -> list[Parsed]:
        """The answers to examples in the trial's design, read from the completions."""
        asking, design = self._asking, self.config.design
        questions = [Question(asking.prompts(one.id, one.text), asking.ends(one.text)) for one in examples]
        constrained = any(end and end.grammar for question in questions for end in question.ends)
        completions, _ = ask(questions, lambda prompts, ends: (self.complete(prompts, ends if constrained else ()), 0))
        pairs = zip(completions, examples, strict=True)
        return [render.parse_completion(text, self.task, design, one.text) for text, one in pairs]

    def count_tokens(self, samples: Sequence[Sample]) -> list[int]:
        """The tokens of each sample, prompt and completion, as the trial would train on it."""
        counts: list[int] = self.workers.call("count_tokens", self.config, list(samples))[0]
        return counts

    def apply(self, function: str, *arguments: Any) -> list[Any]:
        """Call a function of the method's module on every worker, `function(worker, *arguments)`; a value a worker.

        Both directions carry plain values. The worker has the adapter that was fitted last.
        """
        module = find_axis(self._method.axis).carrier.partition(":")[0]
        return self.workers.call("apply", f"{module}:{function}", *arguments)

    # ---- records ---------------------------------------------------------------------------------------------------

    def count(self, name: str, number: float) -> None:
        """Add to a count of the method's, such as samples that a rule has dropped."""
        key = f"{self._method.axis}/{name}"
        self.counts[key] = self.counts.get(key, 0) + number

    def remember(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make()` returns, plain JSON values, kept in the trial's folder with what it counts."""
        assert re.fullmatch(r"[a-z0-9_-]+", name), name
        path, before = self.folder / f"{name}.json", dict(self.counts)
        try:
            kept = read_json(path.read_text(encoding="utf-8"))
            value, counted = kept["value"], dict(kept["counts"]) if kept["key"] == self.config.key else None
        except (OSError, ValueError, KeyError, TypeError):
            value, counted = None, None
        if counted is not None:
            self.counts |= {key: before.get(key, 0) + number for key, number in counted.items()}
            return value
        value = make()
        counted = {key: number - before.get(key, 0) for key, number in self.counts.items()}
        self.write(f"{name}.json", json.dumps({"key": self.config.key, "value": value, "counts": counted}))
        return value

    @property
    def shared(self) -> Path:
        """The file of what `share` keeps."""
        return self.folder.parent.parent / SHARED

    def share(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make()` returns, plain JSON values, for all trials of the run that ask for the same key.

        The key must be of all that decides the value, so that it does not matter which trial has made it.
        """
        cache = JsonlCache(self.shared)
        kept = cache.read().get(f"{self._method.axis} {key}", {})
        if "value" in kept:
            return kept["value"]
        value = make()
        cache.append(f"{self._method.axis} {key}", {"value": value})
        return value

    def write(self, name: str, text: str) -> None:
        """Write a file into the folder `curation` of the trial's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / name, text)
