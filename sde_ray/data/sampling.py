"""Sampling of a trial's examples: the same for every design, a smaller sample being the start of a larger one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from sde_ray.errors import UserError
from sde_ray.safe_json import stream_hash
from sde_ray.types import Example

EVAL_SEED = 0


def shuffle(examples: Iterable[Example], seed: int) -> list[Example]:
    """Shuffle: an order that depends on the seed and the examples' ids and texts only, not on their order."""
    return sorted(examples, key=lambda e: (_hash(f"{seed}\n{e.id}\n{e.text}"), e.id))


def draw(examples: Sequence[Example], n: int, seed: int) -> list[Example]:
    """Sample: the first `n` of one seeded order, so that `draw(examples, 10, s) == draw(examples, 20, s)[:10]`.

    Raises UserError: when `n` is below 1 or above the number of examples.
    """
    if n < 1:
        raise UserError(f"{n} examples were asked for. Expected 1 or more.")
    if n > len(examples):
        raise UserError(f"{n} examples were asked for, {len(examples)} are there. Lower the size or add data.")
    return shuffle(examples, seed)[:n]


def eval_items(examples: Sequence[Example], size: int) -> list[Example]:
    """The items of a split that are evaluated: `size` of them, or all if there are fewer.

    They do not depend on a trial's seed, and trials, the prompting study and the robustness study all take them from
    here: their scores are compared item by item.
    """
    return draw(examples, min(size, len(examples)), EVAL_SEED)


def fingerprint(examples: Iterable[Example]) -> str:
    """Content hash: sha256 of everything in the examples, in their order; 16 hex digits."""
    return stream_hash(json.dumps(asdict(one), sort_keys=True, ensure_ascii=False) + "\n" for one in examples)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
