"""Results of a published scorer on a file, and micro-averaged precision, recall and F1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class Crash(Exception):
    """The published scorer ends here with a traceback, so it has no number for the line."""


@dataclass(frozen=True)
class PublishedScores:
    """The published scorer's numbers. A score of None: it writes a backslash in place of one.

    `wrong_format` counts what it calls so. `crashes`: lines on which it would have ended with an exception; they are
    counted as wrong without any prediction, which is ours to say, as it has no number for such a file.
    """

    scores: Mapping[str, float | None]
    items: int
    wrong_format: int
    crashes: tuple[int, ...] = ()


@dataclass
class Tally:
    """Micro-averaged counts: true positives, false positives, false negatives.

    The last may be negative in MAVEN's soft count (PAPER.md 1.13, 22).
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def add(self, correct: int, predicted: int, gold: int) -> None:
        """Count one line: how many of its predictions are correct, how many there are, how many gold ones."""
        self.tp, self.fp, self.fn = self.tp + correct, self.fp + predicted - correct, self.fn + gold - correct

    def scores(self, suffix: str = "") -> dict[str, float | None]:
        """Micro precision, recall and F1; 0 where a denominator is 0."""
        precision = self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0
        recall = self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0
        total = precision + recall
        f1 = 2 * precision * recall / total if total else 0.0
        counts = {"tp": self.tp, "fp": self.fp, "fn": self.fn}
        named = {"precision": precision, "recall": recall, "f1": f1, **counts}
        return {name + suffix: float(value) for name, value in named.items()}
