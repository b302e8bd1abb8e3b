"""The published scorer of GENIA, reproduced for comparison: entities cut at commas, counted hard and soft.

    score("es", task, [(target, prediction), ...])  -> PublishedScores({"f1": ..., "f1_soft": ..., "tp": ...}, 1854, 3)

A rebuilding from PAPER.md 1.10 to 1.13. What decides a number stays: brackets are dropped, the first and last character
of a field is taken for a quote, "alpha, beta chain" is cut at its comma, an empty name is an entity in `ew`.
`wrong_format` is the scorer's own count of lines with an unknown type, which it never printed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher

from sde_ray.evaluation.reference_scorers.outcome import Crash, PublishedScores, Tally
from sde_ray.types import Task

Entity = tuple[str, str]
MIN_SIMILARITY = 0.5


def score(form: str, task: Task, lines: Sequence[tuple[str, str]]) -> PublishedScores:
    """The scorer's numbers for pairs of target and prediction."""
    hard, soft = Tally(), Tally()
    wrong, crashes = 0, []
    for number, (target, prediction) in enumerate(lines, 1):
        try:
            gold = [(slot, name.lower()) for slot, name in parse(form, target, strict=True)]
            if any(slot not in task.slots for slot, _ in gold):
                raise Crash
        except Crash:
            crashes.append(number)
            continue
        gold = [(slot.lower(), name) for slot, name in gold]
        predicted = [(slot.lower(), name.lower()) for slot, name in parse(form, prediction)]
        wrong += any(slot not in {slot_name.lower() for slot_name in task.slots} for slot, _ in predicted)
        names = [name for _, name in gold]
        near = [(slot, nearest(name, names)) for slot, name in predicted]
        hard.add((Counter(gold) & Counter(predicted)).total(), len(predicted), len(gold))
        soft.add((Counter(gold) & Counter(near)).total(), len(near), len(gold))
    return PublishedScores({**hard.scores(), **soft.scores("_soft")}, len(lines), wrong, tuple(crashes))


def parse(form: str, text: str, strict: bool = False) -> list[Entity]:
    """The entities that a text states. `strict`: as targets are read, where a slip ends the scorer."""
    entities: list[Entity] = []
    for piece in _pieces(form, text):
        try:
            entities += _pairs(piece) if form == "heuristic" else _names(piece, ": " if strict else ":", form == "es")
        except IndexError:
            if strict:
                raise Crash from None
    return entities


def _pieces(form: str, text: str) -> list[str]:
    if form == "es":
        return text.split("\n")
    return (text.split("\n") if form == "heuristic" else text.split("; ")) if text else []


def _pairs(row: str) -> list[Entity]:
    fields = row.replace("[", "").replace("]", "").split(",")
    return [(fields[0][1:-1], fields[1][1:-1])]


def _names(piece: str, colon: str, drops_empty: bool) -> list[Entity]:
    parts = piece.split(colon)
    names = [name.strip().replace("'", "") for name in parts[1].strip().split(",")]
    if drops_empty and names == [""]:
        return []
    return [(parts[0].strip().replace("'", ""), name) for name in names]


def nearest(name: str, gold: Sequence[str]) -> str:
    """The gold name that is most like `name`, if it is near and one of the two contains the other; else `name`."""
    name = name.strip()
    ratios = [SequenceMatcher(a=name, b=candidate).ratio() for candidate in gold]
    if not ratios or max(ratios) <= MIN_SIMILARITY:
        return name
    best = gold[ratios.index(max(ratios))].lower().strip()
    return best if best in name or name in best else name
