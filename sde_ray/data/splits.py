"""Train, dev and test splits that share no text: overlap is refused or dropped, a missing split is cut from train.

Two texts are the same if they differ in case and white space only. The published code took the first rows of one file
for training and the last for validation without a check (PAPER.md 1.13, 13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from sde_ray.data.sampling import shuffle
from sde_ray.errors import UserError
from sde_ray.types import Example, Split

ORDER: tuple[Split, ...] = ("train", "dev", "test")
CUT_SHARE, MAX_CUT = 0.1, 1000
"""A missing dev or test split is a tenth of the train examples, one at least and a thousand at most."""


@dataclass(frozen=True)
class Splits:
    """The examples by split; in words, the copies that were `dropped` and the splits that were `cut` from train.

    `formats`: the data format of every split that has a file of its own. `notes`: what its author may not expect.
    """

    examples: Mapping[Split, tuple[Example, ...]]
    dropped: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    formats: Mapping[Split, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def same_text(text: str) -> str:
    """Normalised text, equal for texts that differ in case and white space only."""
    return " ".join(text.casefold().split())


def separate(by_split: Mapping[Split, Sequence[Example]], overlap: Literal["error", "drop"], title: str) -> Splits:
    """Disjoint train, dev and test splits from those at hand; a missing one is cut from train.

    `overlap="error"`: a text in two splits is a `UserError` with the first ids. `"drop"`: it stays in the later split
    (test before dev before train), and a note counts what was dropped.
    """
    if not by_split.get("train"):
        raise UserError(f"{title} has no train split. Give one; dev and test can be cut from it.")
    if overlap == "error":
        _refuse(by_split, title)
    disjoint, dropped = _drop(by_split)
    for split in disjoint:
        if not disjoint[split]:
            raise UserError(f"{title}: every {split} text is also in a later split. Give {split} texts of its own.")
    texts, missing = len({same_text(example.text) for example in disjoint["train"]}), 3 - len(disjoint)
    if missing and texts <= missing:
        raise UserError(f"{title}: {texts} train texts are too few to cut the missing splits from. Give 3 or more.")
    cut = []
    for split in ("test", "dev"):
        if split not in disjoint:
            disjoint["train"], disjoint[split] = _cut(disjoint["train"])
            cut.append(f"{split}: {len(disjoint[split])} examples cut from train, as there was no {split} split")
    return Splits({split: tuple(disjoint[split]) for split in ORDER}, tuple(dropped), tuple(cut))


def _refuse(by_split: Mapping[Split, Sequence[Example]], title: str) -> None:
    faults = []
    for one, other in combinations([split for split in ORDER if split in by_split], 2):
        first = {same_text(example.text): example.id for example in by_split[one]}
        shared = {
            same_text(example.text): example.id for example in by_split[other] if same_text(example.text) in first
        }
        if shared:
            pairs = [f'"{first[text]}" = "{name}"' for text, name in list(shared.items())[:3]]
            faults.append(f"{one} and {other} share {len(shared)} texts, first {', '.join(pairs)}")
    if faults:
        raise UserError(
            f"{title}: {'; '.join(faults)}. Splits must be disjoint, also by text. "
            "Delete the copies, or set `overlap: drop` to keep them in the later split only."
        )


def _drop(by_split: Mapping[Split, Sequence[Example]]) -> tuple[dict[Split, list[Example]], list[str]]:
    seen: set[str] = set()
    disjoint: dict[Split, list[Example]] = {}
    dropped = []
    for split in reversed(ORDER):
        if split in by_split:
            disjoint[split] = [example for example in by_split[split] if same_text(example.text) not in seen]
            seen |= {same_text(example.text) for example in by_split[split]}
            if count := len(by_split[split]) - len(disjoint[split]):
                dropped.append(
                    f"{split}: {count} of {len(by_split[split])} examples dropped, their text is in a later split"
                )
    return disjoint, dropped


def _cut(train: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Train and a part cut from it, the same for the same examples in any order; copies of a text stay together."""
    by_text: dict[str, Example] = {}
    for example in sorted(train, key=lambda e: e.id):
        by_text.setdefault(same_text(example.text), example)
    size = min(MAX_CUT, max(1, int(len(train) * CUT_SHARE)))
    chosen = {same_text(example.text) for example in shuffle(by_text.values(), seed=0)[:size]}
    rest = [example for example in train if same_text(example.text) not in chosen]
    return rest, [example for example in train if same_text(example.text) in chosen]
