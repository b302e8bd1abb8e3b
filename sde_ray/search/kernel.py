"""How alike two designs are: by the options they share, and by the pairs of options they share.

    likeness = Likeness(designs)
    options, pairs = likeness.both(one, other)      two arrays of design numbers in, two matrices out

These are the inner products of centred indicators: a design's row of options (each option's 1 or 0, less its axis'
mean), and the products of such rows over each pair of axes. With them a regression on all options and pairs is a
Gaussian process over designs, without choosing a reference option or a coding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sde_ray.types import Design

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
CACHED = 1000  # so many designs have their likeness kept


class DesignKernel:
    """Of any list of designs with the same axes, also one that is not a full product."""

    def __init__(self, designs: Sequence[Design]) -> None:
        axes = [axis for axis, _ in designs[0].options]
        options = [sorted({design[axis] for design in designs}) for axis in axes]
        swept = [n for n, one in enumerate(options) if len(one) > 1]
        codes = [[options[n].index(design.options[n][1]) for n in swept] for design in designs]
        self.codes: Index = np.array(codes, dtype=np.intp).reshape(len(designs), len(swept))
        self.sizes = np.array([len(options[n]) for n in swept], dtype=float)
        self.axes = tuple(axes[n] for n in swept)
        self._whole: tuple[Array, Array] | None = None
        if len(designs) <= CACHED:
            everything = np.arange(len(designs))
            self._whole = self._both(everything, everything)

    @property
    def mains(self) -> int:
        """Free numbers in the effects of the options."""
        return int(np.sum(self.sizes - 1))

    def both(self, one: Index, other: Index) -> tuple[Array, Array]:
        """The likeness by options, and that by pairs; two matrices [one, other]."""
        if self._whole is None:
            return self._both(one, other)
        at = np.ix_(one, other)
        return self._whole[0][at], self._whole[1][at]

    def _both(self, one: Index, other: Index) -> tuple[Array, Array]:
        by_axis = self._by_axis(one, other)
        total = by_axis.sum(0)
        return np.asarray(total), np.asarray((total**2 - (by_axis**2).sum(0)) / 2)  # products over pairs of axes

    def _by_axis(self, one: Index, other: Index) -> Array:
        """[axis, one, other]: 1 - 1/n where the option is the same, else -1/n."""
        same = self.codes[one].T[:, :, None] == self.codes[other].T[:, None, :]
        return np.asarray(same - (1 / self.sizes)[:, None, None])
