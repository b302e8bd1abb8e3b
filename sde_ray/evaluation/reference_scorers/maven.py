"""The published scorer of MAVEN, reproduced for comparison: triggers by type, counted hard and soft.

    score("heuristic", task, [(target, prediction), ...])  -> PublishedScores({"f1": 0.5382, "tp": 67, ...}, 100, 0)

A rebuilding from PAPER.md 1.10 to 1.13. What decides a number stays: a prediction said twice is one hit and one false
positive, the soft match maps after duplicates are gone and so can count one gold trigger several times, and rows that
the heuristic form cannot read are dropped without counting as a wrong format. The published script took the gold of
every form from the heuristic test file; here a target is read in the form of its own line.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from sde_ray.evaluation.reference_scorers.literals import python_literal
from sde_ray.evaluation.reference_scorers.outcome import Crash, PublishedScores, Tally
from sde_ray.types import Task

Event = tuple[str, ...]
MIN_SIMILARITY = 0.5


def score(form: str, task: Task, lines: Sequence[tuple[str, str]]) -> PublishedScores:
    """The scorer's numbers for pairs of target and prediction; also how many predictions were empty."""
    hard, soft = Tally(), Tally()
    wrong, empty, crashes = 0, 0, []
    for number, (target, prediction) in enumerate(lines, 1):
        gold = _gold(form, target, task)
        predicted: list[Event] = []
        fault = False
        try:
            predicted, fault = parse(form, prediction, task)
            near = soften(predicted, [event[1] for event in gold])
        except Crash:
            crashes.append(number)
            predicted, fault, near = [], True, []
        wrong += fault
        empty += prediction == ""
        hard.add(sum(event in gold for event in set(predicted)), len(predicted), len(gold))
        soft.add(sum(event in gold for event in near), len(predicted), len(gold))
    scores = {**hard.scores(), **soft.scores("_soft"), "empty": float(empty)}
    return PublishedScores(scores, len(lines), wrong, tuple(crashes))


def _gold(form: str, target: str, task: Task) -> list[Event]:
    try:
        return [event for event in parse(form, target, task)[0] if len(event) > 1]
    except Crash:
        return []


def parse(form: str, text: str, task: Task) -> tuple[list[Event], bool]:
    """The events (type, trigger) that a text states, in lower case, and whether the scorer calls the format wrong."""
    if text == "":
        return [], True
    if form == "heuristic":
        return _pairs(text), False
    if form == "json":
        return _objects(text)
    if form == "numerical":
        return _numbered(text, task), False
    return _named(text.split(";" if form == "ou" else "\n"), placeholder=form == "lines"), False


def _pairs(text: str) -> list[Event]:
    events: list[Event] = []
    for row in text.split("\n"):
        try:
            value = python_literal(row.strip())
        except ValueError:
            continue
        if value != []:
            events.append(tuple(_lower(item) for item in _several(value)))
    return events


def _named(pieces: Sequence[str], placeholder: bool) -> list[Event]:
    events: list[Event] = []
    for piece in pieces:
        name, *rest = piece.split(":")
        if rest and placeholder and rest[0].strip() == "NONE":
            continue
        events += [(_lower(name), _lower(word)) for word in (rest[0].split(",") if rest else [""])]
    return events


def _numbered(text: str, task: Task) -> list[Event]:
    events: list[Event] = []
    for piece in text.split(";"):
        number, *rest = piece.split(":")
        if not rest:
            raise Crash
        triggers = [word for word in rest[0].split(",") if word.strip() != "NONE"]
        if triggers:
            events += [(_lower(_name(number, task)), _lower(word)) for word in triggers]
    return events


def _name(number: str, task: Task) -> str:
    try:
        return dict(enumerate(task.slots))[int(number)]
    except (ValueError, LookupError):
        raise Crash from None


def _objects(text: str) -> tuple[list[Event], bool]:
    events: list[Event] = []
    fault = False
    for row in text.split("\n"):
        try:
            value = python_literal(row.strip())
        except ValueError:
            fault = True
            continue
        try:
            name, triggers = value["event_type"], value["trigger word"]
        except (TypeError, LookupError):
            raise Crash from None
        triggers = triggers.strip().split(",") if isinstance(triggers, str) else triggers
        if isinstance(triggers, list):
            events += [(_lower(name), _lower(word)) for word in triggers]
        else:
            fault = True
    return events, fault


def _several(value: Any) -> list[Any]:
    if isinstance(value, int | float | complex | bytes) or value is None or value is ...:
        raise Crash
    return list(value)


def _lower(value: Any) -> str:
    if not isinstance(value, str):
        raise Crash
    return value.strip().lower()


def soften(events: Sequence[Event], gold: Sequence[str]) -> list[Event]:
    """Each distinct event with the gold trigger that is most like its own, where one is near."""
    mapped = []
    for event in set(events):
        if len(event) < 2 or not gold:
            raise Crash  # the list index out of range, and the maximum of nothing
        ratios = [SequenceMatcher(a=event[1], b=trigger).ratio() for trigger in gold]
        best = gold[ratios.index(max(ratios))].lower().strip() if max(ratios) > MIN_SIMILARITY else event[1]
        mapped.append((event[0], best, *event[2:]))
    return mapped
