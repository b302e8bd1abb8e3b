"""What the trained trials of a sweep say of memory levels: right items by trial, and the findings of each split.

    trained_study(config, "qa:location", memories, "words")     {"dev": TrainedStudy(...), "dev_ood": TrainedStudy(...)}

Trials count that differ in level, training size, seed and model only: those of the design that most trials have. Items
without a measured level are left out, in every trial.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sde_ray.config.alias_file import read_aliases
from sde_ray.config.schema import SweepConfig
from sde_ray.curation.memory.levels import FactMemory
from sde_ray.data.facts import with_aliases
from sde_ray.design.designs import completed
from sde_ray.evaluation.per_item import ItemCounts, read_items_by_trial
from sde_ray.pipeline.memory_study.cells import Cells
from sde_ray.pipeline.memory_study.findings import Finding, StudyTrial, findings
from sde_ray.types import TrialResult

AXIS, METRIC = "memory_level", "accuracy"
OF_THE_STUDY = (AXIS, "train_size")  # axes in which its trials differ
SPLITS = ("dev", "dev_ood")
Memories = Mapping[str, Mapping[str, Sequence[FactMemory]]]  # by model and split


@dataclass(frozen=True)
class TrainedStudy:
    """What the trials say on one split: accuracy by level, and the findings."""

    accuracy: tuple[Mapping[str, Any], ...]
    findings: tuple[Finding, ...]


def trained_study(config: SweepConfig, task: str, memories: Memories, rule: str) -> dict[str, TrainedStudy]:
    """What the sweep's trials say, by split; nothing where no trial with a level has ended."""
    results = _alike(completed([one for one in config.run_dir.results().values() if one.config["task"] == task]))
    if not any(_level(one) != "any" for one in results):
        return {}
    aliases = read_aliases(config.curation.memory_level.aliases)
    prepare = partial(with_aliases, aliases=aliases) if aliases else None
    studies = {}
    for split in SPLITS:
        items = read_items_by_trial(results, config.run_dir.trials, split, METRIC, prepare)
        trials: list[StudyTrial] = []
        cells: dict[str, Cells] = {}
        for number, (model, by_split) in enumerate(memories.items()):
            known = {one.id for one in by_split.get(split, ())}
            own = [
                _trial(one, items[one.key], known)
                for one in results
                if one.config["model"] == model and one.key in items
            ]
            shared = set.intersection(*(set(one.correct) for one in own)) if own else set()
            facts = [one for one in by_split.get(split, ()) if one.id in shared]
            if facts:
                cells[model] = Cells.of(facts, rule, seed=number)
                trials += own
        if cells:
            studies[split] = TrainedStudy(tuple(accuracy_by_level(trials, cells)), tuple(findings(trials, cells)))
    return studies


def accuracy_by_level(trials: Sequence[StudyTrial], cells: Mapping[str, Cells]) -> Iterator[dict[str, Any]]:
    """Accuracy on each level's items and its mean over levels, by model, level trained on and size; over all seeds."""
    groups: dict[tuple[str, str, int], list[StudyTrial]] = {}
    for one in trials:
        groups.setdefault((one.model, one.level, one.train_size), []).append(one)
    for (model, level, size), group in sorted(groups.items()):
        of = cells[model]
        by_cell = np.mean([of.means(one.correct) for one in group], axis=0)
        by_level = {f"D{asked}": float(by_cell @ of.of_level(asked)) for asked in of.levels}
        macro = float(by_cell @ of.over_levels())
        yield {"model": model, "trained_on": level, "train_size": size, "seeds": len(group), **by_level, "mean": macro}


def _level(result: TrialResult) -> str:
    return str(result.config["design"].get(AXIS, "any"))


def _alike(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The finished trials of the design that most of them have, whatever its level.

    Facts measured anew give levels, and so trials, of their own: of two that differ in nothing else the later counts.
    """
    finished = [one for one in results if one.status == "finished"]
    designs = {
        one.key: tuple(sorted((k, v) for k, v in one.config["design"].items() if k not in OF_THE_STUDY))
        for one in finished
    }
    if not finished:
        return []
    ((common, _),) = Counter(designs.values()).most_common(1)
    latest = {
        (one.config["model"], _level(one), one.config["train_size"], one.config["seed"]): one
        for one in finished
        if designs[one.key] == common
    }
    return list(latest.values())


def _trial(result: TrialResult, items: ItemCounts, known: set[str]) -> StudyTrial:
    correct: dict[str, float] = {}
    for part in items.parts:
        values = np.asarray(part.measure(part.rows.astype(float)))
        correct |= {name: float(value) for name, value in zip(part.ids, values, strict=True) if name in known}
    size, seed = int(result.config["train_size"]), int(result.config["seed"])
    return StudyTrial(str(result.config["model"]), _level(result), size, seed, correct)
