"""The words of a rationale that stand in the text, for `reasoning=keywords`: a few key tokens suffice (2406.14511).

keywords("the nice, warm soup", "The soup was warm.", "en")     ->  "warm soup"
keywords("菜的味道一般，不贵", "味道一般，但是不贵。", "zh")       ->  "味道一般 不贵"
"""

from __future__ import annotations

import re
from collections.abc import Iterator

STOP_WORDS = frozenset(
    "a about all also an and any are as at be because been but by can did do does for from had has have he her his how "
    "i if in into is it its just me more most my no nor not of on one or our out she so some such than that the their "
    "them then there these they this those to too up very was we were what when which while who will with would you "
    "your mentioned says said text".split()
)
STOP_CHUNKS = frozenset("因为 所以 但是 而且 这个 那个 没有 提到 文中 我们 他们 如文 所述".split())
LONGEST = 200  # characters of a Chinese rationale between two marks that are looked through


def keywords(rationale: str, text: str, language: str) -> str:
    """The content words of a rationale that stand in the text, in the rationale's order; empty where there is none."""
    pieces = _chunks(rationale, text) if language == "zh" else _words(rationale, text)
    return " ".join(dict.fromkeys(pieces))


def _words(rationale: str, text: str) -> Iterator[str]:
    in_text = {word.casefold() for word in _split(text)}
    for word in _split(rationale):
        if word.casefold() in in_text and word.casefold() not in STOP_WORDS:
            yield word


def _split(text: str) -> list[str]:
    return re.findall(r"\w+(?:['’./-]\w+)*", text)


def _chunks(rationale: str, text: str) -> Iterator[str]:
    """The longest pieces of two characters or more that stand in the text: Chinese does not part its words."""
    for run in re.findall(r"\w+", rationale):
        run, start = run[:LONGEST], 0
        while start < len(run) - 1:
            end = next((end for end in range(len(run), start + 1, -1) if run[start:end] in text), start)
            if end > start and run[start:end] not in STOP_CHUNKS:
                yield run[start:end]
            start = max(end, start + 1)
