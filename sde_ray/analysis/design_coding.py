"""Coding of designs as rows of numbers: main effects and interactions, and the space that the axes span.

coding = make_coding(designs, {"format": ("natural", "lines", "json")})
coding.row(design)              mean, options (orthonormal centred codes), products of the codes of two axes
contexts(coding)                designs over which an effect is averaged: all, or a sample where there are many
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, product

import numpy as np
import numpy.typing as npt
from scipy import linalg

from sde_ray.types import Design

Array = npt.NDArray[np.float64]
MAX_SPACE = 2000  # designs; of a larger space a sample stands for all
SAMPLED_CONTEXTS = 128


@lru_cache(maxsize=64)
def _codes(count: int) -> Array:
    """Helmert contrasts [options - 1, options]: orthonormal centred codes, one column an option."""
    return np.asarray(linalg.helmert(count))


@dataclass(frozen=True)
class DesignCoding:
    """Model matrix of designs: main effects and interactions. `axes` have at least two options, `fixed` are the others.

    Every row has the columns mean, options (`num_free` with the mean), pairs of options.
    """

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_free(self) -> int:
        """Number of fixed-effect columns: the mean and the options."""
        return 1 + sum(len(options) - 1 for _, options in self.axes)

    def covers(self, design: Design) -> bool:
        """Were all options of this design tried?"""
        tried = {**dict(self.axes), **{a: (o,) for a, o in self.fixed.items()}}
        return all(option in tried.get(axis, ()) for axis, option in design.options)

    def row(self, design: Design) -> Array:
        """The row of a design [columns]."""
        return np.asarray(self.rows([design])[0])

    def rows(self, designs: Sequence[Design]) -> Array:
        """The rows of designs [designs, columns]."""
        chosen = [dict(design.options) for design in designs]
        parts = []
        for axis, options in self.axes:
            index = {option: n for n, option in enumerate(options)}
            parts.append(_codes(len(options)).T[[index[options_of[axis]] for options_of in chosen]])
        size = len(designs)
        pairs = [np.einsum("na,nb->nab", a, b).reshape(size, -1) for a, b in combinations(parts, 2)]
        return np.concatenate([np.ones((size, 1)), *parts, *pairs], axis=1)

    def option_row(self, axis: str, option: str) -> Array:
        """The marginal row of an option [columns], averaged over all designs of the other axes."""
        row = np.zeros(len(self._zero()))
        start = 1
        for name, options in self.axes:
            if name == axis:
                row[start : start + len(options) - 1] = _codes(len(options))[:, options.index(option)]
            start += len(options) - 1
        row[0] = 1.0
        return row

    def pair_columns(self, first: str, second: str) -> range:
        """The columns of the interactions of two axes, counted from the first pair column."""
        start = 0
        for (a, options), (b, others) in combinations(self.axes, 2):
            size = (len(options) - 1) * (len(others) - 1)
            if {a, b} == {first, second}:
                return range(start, start + size)
            start += size
        raise KeyError((first, second))

    def _zero(self) -> Array:
        return self.row(Design(tuple((axis, options[0]) for axis, options in self.axes)))


def make_coding(designs: Sequence[Design], orders: Mapping[str, Sequence[str]]) -> DesignCoding:
    """Coding of the axes and options that occur in `designs`, options in the given orders (else alphabetical)."""
    options_by_axis: dict[str, set[str]] = {}
    for design in designs:
        for axis, option in design.options:
            options_by_axis.setdefault(axis, set()).add(option)

    def ordered(axis: str) -> tuple[str, ...]:
        order = list(orders.get(axis, ()))
        return tuple(
            sorted(options_by_axis[axis], key=lambda option: (order.index(option) if option in order else 99, option))
        )

    swept = tuple((axis, ordered(axis)) for axis, options in options_by_axis.items() if len(options) > 1)
    fixed = {axis: next(iter(options)) for axis, options in options_by_axis.items() if len(options) == 1}
    return DesignCoding(swept, fixed)


def contexts(coding: DesignCoding) -> list[Design]:
    """The designs that effects are averaged over: all combinations of the options, or a sample of them.

    The sample is the same for the same coding, and each axis has its options in equal shares (Latin hypercube).
    """
    pinned = tuple(coding.fixed.items())
    size = math.prod(len(options) for _, options in coding.axes)
    names = [axis for axis, _ in coding.axes]
    if size <= MAX_SPACE:
        return [
            Design((*zip(names, chosen, strict=True), *pinned))
            for chosen in product(*(options for _, options in coding.axes))
        ]
    random = np.random.default_rng(0)
    shuffled = [[options[n % len(options)] for n in random.permutation(SAMPLED_CONTEXTS)] for _, options in coding.axes]
    return [Design((*zip(names, chosen, strict=True), *pinned)) for chosen in zip(*shuffled, strict=True)]


def cells(coding: DesignCoding, designs: Sequence[Design], axes: Sequence[str]) -> dict[tuple[str, ...], list[Design]]:
    """The designs that a mean is over, by the options of some axes.

    Args:
        coding: the axes.
        designs: those of `contexts`; where they are a sample, each stands in every cell, with the options of the cell.
        axes: whose options name the cells.
    """
    by_options: dict[tuple[str, ...], list[Design]] = {
        options: [] for options in product(*(dict(coding.axes)[axis] for axis in axes))
    }
    complete = len(designs) == math.prod(len(options) for _, options in coding.axes)
    for design in designs:
        if complete:
            by_options[tuple(design[axis] for axis in axes)].append(design)
        else:
            for options, members in by_options.items():
                members.append(design.replace(**dict(zip(axes, options, strict=True))))
    return by_options
