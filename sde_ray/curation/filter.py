"""Filter: samples are drawn from the best texts of the train split that its rules leave (`filter: [off, 1, 0.3]`).

    train split ─score─▶ best 30% ─rules─▶ no foreign, broken or doubled text ─draw─▶ train_size examples

The order is that of Ziya2 (2311.03301), with the untuned base in place of a model of Wikipedia: a text that the base
finds likely is a good one. `filter=1` has rules only. Thresholds are of the whole train split, whatever is drawn from
it. Every example that goes in is kept, or dropped for one reason that is counted; `filter_audit.jsonl` in the trial's
folder has some of each. Likely texts are not those with rare labels, so the labels before and after are counted, too.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sde_ray.config.curation import Filter as Settings
from sde_ray.curation.filter_rules import NOT_INSTALLED, RULES, Dropped, apply_rules, label_counts
from sde_ray.errors import UserError
from sde_ray.safe_json import content_hash
from sde_ray.tasks.trial_task import trial_examples, trial_task
from sde_ray.training.curation import Method
from sde_ray.types import Example

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation
    from sde_ray.training.worker import Worker

SHOWN_TEXT = 500  # characters of a text in the audit file
COUNTED_LABELS = 40  # the rarest ones, in a trial's result
SHOWN_LABELS = 3


class Filter(Method):
    """The best share of the texts, without what the rules drop; `value` is the share."""

    def faults(self) -> Iterable[str]:
        missing = [RULES[name].needs for name in self.settings.rules if RULES[name].needs]
        if any(find_spec(name) is None for name in missing):
            yield NOT_INSTALLED
        if self.settings.min_characters > self.settings.max_characters:
            yield "curation.filter.min_characters is above max_characters, so that every text is dropped. Swap them."
        available, kept, _, _ = self._foreseen()
        if kept < self.config.train_size:
            yield self._too_few(kept, available, "at most " * (self.settings.score == "perplexity"))

    def notes(self) -> Iterable[str]:
        """What is known without a model: all of it, unless texts are scored by one."""
        available, kept, dropped, labels = self._foreseen()
        words = ", ".join(f"{rule} {count}" for rule, count in dropped) or "nothing"
        bound = "at most " if self.value < 1 and self.settings.score == "perplexity" else ""
        yield (
            f"filter={self.value:g}: keeps {bound}{kept} of the {available} train examples of {self.config.task}; "
            f"dropped by rules and length: {words}"
        )
        if labels and not bound:
            yield f"filter={self.value:g}: rarest labels, before and after: {labels}"

    def examples(self, examples: Sequence[Example], preparation: Preparation) -> Sequence[Example]:
        pool, task = preparation.pool(), preparation.task
        scores = self._scores(pool, preparation)
        kept, dropped = select(pool, scores, self.value, self.settings, task.language)
        reasons = Counter(one.rule for one in dropped)
        preparation.count("in", len(pool))
        for rule in ("score", *(name for name in RULES if name in self.settings.rules)):
            preparation.count(f"dropped_{rule}", reasons[rule])
        preparation.count("kept", len(kept))
        before, after = (label_counts(part, task.kind == "label") for part in (pool, kept))
        for label, count in before.most_common()[-COUNTED_LABELS:]:
            preparation.count(f"before/{label}", count)
            preparation.count(f"after/{label}", after[label])
        preparation.write("filter_audit.jsonl", self._audit(kept, dropped, preparation))
        if len(kept) < self.config.train_size:
            raise UserError(self._too_few(len(kept), len(pool)))
        preparation.narrow(kept)
        return preparation.draw(kept, self.config.train_size)

    def _scores(self, pool: Sequence[Example], preparation: Preparation) -> list[float]:
        """Of each text, low being good."""
        if self.value == 1:
            return [0.0] * len(pool)
        if self.settings.score == "length":
            return lengths(pool)

        def measure() -> list[float]:
            preparation.fit(preparation.render(preparation.drawn[:1]), steps=0)  # the base, as it is
            parts = preparation.apply("perplexities", [one.text for one in pool])
            values = {place: value for part in parts for place, value in part}
            return [values[place] for place in range(len(pool))]

        return [math.inf if value < 0 else value for value in preparation.remember("perplexities", measure)]

    def _audit(self, kept: Sequence[Example], dropped: Sequence[Dropped], preparation: Preparation) -> str:
        """JSONL: some of those kept and of those that each rule dropped, drawn by the trial's seed."""
        groups: dict[str, list[Dropped]] = {"kept": [Dropped(one, "", "") for one in kept]}
        for drop in dropped:
            groups.setdefault(drop.rule, []).append(drop)
        rows = []
        for group in groups.values():
            reasons = {id(drop.example): drop for drop in group}
            chosen = (
                preparation.draw([drop.example for drop in group], min(self.settings.audit, len(group)))
                if group and self.settings.audit
                else []
            )
            for one in chosen:
                drop = reasons[id(one)]
                values = {"id": one.id, "kept": not drop.rule, "rule": drop.rule, "why": drop.why}
                rows.append(json.dumps({**values, "text": one.text[:SHOWN_TEXT]}, ensure_ascii=False))
        return "".join(f"{row}\n" for row in rows)

    def _foreseen(self) -> tuple[int, int, tuple[tuple[str, int], ...], str]:
        """Examples there are, examples kept at most, dropped by rule, rarest labels before and after; by no model."""
        definition = json.dumps(self.config.definition, sort_keys=True) if self.config.definition else ""
        return _foresee(self.config.task, definition, self.settings.model_dump_json(), self.value)

    def _too_few(self, kept: int, available: int, bound: str = "") -> str:
        return (
            f"filter={self.value:g} keeps {bound}{kept} of the {available} train examples of {self.config.task}, fewer "
            f"than the train size {self.config.train_size}. Raise the share, loosen curation.filter, lower "
            "train_sizes, or add data."
        )


def select(
    pool: Sequence[Example], scores: Sequence[float], share: float, settings: Settings, language: Any
) -> tuple[list[Example], list[Dropped]]:
    """The best share of the pool by scores (low is good), less what the rules drop; and all that is dropped."""
    limit = threshold(scores, share)
    rest = [one for one, score in zip(pool, scores, strict=True) if score <= limit]
    worst = [
        Dropped(one, "score", f"{settings.score} {abs(score):.5g}, the limit is {abs(limit):.5g}")
        for one, score in zip(pool, scores, strict=True)
        if score > limit
    ]
    kept, dropped = apply_rules(rest, settings, language)
    return kept, [*worst, *dropped]


def threshold(scores: Sequence[float], share: float) -> float:
    """The score up to which a text is among the best share; texts that are as good as the last of them are, too."""
    return sorted(scores)[max(1, round(share * len(scores))) - 1] if scores else 0.0


def lengths(examples: Sequence[Example]) -> list[float]:
    """Scores by length: the longest text has the lowest."""
    return [-float(len(one.text)) for one in examples]


@lru_cache(maxsize=64)
def _foresee(
    name: str, definition: str, settings_json: str, share: float
) -> tuple[int, int, tuple[tuple[str, int], ...], str]:
    """`Filter._foreseen`; without near duplicates, which may take long in large data, and which the trial counts."""
    settings = Settings.model_validate_json(settings_json)
    settings = settings.model_copy(update={"rules": tuple(rule for rule in settings.rules if not RULES[rule].needs)})
    section = json.loads(definition) if definition else None
    task, pool = trial_task(name, section), trial_examples(name, "train", section)
    by_length = settings.score == "length" and share < 1
    scores = lengths(pool) if by_length else [0.0] * len(pool)
    kept, dropped = select(pool, scores, share if by_length else 1.0, settings, task.language)
    most = len(kept) if by_length or share == 1 else min(len(kept), max(1, round(share * len(pool))))
    before, after = (label_counts(part, task.kind == "label") for part in (pool, kept))
    rarest = sorted(before, key=lambda label: (before[label], label))[:SHOWN_LABELS]
    labels = ", ".join(f"{label} {before[label]} to {after[label]}" for label in rarest)
    return len(pool), most, tuple(Counter(one.rule for one in dropped).items()), labels


# ---- on a worker -----------------------------------------------------------------------------------------------------

_measured: dict[str, list[list[float]]] = {}  # of the last texts: trials of a sweep ask for the same, on a warm worker


def perplexities(worker: Worker, texts: Sequence[str]) -> list[list[float]]:
    """[place, perplexity] of this worker's part of the texts, by the base without an adapter; -1 for an infinite one.

    To six digits: what is left out is rounding, which must not decide between two texts.
    """
    from sde_ray.models.perplexity import text_perplexities
    from sde_ray.training import deepspeed_engine

    loaded, limit = worker._loaded, worker._decoder.encoder.max_length
    key = content_hash([list(map(str, worker._loaded_for)), limit, worker.rank, worker.workers, list(texts)])
    if key not in _measured:
        engine = worker._trainer.engine
        with deepspeed_engine.gathered_parameters(engine, worker._peft_model), worker._peft_model.disable_adapter():
            worker._peft_model.eval()
            values = text_perplexities(loaded.model, loaded.tokenizer, texts, limit, worker.rank, worker.workers)
        _measured.clear()
        _measured[key] = [
            [place, float(f"{value:.6g}") if math.isfinite(value) else -1.0] for place, value in values.items()
        ]
    return _measured[key]
