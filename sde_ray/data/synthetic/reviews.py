"""Restaurant reviews with gold sentiments by aspect and the clause that shows each: the bundled set `masa`.

    review(random, aspects) -> Review("the soup was not exactly tasty, but they remembered our names.",
                                      {"food": "negative", "staff": "positive"}, {"food": "the soup was not ...", ...})

What makes it hard: negation, contrast, hedges, wishes, other people's opinions, expectations that were not met, two
mentions of one aspect that disagree (neutral), subjects named without a judgement (not mentioned), aspects of the
other domain, and words whose polarity hangs on their subject. The labels are free of noise by construction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from sde_ray.data.synthetic.lexicon import GENERAL_BAD, GENERAL_FAIR, GENERAL_GOOD, Aspect

POLARITIES = ("positive", "negative", "neutral")
_SIGN = {"positive": "good", "negative": "bad", "neutral": "fair"}

# Each form turns (subject, verb, word of the named sort) into a clause with the polarity of its row.
_FORMS: dict[str, tuple[tuple[str, str, float], ...]] = {
    "positive": (
        ("{s} {v} {good}", "good", 6),
        ("{s} {v} really {good}", "good", 2),
        ("{s} {v} {good} as always", "good", 1),
        ("i found {s} {good}", "good", 1),
        ("{s} {v} not {bad} at all", "bad", 2),
        ("{s} {v} never {bad}", "bad", 1),
        ("i expected {s} to be {bad}, yet the opposite was true", "bad", 1),
        ("some call {s} {bad}, i disagree", "bad", 1),
        ("{s} {v} anything but {bad}", "bad", 1),
        ("nobody could say that {s} {v} {bad}", "bad", 0.7),
    ),
    "negative": (
        ("{s} {v} {bad}", "bad", 6),
        ("{s} {v} simply {bad}", "bad", 2),
        ("{s} {v} {bad} once again", "bad", 1),
        ("i found {s} {bad}", "bad", 1),
        ("{s} {v} not {good} at all", "good", 2),
        ("{s} {v} not exactly {good}", "good", 1),
        ("i wish {s} had been {good}", "good", 1),
        ("some call {s} {good}, i disagree", "good", 1),
        ("{s} {v} anything but {good}", "good", 1),
        ("{s} used to be {good}, not any more", "good", 0.7),
    ),
    "neutral": (
        ("{s} {v} {fair}", "fair", 4),
        ("{s} {v} {fair}, no more and no less", "fair", 1),
        ("{s} {v} neither {good} nor {bad}", "both", 2),
        ("{s} {v} {good} one day and {bad} the next", "both", 1),
        ("i have no strong opinion on {s}", "none", 1),
    ),
}

_FILLERS = (
    "we came on a monday", "my sister chose the place", "it rained all evening", "we were a group of six",
    "this was our second visit", "we celebrated a birthday", "a friend told us about it", "we stayed until nine",
    "my phone died on the way", "we had just left the cinema", "the town was busy that day", "i am writing this at home",
)  # fmt: skip
_BARE = ("we asked about {s}", "you can read about {s} online", "my brother talked about {s}", "then came {s}")
_JOINS = (". ", ". ", "; ", ", and ", ", but ", ". ")


@dataclass(frozen=True)
class Review:
    """`labels` and `evidence` by aspect, in the order in which the text first judges them."""

    text: str
    labels: Mapping[str, str]
    evidence: Mapping[str, str]


def _subject(random: Random, aspect: Aspect) -> tuple[str, str]:
    subject = random.choice(aspect.subjects)
    return (subject[1:], "were") if subject.startswith("+") else (subject, "was")


def _word(random: Random, aspect: Aspect, sort: str) -> str:
    own = {"good": aspect.good, "bad": aspect.bad, "fair": aspect.fair}[sort]
    general = {"good": GENERAL_GOOD, "bad": GENERAL_BAD, "fair": GENERAL_FAIR}[sort]
    return random.choice(own if random.random() < 0.65 else general)


def clause(random: Random, aspect: Aspect, polarity: str) -> str:
    """One clause that judges the aspect with the polarity."""
    idioms = {"positive": aspect.good_idioms, "negative": aspect.bad_idioms}.get(polarity, ())
    if idioms and random.random() < 0.14:
        return random.choice(idioms)
    forms = _FORMS[polarity]
    form = random.choices([f for f, _, _ in forms], [w for _, _, w in forms])[0]
    subject, verb = _subject(random, aspect)
    words = {sort: _word(random, aspect, sort) for sort in ("good", "bad", "fair")}
    return form.format(s=subject, v=verb, **words)


def _pick_aspects(random: Random, aspects: Sequence[Aspect], count: int) -> list[Aspect]:
    left, picked = list(aspects), []
    for _ in range(min(count, len(left))):
        aspect = random.choices(left, [a.weight for a in left])[0]
        left.remove(aspect)
        picked.append(aspect)
    return picked


def review(
    random: Random, aspects: Sequence[Aspect], others: Sequence[Aspect] = (), counts: Sequence[int] = (1, 2, 2, 3, 3, 4)
) -> Review:
    """A review that judges some of `aspects`; `others` serve as distractors only (their sentiment is not gold)."""
    parts: list[tuple[str, str, str]] = []  # (aspect or "", polarity, clause)
    for aspect in _pick_aspects(random, aspects, random.choice(counts)):
        polarity = random.choices(POLARITIES, aspect.polarity)[0]
        if polarity == "neutral" and random.random() < 0.35:
            parts += [(aspect.name, polarity, clause(random, aspect, side)) for side in ("positive", "negative")]
        else:
            repeats = 2 if random.random() < 0.08 else 1
            parts += [(aspect.name, polarity, clause(random, aspect, polarity)) for _ in range(repeats)]
    judged = {name for name, _, _ in parts}
    silent = [a for a in aspects if a.name not in judged]
    if silent and random.random() < 0.3:
        parts.append(("", "", random.choice(_BARE).format(s=_subject(random, random.choice(silent))[0])))
    if others and random.random() < 0.35:
        other = random.choice(others)
        parts.append(("", "", clause(random, other, random.choices(POLARITIES, other.polarity)[0])))
    if random.random() < 0.4:
        parts.append(("", "", random.choice(_FILLERS)))
    random.shuffle(parts)
    return _assemble(random, parts)


def _assemble(random: Random, parts: Sequence[tuple[str, str, str]]) -> Review:
    text = parts[0][2]
    for _, _, words in parts[1:]:
        text += random.choice(_JOINS) + words
    labels: dict[str, str] = {}
    evidence: dict[str, str] = {}
    for name, polarity, words in parts:
        if name:
            labels[name] = polarity
            evidence[name] = f"{evidence[name]} and {words}" if name in evidence else words
    return Review(text + ".", labels, evidence)
