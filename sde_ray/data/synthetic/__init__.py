"""Synthetic datasets, bundled: examples made by seeded generators in this package, copied from no data set.

    load("masa", "d1", "train") -> [Example("masa-d1-train-0", "the soup was ...", {"food": ("negative",)}, ...), ...]

Sizes are `SIZES`; the splits of a set are disjoint, also by text, and also from every text that the embedded base model
was pretrained on (`reserved` lists the texts that the pretraining corpus leaves out). Made on the fly, the same to the
letter on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from random import Random

from sde_ray.data.synthetic import entities, events, questions, relations, reviews, tables
from sde_ray.data.synthetic.lexicon import ASPECTS
from sde_ray.data.table_text import RecordStyle, TableItem, write_item
from sde_ray.types import Example, Split

SIZES: dict[str, int] = {"train": 2000, "dev": 500, "test": 1000}
SPLITS: tuple[Split, ...] = ("train", "dev", "test")
DOMAINS: dict[str, tuple[str, ...]] = {
    "d1": ("food", "drinks", "price", "hygiene", "staff", "parking"),
    "d2": ("transport", "queueing", "serving speed", "decoration", "noise"),
}
NO_ANSWER_EVIDENCE = "the text does not tell"


def _masa(domain: str) -> Callable[[Random, str], Example]:
    aspects = [ASPECTS[name] for name in DOMAINS[domain]]
    others = [ASPECTS[name] for other, names in DOMAINS.items() if other != domain for name in names]

    def make(random: Random, name: str) -> Example:
        review = reviews.review(random, aspects, others)
        answer = {slot: (review.labels[slot],) for slot in DOMAINS[domain] if slot in review.labels}
        return Example(name, review.text, answer, {slot: review.evidence[slot] for slot in answer})

    return make


def _marked(sentence: Callable[[Random], entities.Marked], reason: str) -> Callable[[Random, str], Example]:
    def make(random: Random, name: str) -> Example:
        marked = sentence(random)
        rationale = {kind: reason.format(n=len(spans), kind=kind) for kind, spans in marked.mentions.items()}
        return Example(name, marked.text, dict(marked.mentions), rationale)

    return make


def _question(random: Random, name: str) -> Example:
    asked = questions.question(random)
    if not asked.answer:
        return Example(name, asked.text, {}, {"answer": NO_ANSWER_EVIDENCE})
    return Example(name, asked.text, {"answer": (asked.answer,)}, {"answer": asked.evidence}, {"answer": asked.aliases})


def _relations(told: tuple[str, ...]) -> Callable[[Random, str], Example]:
    def make(random: Random, name: str) -> Example:
        text, facts = relations.facts(random, told)
        rows = [{"head": f.head, "relation": f.relation, "tail": f.tail} | ({"year": f.year} if f.year else {})
                for f in facts]  # fmt: skip
        answer = {"relation": tuple(json.dumps(row) for row in rows)} if rows else {}
        return Example(name, text, answer, {"relation": "; ".join(f.clause for f in facts)} if facts else {})

    return make


_MAKERS: dict[str, dict[str, Callable[[Random, str], Example]]] = {
    "masa": {domain: _masa(domain) for domain in DOMAINS},
    "nested_ner": {"all": _marked(entities.sentence, "{n} found")},
    "events": {"all": _marked(events.sentence, "{n} found")},
    "qa": {"all": _question},
    "relations": {"d1": _relations(relations.D1), "d2": _relations(relations.D2)},
}


@cache
def _splits(task: str, domain: str) -> dict[str, tuple[Example, ...]]:
    make = _MAKERS[task][domain]
    random = Random(f"sde_ray made {task} {domain}")
    seen: set[str] = set()
    splits: dict[str, tuple[Example, ...]] = {}
    for split, size in SIZES.items():
        examples: list[Example] = []
        while len(examples) < size:
            example = make(random, f"{task}-{domain}-{split}-{len(examples)}")
            if example.text not in seen:
                seen.add(example.text)
                examples.append(example)
        splits[split] = tuple(examples)
    return splits


def load(task: str, domain: str, split: Split) -> list[Example]:
    """All examples of a split, in a fixed order."""
    return list(_splits(task, domain)[split])


@cache
def table_items(task: str) -> dict[Split, tuple[TableItem, ...]]:
    """The instances of a table task by split. No two have the same text, in whatever way their records are written."""
    random = Random(f"sde_ray made {task} tables")
    seen: set[str] = set()
    by_split: dict[Split, tuple[TableItem, ...]] = {}
    for split in SPLITS:
        items: list[TableItem] = []
        while len(items) < SIZES[split]:
            item = tables.MAKERS[task](random, f"{task}-{split}-{len(items)}")
            text = write_item(item, "", RecordStyle("sentences")).text.casefold()
            if text not in seen:
                seen.add(text)
                items.append(item)
        by_split[split] = tuple(items)
    return by_split


def reserved() -> frozenset[str]:
    """Every bundled text, of all tasks and splits: pretraining leaves these out."""
    return frozenset(
        example.text
        for task, domains in _MAKERS.items()
        for domain in domains
        for examples in _splits(task, domain).values()
        for example in examples
    )
