"""Span matching: when two strings name the same thing, and how many of them can be paired one to one.

`count_matches` is a maximum bipartite matching: a prediction pairs with one gold value at most and the other way round.
The published soft score mapped every prediction to its nearest gold value, so that three near-copies of one trigger
gave three true positives and a negative count of misses (PAPER.md 1.13, 22), and failed on a sentence without gold
values (1.13, 23).
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|\w+")
"""A word, or one character of a script that writes no spaces between words."""

_NEAR = 0.5


def normalize(text: str) -> str:
    """Normalise a string: no differences of case and white space."""
    return " ".join(text.casefold().split())


def words(text: str) -> tuple[str, ...]:
    """Words of a string without case, punctuation, compatibility forms and English articles (never nothing).

    >>> words("The U.S.A.")
    ('u', 's', 'a')
    """
    whole = normalize(unicodedata.normalize("NFKC", text))
    matches = tuple(_WORD.findall(whole))
    return tuple(word for word in matches if word not in {"a", "an", "the"}) or matches or (whole,)


def contains(text: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `text` contains the words of `part`, next to each other ("Iran" is not in "Iranian")."""
    return any(tuple(text[i : i + len(part)]) == tuple(part) for i in range(len(text) - len(part) + 1))


def is_near(one: str, other: str) -> bool:
    """Whether two spans are near: difflib ratio above 0.5 (events, PAPER.md 1.10)."""
    if one == other:
        return True
    match = difflib.SequenceMatcher(None, one, other, autojunk=False)
    # The first two are upper bounds of the third, which takes the square of the length of a model's endless span.
    return match.real_quick_ratio() > _NEAR and match.quick_ratio() > _NEAR and match.ratio() > _NEAR


def is_near_and_within(one: str, other: str) -> bool:
    """Whether two spans are near and one contains the other (entities, PAPER.md 1.10)."""
    return (one in other or other in one) and is_near(one, other)


def count_matches(gold: Sequence[str], predicted: Sequence[str], same: Callable[[str, str], bool]) -> int:
    """Size of a maximum matching of (gold, predicted) pairs with `same(gold, predicted)`, by augmenting paths.

    Each value is used once.
    """
    like: dict[str, list[int]] = {}
    for one in predicted:
        if one not in like:
            like[one] = [i for i, value in enumerate(gold) if same(value, one)]
    edges = [like[one] for one in predicted]
    partner: dict[int, int] = {}
    return sum(len(partner) < len(gold) and _settle(one, edges, partner) for one in range(len(predicted)))


def _settle(start: int, edges: Sequence[Sequence[int]], partner: dict[int, int]) -> bool:
    """Pair `start`, moving others to further partners where that makes room (breadth first: chains may be long)."""
    came_from: dict[int, int] = {}  # gold value -> the prediction that would take it
    holds: dict[int, int] = {}  # prediction on the way -> the gold value that it has now
    waiting = [start]
    for one in waiting:
        for i in edges[one]:
            if i in came_from:
                continue
            came_from[i] = one
            if i in partner:
                holds[partner[i]] = i
                waiting.append(partner[i])
                continue
            free: int | None = i
            while free is not None:  # everybody on the way moves by one
                partner[free] = came_from[free]
                free = holds.get(partner[free])
            return True
    return False
