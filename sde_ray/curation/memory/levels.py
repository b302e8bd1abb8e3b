"""Memory levels D0..D4: shares of a fact's completions that hold its object, and how sure these are.

    R = hits / (templates x samples)        D0: R = 0, D1: (0, .25], D2: (.25, .5], D3: (.5, .75], D4: (.75, 1]

The edges are exact: levels are computed on whole numbers (PAPER.md 2.4). D0 means "never in that many completions", not
"unknown to the model", so every share has its binomial error.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LEVELS = (0, 1, 2, 3, 4)
RULES = ("words", "substring")
Z = 1.959964  # two-sided 95%


def level_of(hits: int, trials: int) -> int:
    """The memory level of `hits` among `trials` completions."""
    assert 0 <= hits <= trials and trials > 0, (hits, trials)
    return -(-4 * hits // trials)


def wilson_interval(hits: float, trials: float) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson 1927); sensible also at 0 and 1, where the standard error is 0."""
    if not trials:
        return 0.0, 1.0
    share, square = hits / trials, Z * Z
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z / (1 + square / trials) * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class FactMemory:
    """What a model remembers of a fact: hits by template under both rules, out of `samples` completions of each.

    words: the object, or an alias, stands in the completion as whole words. substring: it is a substring, as published.
    """

    id: str
    relation: str
    samples: int
    words: tuple[int, ...]
    substring: tuple[int, ...]

    @property
    def trials(self) -> int:
        """Number of completions."""
        return self.samples * len(self.words)

    def hits(self, rule: str) -> int:
        return sum(self.words if rule == "words" else self.substring)

    def rate(self, rule: str) -> float:
        """R, the share of completions that hold the object."""
        return self.hits(rule) / self.trials

    def level(self, rule: str) -> int:
        return level_of(self.hits(rule), self.trials)

    def sampling_error(self, rule: str) -> float:
        """Binomial standard error of R, with one hit and one miss added, so that R = 0 is not taken for certain."""
        share = (self.hits(rule) + 1) / (self.trials + 2)
        return math.sqrt(share * (1 - share) / self.trials)

    def halves(self, rule: str) -> tuple[int, int, int, int]:
        """Hits and completions of the templates with even and with odd numbers: two measurements of one fact."""
        by_template = self.words if rule == "words" else self.substring
        even, odd = by_template[0::2], by_template[1::2]
        return sum(even), self.samples * len(even), sum(odd), self.samples * len(odd)

    def to_dict(self) -> dict[str, Any]:
        return {
            "relation": self.relation,
            "samples": self.samples,
            "words": list(self.words),
            "substring": list(self.substring),
        }


def fact_memory(fact_id: str, value: Mapping[str, Any]) -> FactMemory:
    """The inverse of `FactMemory.to_dict`."""
    hits = (tuple(int(n) for n in value[rule]) for rule in RULES)
    return FactMemory(fact_id, str(value["relation"]), int(value["samples"]), *hits)


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval."""

    count: int
    total: int

    @property
    def value(self) -> float:
        return self.count / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.count, self.total)

    def to_dict(self) -> dict[str, Any]:
        low, high = self.interval
        return {"facts": self.count, "share": self.value, "low": low, "high": high}


@dataclass(frozen=True)
class LevelTable:
    """Facts by level, as a whole and by relation, under one rule.

    `agreement`: the share of facts whose two halves of the templates give the same level, which says how far a level
    can be trusted. `typical_error`: the root mean square of the sampling errors of R.
    """

    rule: str
    shares: tuple[Share, ...]
    by_relation: Mapping[str, tuple[int, ...]]
    agreement: Share
    typical_error: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "levels": {f"D{level}": share.to_dict() for level, share in zip(LEVELS, self.shares, strict=True)},
            "relations": {relation: list(counts) for relation, counts in self.by_relation.items()},
            "half_agreement": self.agreement.to_dict(),
            "sampling_error": self.typical_error,
        }


def level_table(memories: Sequence[FactMemory], rule: str) -> LevelTable:
    """Count facts by level and relation."""
    counts = _counts(one.level(rule) for one in memories)
    relations = sorted({one.relation for one in memories})
    by_relation = {
        relation: _counts(one.level(rule) for one in memories if one.relation == relation) for relation in relations
    }
    halves = [one.halves(rule) for one in memories if len(one.words) > 1]
    agree = sum(level_of(even, n) == level_of(odd, m) for even, n, odd, m in halves)
    squares = [one.sampling_error(rule) ** 2 for one in memories]
    error = math.sqrt(sum(squares) / len(squares)) if squares else 0.0
    shares = tuple(Share(count, len(memories)) for count in counts)
    return LevelTable(rule, shares, by_relation, Share(agree, len(halves)), error)


def _counts(levels: Iterable[int]) -> tuple[int, ...]:
    counts = [0] * len(LEVELS)
    for level in levels:
        counts[level] += 1
    return tuple(counts)
