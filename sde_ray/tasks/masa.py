"""Multi-aspect sentiment analysis of English restaurant reviews, with bundled data (paper section 1.5).

Two domains of aspects, each out-of-domain for the other: new aspects, the same kind of text and the same labels.
    the soup was tasty, but we queued for an hour.
    d1: {"food": ("positive",)}     d2: {"queueing": ("negative",)}
"""

from __future__ import annotations

from collections.abc import Mapping

from sde_ray.tasks.bundled import bundled
from sde_ray.types import PromptNouns, Task

SLOTS: Mapping[str, tuple[str, ...]] = {
    "d1": ("food", "drinks", "price", "hygiene", "staff", "parking"),
    "d2": ("transport", "queueing", "serving speed", "decoration", "noise"),
}
LABELS = ("positive", "negative", "neutral")
NUMBERS = {"positive": "1", "negative": "-1", "neutral": "0", "unmentioned": "-2"}
LABEL_DEFINITIONS = {
    "positive": "It is praised.",
    "negative": "There is a complaint about it.",
    "neutral": "It is mentioned without praise or complaint, or with both.",
    "unmentioned": "Nothing is said of it.",
}
SLOT_DEFINITIONS = {
    "food": "What is eaten: taste, freshness, portions.",
    "drinks": "What is drunk: wine, beer, coffee and tea.",
    "price": "What it costs, and whether that is fair.",
    "hygiene": "How clean the place and its tableware are.",
    "staff": "How the people who work there treat guests.",
    "parking": "Whether a car can be left nearby.",
    "transport": "How the place is reached, by bus, train or on foot.",
    "queueing": "How long guests wait for a table.",
    "serving speed": "How long dishes take to come.",
    "decoration": "How the rooms look.",
    "noise": "How loud it is.",
}
LABEL_WORDS = {"": {"positive": "great", "negative": "terrible", "neutral": "okay"}}
METRICS = ("weighted_kappa", "kappa", "accuracy", "sentence_accuracy", "macro_f1")
INSTRUCTIONS = (
    "Read the {text} {where} and rate these {slot}s: {slots}. Ratings: {labels}.",
    "What does the {text} {where} say about {slots}? Choose from {labels}.",
    "Find the {value} of the {text} {where} towards its {slot}s, one of {labels}. The {slot}s: {slots}.",
)
WORDINGS = {
    "omit": "Leave out unmentioned {slot}s; if all are, write: {marker}",
    "no_rationale": "not mentioned",
}


def _task(domain: str) -> Task:
    return Task(
        name=f"masa:{domain}",
        kind="label",
        language="en",
        slots=SLOTS[domain],
        nouns=PromptNouns(text="review", slot="aspect", value="sentiment", rationale="reason"),
        instructions=INSTRUCTIONS,
        metrics=METRICS,
        objective="weighted_kappa",
        load=bundled("masa", domain),
        labels=LABELS,
        numbers=NUMBERS,
        placeholder="unmentioned",
        domains=tuple(f"masa:{other}" for other in SLOTS if other != domain),
        wordings=WORDINGS,
        definitions={slot: SLOT_DEFINITIONS[slot] for slot in SLOTS[domain]} | LABEL_DEFINITIONS,
        label_words=LABEL_WORDS,
    )


TASKS = tuple(_task(domain) for domain in SLOTS)
