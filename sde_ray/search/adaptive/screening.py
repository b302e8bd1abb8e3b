"""First trials of the adaptive search: the points to evaluate, then a screening design completed around them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from sde_ray.search.factorial import d_optimal_fraction, screening_size
from sde_ray.types import Design

Points = Sequence[Design] | Sequence[Sequence[Design]]


def first_trials(
    points: Points, contest: int, num_contests: int, valid: Collection[Design], seeds: Sequence[int]
) -> list[tuple[Design, int]]:
    """Trials of a contest's points to evaluate, as (design, seed): the n-th occurrence of a design has the n-th seed.

    Args:
        points: designs, the same for every contest, or a sequence for each.
        contest: its number.
        num_contests: how many there are.
        valid: the designs of the contest; points that are not among them are left out.
        seeds: the seeds that a design's trials may have; further occurrences have the seeds that follow the largest.
    """
    shared = [point for point in points if isinstance(point, Design)]
    by_contest = [point for point in points if not isinstance(point, Design)]
    assert len(by_contest) in (0, num_contests) and not (shared and by_contest), "once for all, or for each contest"
    occurrences: Counter[Design] = Counter()
    trials = []
    for design in by_contest[contest] if by_contest else shared:
        if design in valid:
            number = occurrences[design]
            trials.append((design, seeds[number] if number < len(seeds) else max(seeds) + 1 + number - len(seeds)))
            occurrences[design] += 1
    return trials


def screening_designs(
    designs: Sequence[Design], points: Sequence[Design], budget: float, first_rung: float, seed: int
) -> list[Design]:
    """Screening design: a D-optimal fraction for main effects that holds the points to evaluate, in random order.

    Args:
        designs: the valid designs.
        points: those that are tried in any case, each once.
        budget: in full trials.
        first_rung: the share of the training that the others run.
        seed: of the fraction.
    """
    order = tuple(sorted(designs))
    size = max(len(points), screening_size(order, budget, first_rung))
    included = [order.index(point) for point in points]
    return [order[n] for n in d_optimal_fraction(order, size, seed, included=included)]
