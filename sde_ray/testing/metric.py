"""The contract of a metric of one's own: any answer gives a finite number within its bounds, and gold gives the most.

class TestScore(MetricContract):
    metric = "my_pkg.my_metrics:score"
    kinds = ("label",)
"""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sde_ray.metrics import item_statistics, load_metric, metric_bounds, objective_from_items, score
from sde_ray.plugins import code_of, trust
from sde_ray.testing.tasks import ALL
from sde_ray.types import Example, Fault, Parsed, Task, TaskKind


class MetricContract:
    """What holds for every metric, on tasks of the kinds that it is for; `metric` names it."""

    metric = ""
    kinds: Sequence[TaskKind] = ("label", "span", "free")
    tasks: Sequence[tuple[Task, list[Example]]] = ALL
    """Tasks with examples; add your own."""

    def cases(self) -> list[tuple[Task, list[Example]]]:
        """The tasks with examples that the metric is for, each with the metric among its own."""
        trust(*code_of(self.metric))
        cases = [(task, examples) for task, examples in self.tasks if task.kind in self.kinds and examples]
        assert cases, f"no task of the kinds {self.kinds}"
        return [(replace(task, metrics=(*task.metrics, self.metric)), examples) for task, examples in cases]

    def predictions(self, examples: list[Example], seed: int = 0) -> list[Parsed]:
        """What a model may answer: the gold answer, that of another item, nothing, with faults and without."""
        chance = random.Random(seed)
        answers = [chance.choice([example.answer, chance.choice(examples).answer, {}]) for example in examples]
        return [Parsed(answer, chance.choice([(), (Fault("syntax", "x"),)])) for answer in answers]

    def test_it_is_found_and_takes_three_arguments(self) -> None:
        trust(*code_of(self.metric))
        assert callable(load_metric(self.metric))

    def test_every_answer_has_a_finite_value_within_the_bounds(self) -> None:
        for task, examples in self.cases():
            for seed in range(5):
                value = score(task, examples, self.predictions(examples, seed))[self.metric]
                low, high = metric_bounds(self.metric) or (-np.inf, np.inf)
                assert np.isfinite(value) and low <= value <= high, (task.name, value)

    def test_the_gold_answer_has_the_highest_value(self) -> None:
        for task, examples in self.cases():
            gold = score(task, examples, [Parsed(example.answer) for example in examples])[self.metric]
            for seed in range(5):
                assert score(task, examples, self.predictions(examples, seed))[self.metric] <= gold, task.name
            assert score(task, examples, [Parsed({}, (Fault("empty"),)) for _ in examples])[self.metric] <= gold

    def test_it_is_repeatable_and_changes_nothing(self) -> None:
        for task, examples in self.cases():
            parsed = self.predictions(examples)
            before = copy.deepcopy((examples, parsed))
            values = [score(task, examples, parsed)[self.metric] for _ in range(2)]
            assert values[0] == values[1] and (examples, parsed) == before

    def test_a_resample_of_items_is_a_product_with_their_rows(self) -> None:
        for task, examples in self.cases():
            parsed = self.predictions(examples)
            draw = np.random.default_rng(0).integers(0, len(examples), size=len(examples))
            weights = np.bincount(draw, minlength=len(examples)).astype(float)
            resampled = objective_from_items(task, self.metric, weights @ item_statistics(task, examples, parsed))
            again = score(task, [examples[i] for i in draw], [parsed[i] for i in draw])[self.metric]
            assert abs(float(resampled) - again) < 1e-9, (task.name, float(resampled), again)
