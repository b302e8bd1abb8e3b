"""Accuracy by cell, a memory level in a relation, of every trial; and under a bootstrap of the items in each cell.

    cells = Cells.of(memories, "words")           which item is in which cell (level, relation)
    accuracy = cells.accuracy(correct)            [1 + draws, cells]: the measured one, then under each draw
    accuracy @ cells.over_levels()                the macro mean: every level counts the same, whatever its size
    accuracy @ cells.within_relations()           every relation counts the same, and in it every level

All scores of the study are linear in these cells. Levels and relations are confounded (some relations are known better
as a whole), so each is made twice: over all items, as published, and within relations (CARDS.md 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sde_ray.curation.memory.levels import FactMemory

Array = npt.NDArray[np.float64]
DRAWS = 1000
Cell = tuple[int, str]  # memory level, relation


@dataclass(frozen=True)
class Cells:
    """Items by cell: `members[n]` are the positions, in `ids`, of the items of `cells[n]`."""

    ids: tuple[str, ...]
    cells: tuple[Cell, ...]
    members: tuple[npt.NDArray[np.int64], ...]
    seed: int = 0

    @classmethod
    def of(cls, memories: Sequence[FactMemory], rule: str, seed: int = 0) -> Cells:
        by_cell: dict[Cell, list[int]] = {}
        for n, memory in enumerate(memories):
            by_cell.setdefault((memory.level(rule), memory.relation), []).append(n)
        cells = tuple(sorted(by_cell))
        return cls(tuple(one.id for one in memories), cells, tuple(np.array(by_cell[cell]) for cell in cells), seed)

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that have items."""
        return tuple(sorted({level for level, _ in self.cells}))

    def accuracy(self, correct: Mapping[str, float]) -> Array:
        """Share of right items by cell [1 + draws, cells]; the draws are the same for every trial."""
        values = np.array([correct[name] for name in self.ids])
        random = np.random.default_rng(self.seed)
        columns = []
        for members in self.members:
            weights = random.multinomial(len(members), np.full(len(members), 1 / len(members)), DRAWS) / len(members)
            columns.append(np.concatenate([[values[members].mean()], weights @ values[members]]))
        return np.stack(columns, axis=1)

    def means(self, correct: Mapping[str, float]) -> Array:
        """Share of right items by cell [cells]."""
        values = np.array([correct[name] for name in self.ids])
        return np.array([values[members].mean() for members in self.members])

    def _sizes(self) -> Array:
        return np.array([len(members) for members in self.members], dtype=float)

    def of_level(self, level: int) -> Array:
        """Weights [cells] of the plain accuracy on a level's items."""
        chosen = self._sizes() * np.array([one == level for one, _ in self.cells])
        return np.asarray(chosen / chosen.sum())

    def over_levels(self) -> Array:
        """Weights [cells] of the plain mean over the levels' accuracies."""
        return np.asarray(np.mean([self.of_level(level) for level in self.levels], axis=0))

    def within_relations(self) -> Array:
        """Weights [cells] of the mean over relations of the mean over their levels."""
        number = self._levels_of_relations()
        return np.array([1 / number[relation] / len(number) for _, relation in self.cells])

    def own_level(self, levels: Sequence[int], within: bool) -> tuple[dict[int, Array], dict[int, Array]]:
        """Weights [cells] by level trained on: of the items of that level, and of the items of all others.

        Summed over the levels trained on, both are means in which each level trained on, and each level asked, counts
        the same: how good a level is to train on, and how easy it is to ask, cancel in their difference. Within
        relations a level is set against the other levels of the same relation only. Items of further levels are left
        out.
        """
        asked = [cell for cell in self.cells if cell[0] in levels]
        if not within:
            of_level = {level: self.of_level(level) / len(levels) for level in levels}
            total = np.sum(list(of_level.values()), axis=0)
            return of_level, {level: (total - own) / (len(levels) - 1) for level, own in of_level.items()}
        number = {relation: sum(one == relation for _, one in asked) for _, relation in asked}
        number = {relation: count for relation, count in number.items() if count > 1}
        own = {level: np.zeros(len(self.cells)) for level in levels}
        other = {level: np.zeros(len(self.cells)) for level in levels}
        for n, (level, relation) in enumerate(self.cells):
            if level in levels and relation in number:
                share = 1 / number[relation] / len(number)
                own[level][n] = share
                for trained in levels:
                    if trained != level and (trained, relation) in self.cells:
                        other[trained][n] = share / (number[relation] - 1)
        return own, other

    def _levels_of_relations(self) -> dict[str, int]:
        relations = sorted({relation for _, relation in self.cells})
        return {relation: sum(one == relation for _, one in self.cells) for relation in relations}
