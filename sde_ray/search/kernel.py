"""Kernel over designs: how alike two designs are, by the options they share and by the pairs of options they share.

    kernel = DesignKernel(designs)
    main, interaction = kernel.main_and_interaction(rows, columns)      two arrays of design numbers in, two matrices

These are the inner products of centred indicators: a design's row of options (each option's 1 or 0, less its axis'
mean), and the products of such rows over each pair of axes. With them a regression on all options and their
interactions is a Gaussian process over designs (Rasmussen and Williams 2006, section 2.1), without choosing a reference
option or a coding.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sde_ray.types import Design

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
MAX_CACHED = 1000  # up to so many designs, the whole matrices are kept


class DesignKernel:
    """Covariance functions on a list of designs with the same axes, also one that is not a full product.

    `codes`, [design, axis], number the options of the axes that vary; `sizes`, [axis], are their numbers of options.
    """

    def __init__(self, designs: Sequence[Design]) -> None:
        axes = [axis for axis, _ in designs[0].options]
        options = [sorted({design[axis] for design in designs}) for axis in axes]
        swept = [n for n, names in enumerate(options) if len(names) > 1]
        codes = [[options[n].index(design.options[n][1]) for n in swept] for design in designs]
        self.codes: Index = np.array(codes, dtype=np.intp).reshape(len(designs), len(swept))
        self.sizes = np.array([len(options[n]) for n in swept], dtype=float)
        self.axes = tuple(axes[n] for n in swept)
        self._matrices: tuple[Array, Array] | None = None
        if len(designs) <= MAX_CACHED:
            everything = np.arange(len(designs))
            self._matrices = self._main_and_interaction(everything, everything)

    @property
    def num_main_effects(self) -> int:
        """Free coefficients of the main effects."""
        return int(np.sum(self.sizes - 1))

    @property
    def num_interactions(self) -> int:
        """Free coefficients of the interactions of two axes."""
        free = self.sizes - 1
        return round(float(np.sum(free) ** 2 - np.sum(free**2)) / 2)

    def model_columns(self, rows: Index) -> tuple[Array, Array]:
        """Columns whose products are the kernel matrices by options and by pairs of options, each [row, column]."""
        codes = [_centred_codes(int(size))[column] for size, column in zip(self.sizes, self.codes[rows].T, strict=True)]
        pairs = [np.einsum("na,nb->nab", a, b).reshape(len(rows), -1) for a, b in combinations(codes, 2)]
        nothing = np.zeros((len(rows), 0))
        return np.concatenate([nothing, *codes], axis=1), np.concatenate([nothing, *pairs], axis=1)

    def main_and_interaction(self, rows: Index, columns: Index) -> tuple[Array, Array]:
        """Kernel matrices by options and by pairs of options, each [row, column]."""
        if self._matrices is None:
            return self._main_and_interaction(rows, columns)
        cells = np.ix_(rows, columns)
        return self._matrices[0][cells], self._matrices[1][cells]

    def _main_and_interaction(self, rows: Index, columns: Index) -> tuple[Array, Array]:
        by_axis = self._by_axis(rows, columns)
        total = by_axis.sum(0)
        return np.asarray(total), np.asarray((total**2 - (by_axis**2).sum(0)) / 2)  # products over pairs of axes

    def _by_axis(self, rows: Index, columns: Index) -> Array:
        """Kernel of each axis, [axis, row, column]: 1 - 1/n where the option is the same, else -1/n."""
        same = self.codes[rows].T[:, :, None] == self.codes[columns].T[:, None, :]
        return np.asarray(same - (1 / self.sizes)[:, None, None])


def _centred_codes(size: int) -> Array:
    """Orthonormal centred codes of the options of an axis, [option, size - 1]; their products are its kernel."""
    return np.asarray(np.linalg.qr(np.eye(size) - 1 / size)[0][:, : size - 1])
