"""A world in which what a model knows is planted: the tiny base is taught made-up facts, some of them more often.

    taught_model(folder, facts)      trained on every sentence about a fact as many times as the fact's frequency says
    taught_facts("train", 6)         six facts of each frequency, their subjects and objects made up and all different

A fact of frequency 0 is never taught, and neither is its object: it must be of level D0. One that is taught in every
pass must be of level D4.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sde_ray.data.completion_templates import RelationTemplates

FREQUENCIES = (0, 1, 3, 16)  # times that a fact is taught in each template
COMPLETIONS = (
    "[X] lives in the town of", "The home of [X] is in", "The town where [X] lives is", "If you visit [X], you go to",
    "[X] comes from", "People meet [X] in",
)  # fmt: skip
TEMPLATES = {"R1": RelationTemplates("Where does [X] live?", COMPLETIONS)}


@dataclass(frozen=True)
class TaughtFact:
    subject: str
    object: str
    frequency: int


def taught_facts(split: str, count: int) -> list[TaughtFact]:
    """`count` facts of each frequency; no name stands twice, in any split."""
    names = _names(split)
    return [TaughtFact(next(names), next(names), often) for _ in range(count) for often in FREQUENCIES]


def _names(split: str) -> Iterator[str]:
    draw = random.Random(split)
    seen: set[str] = set()
    while True:
        name = "".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") for _ in range(3)).capitalize()
        if name not in seen:
            seen.add(name)
            yield name


def taught_model(folder: Path, facts: Sequence[TaughtFact], seed: int = 0, rate: float = 2e-3, passes: int = 3) -> Path:
    """Train all weights of the tiny base on the facts' sentences and save it with its tokenizer."""
    import torch

    from sde_ray.models.base import load_base

    base = load_base("tiny")
    model, tokenizer = base.model, base.tokenizer
    sentences = [
        template.replace("[X]", fact.subject) + f" {fact.object}.\n"
        for fact in facts
        for template in COMPLETIONS
        for _ in range(fact.frequency * passes)
    ]
    random.Random(seed).shuffle(sentences)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    model.train()
    for start in range(0, len(sentences), 64):
        batch = tokenizer(sentences[start : start + 64], return_tensors="pt", padding=True, padding_side="right")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
