"""The memory study's result: facts by level, levels by fact; memory.json in the sweep's folder.

{"task": ..., "model": ..., "settings": {...},
 "splits": {"train": {"facts": 1300, "tables": [...]}, ...}, "findings": {"dev": [...]}, "facts": {"P36.dev:1": {...}}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sde_ray.config.schema import SweepConfig
from sde_ray.curation.memory.levels import RULES, FactMemory, LevelTable, level_table
from sde_ray.errors import UserError
from sde_ray.pipeline.memory_study.measure import TRAIN, MemoryStudy
from sde_ray.pipeline.memory_study.sizes import too_few
from sde_ray.pipeline.memory_study.trials import TrainedStudy, trained_study
from sde_ray.storage.files import write_atomic


@dataclass(frozen=True)
class MemoryResult:
    """One task on one model: what it remembers, by split; tables under the rule of whole words, then of substrings.

    `trained`: by split, what the sweep's trials say; empty before any has ended.
    """

    study: MemoryStudy
    memories: Mapping[str, Sequence[FactMemory]]
    trained: Mapping[str, TrainedStudy] = field(default_factory=dict)

    def tables(self, split: str) -> tuple[LevelTable, ...]:
        return tuple(level_table(self.memories[split], rule) for rule in RULES)

    @property
    def too_few(self) -> list[str]:
        """What the sweep asks of levels that have not so many training facts, in sentences."""
        return too_few(self.study.config, self.memories.get(TRAIN, ()))

    def to_dict(self) -> dict[str, Any]:
        """For a program, and for trials that take facts by their level."""
        splits = {
            split: {"facts": len(rows), "tables": [table.to_dict() for table in self.tables(split)]}
            for split, rows in self.memories.items()
        }
        facts = {
            one.id: {
                **one.to_dict(),
                "split": split,
                "level": {rule: one.level(rule) for rule in RULES},
            }
            for split, rows in self.memories.items()
            for one in rows
        }
        study = self.study
        head = {"task": study.task, "model": study.model, "settings": asdict(study.settings)}
        answers = {split: [finding.to_dict() for finding in found.findings] for split, found in self.trained.items()}
        accuracy = {split: [dict(row) for row in found.accuracy] for split, found in self.trained.items()}
        return {
            **head,
            "splits": splits,
            "accuracy": accuracy,
            "findings": answers,
            "too_few": self.too_few,
            "facts": facts,
        }


def conclude(config: SweepConfig, task: str, measured: Mapping[str, MemoryResult]) -> list[MemoryResult]:
    """The results of a task by model, with what the sweep's trials say; in words, of all models together."""
    memories = {model: result.memories for model, result in measured.items()}
    found = trained_study(config, task, memories, config.curation.memory_level.rule) if measured else {}
    return [replace(result, trained=found) for result in measured.values()]


def save(result: MemoryResult) -> Path:
    """Write memory.json, whole or not at all."""
    study, run_dir = result.study, result.study.config.run_dir
    path = run_dir.memory(study.task, study.model)
    try:
        run_dir.path.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(result.to_dict(), ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(
            f'Cannot write to "{run_dir.path}": {error.strerror}. Set storage_path to a folder with room.'
        ) from None
    run_dir.folder.upload(path, run_dir.memory_cache)
    return path
