"""Features of the Gaussian process in weight space, by design and expected score, as a product that is not written out.

    features = Features(space, designs)
    features.products(blocks)                  sum over designs of Phi' block Phi, [weight, weight]
    features.quadratic(matrix)                 Phi matrix Phi' of each design, [design, C x R, C x R]

    Phi[design, cell, weight] = by_cell[cell, weight] * by_design[design, weight]

A cell is a contest and rung, C x R in all. A weight's column is a pattern over cells (all, one contest, one lower rung
of a contest) times a column over designs (1, an option, a pair of options): a Kronecker product, but that not every
pattern has every column. Weights of one pattern share their matrix products, so that these cost designs x weights
squared, not cells times as much.
"""

from __future__ import annotations

import numpy as np

from sde_ray.search.adaptive.posterior import ModelSpace
from sde_ray.search.kernel import Array, Index


class Features:
    """Columns of the weights but seeds: `by_cell` [C x R, weight], `by_design` [design, weight], `terms` [weight].

    Args:
        space: designs, contests and rungs.
        designs: numbers of the D designs.
    """

    def __init__(self, space: ModelSpace, designs: Index) -> None:
        main, pairs = space.kernel.model_columns(designs)
        ones, deviation = np.ones((len(designs), 1)), space.rung_deviation
        patterns, by_design = [], []
        self._rows: list[slice] = []  # of each pattern
        self.terms: list[str] = []
        cells = np.zeros((space.contests, space.rungs))

        def add(pattern: Array, **columns: Array) -> None:
            parts = {name.replace("_", " "): part for name, part in columns.items()}
            values = np.concatenate(list(parts.values()), axis=1)
            self._rows.append(slice(len(self.terms), len(self.terms) + values.shape[1]))
            by_design.append(values)
            patterns.append(np.repeat(pattern.reshape(-1, 1), values.shape[1], axis=1))
            self.terms.extend(name for name, part in parts.items() for _ in range(part.shape[1]))

        add(np.ones_like(cells), options=main, interactions=pairs)
        for contest in range(space.contests):
            every = cells.copy()
            every[contest] = 1
            several = {"contest_options": main, "contest_interactions": pairs} if space.contests > 1 else {}
            add(every, contest=ones, **several)
            for rung in np.flatnonzero(deviation).tolist() if space.rungs > 1 else ():
                lower = cells.copy()
                lower[contest, rung] = deviation[rung]
                add(lower, offset=ones, rung_options=main)
        self.by_cell, self.by_design = np.concatenate(patterns, axis=1), np.concatenate(by_design, axis=1)

    def __len__(self) -> int:
        return len(self.terms)

    def rows(self, design: Index, combinations: Array) -> Array:
        """Combinations of a design's cells, [row, C x R], as combinations of weights, [row, weight]."""
        return np.asarray((combinations @ self.by_cell) * self.by_design[design])

    def times(self, matrix: Array) -> Array:
        """Phi matrix, [design, C x R, column], of a matrix [weight, column]."""
        total = np.zeros((len(self.by_design), len(self.by_cell), matrix.shape[1]))
        for rows in self._rows:
            by_design = self.by_design[:, rows] @ matrix[rows]
            for cell in np.flatnonzero(self.by_cell[:, rows.start]):
                total[:, cell] += self.by_cell[cell, rows.start] * by_design
        return total

    def sums(self, values: Array) -> Array:
        """Sum over designs of Phi' values, [weight, column], of values [design, C x R, column]."""
        sums = np.zeros((len(self), values.shape[2]))
        for rows in self._rows:
            sums[rows] = self.by_design[:, rows].T @ np.tensordot(values, self.by_cell[:, rows.start], (1, 0))
        return sums

    def products(self, blocks: Array) -> Array:
        """Sum over designs of Phi' block Phi, [weight, weight], of symmetric blocks [design, C x R, C x R]."""
        products = np.zeros((len(self), len(self)))
        for rows in self._rows:
            of_pattern = np.tensordot(blocks, self.by_cell[:, rows.start], (1, 0)) @ self.by_cell[:, rows.start :]
            of_pattern *= self.by_design[:, rows.start :]
            products[rows, rows.start :] = self.by_design[:, rows].T @ of_pattern
            products[rows.stop :, rows] = products[rows, rows.stop :].T
        return products

    def quadratic(self, matrix: Array) -> Array:
        """Phi matrix Phi' of each design, [design, C x R, C x R], of a symmetric matrix [weight, weight]."""
        designs, cells = len(self.by_design), len(self.by_cell)
        total = np.zeros((designs, cells, cells))
        for rows in self._rows:
            of_pattern = (self.by_design[:, rows] @ matrix[rows]) * self.by_design
            by_cell = of_pattern @ self.by_cell.T
            for cell in np.flatnonzero(self.by_cell[:, rows.start]):
                total[:, cell] += self.by_cell[cell, rows.start] * by_cell
        return total
