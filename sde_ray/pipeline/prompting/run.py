"""All designs of a sweep on one untuned model: likelihoods, zero-shot and in-context scores; never twice.

    measure(looks, "tiny", config, JsonlCache(folder / "analysis.jsonl"))   -> rows, one a design

The model is loaded once a worker and only where something is missing; each value is on disk as soon as it is made, so a
run that was stopped goes on. A design that does not fit the context is a row with its reason, not the end of the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from sde_ray import data, metrics
from sde_ray.config.load import SweepConfig
from sde_ray.design import render
from sde_ray.errors import UserError
from sde_ray.models import base as models
from sde_ray.models import generation
from sde_ray.models.tokenization import Encoder, completion_text, pad_token
from sde_ray.pipeline.prompting.few_shot import BETWEEN, answer_of, fit
from sde_ray.pipeline.prompting.measurement import PERPLEXITY, Look, Part, looks, row_of
from sde_ray.pipeline.prompting.perplexity import likelihoods
from sde_ray.safe_json import stream_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.sweep.cluster.actor_pool import spread
from sde_ray.types import Design, Sample, Task

SMALL = 64 * 2**20  # bytes of a file of weights that are read whole to know the model again
ITEMS_SEED = 0  # the same dev items as those that trials are scored on


@dataclass(frozen=True)
class Cost:
    """What is missing: parts to measure (of all), characters to read, completions to write, seconds where known."""

    missing: int
    parts: int
    characters: int
    completions: int
    seconds: float | None


def prepare(
    config: SweepConfig, task: Task, model: str, designs: Sequence[Design], items: int, shots: Sequence[int], seed: int
) -> list[Look]:
    """The looks of a sweep's designs; demonstrations are drawn from train, items from dev."""
    train, dev = task.load("train"), task.load("dev")
    if max(shots) > len(train):
        raise UserError(
            f"{max(shots)} demonstrations were asked for, {task.name} has {len(train)} training examples. "
            "Ask for fewer with --shots."
        )
    shown = data.draw(train, max(shots), seed) if max(shots) else []
    held = data.draw(dev, min(items, len(dev)), ITEMS_SEED)
    return looks(config, task, identity(model), designs, held, shown, shots)


def cost(wanted: Sequence[Look], file: JsonlCache) -> Cost:
    """What `measure` would do, before it does."""
    kept = file.read()
    every = {look.key(part): (look, part) for look in wanted for part in look.parts}
    missing = {key: one for key, one in every.items() if key not in kept}
    open_looks = {id(look): look for look, _ in missing.values()}
    characters = sum(look.characters for look in open_looks.values())
    completions = sum(len(look.samples) for look, part in missing.values() if part != PERPLEXITY)
    spent = [float(kept[key]["seconds"]) for key in every if "seconds" in kept.get(key, {})]
    return Cost(len(missing), len(every), characters, completions, fmean(spent) * len(missing) if spent else None)


def measure(
    wanted: Sequence[Look],
    model: str,
    config: SweepConfig,
    file: JsonlCache,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> list[dict[str, Any]]:
    """A row a design; what the file lacks is measured. `on_progress(done, count)` is called after each part."""
    kept: dict[str, Mapping[str, Any]] = dict(file.read())
    missing = {look.key(part): (look, part) for look in wanted for part in look.parts if look.key(part) not in kept}
    keys, calls = list(missing), list(missing.values())
    for done, (n, value) in enumerate(spread(config.resources, partial(_Reader, model, config), calls), 1):
        kept[keys[n]] = value
        file.append(keys[n], value)
        on_progress(done, len(missing))
    return [row_of(look, kept) for look in wanted]


def identity(model: str) -> str:
    """What tells a model from another of the same name: for a folder a hash of its weights and tokenizer."""
    folder = Path(models.locate(model))
    if not folder.is_dir():
        return model
    return f"{folder.name} {stream_hash(_identifying(folder))}"


def _identifying(folder: Path) -> Iterator[str | bytes]:
    """Of each file of a model its name, its size, its beginning, and of a large one its end."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".model", ".txt") and path.is_file():
            size = path.stat().st_size
            yield f"{path.name} {size}\n"
            with path.open("rb") as file:
                yield file.read(SMALL)
                if size > SMALL:
                    file.seek(-(2**20), 2)
                    yield file.read()


class _Reader:
    """The resident model."""

    def __init__(self, model: str, config: SweepConfig) -> None:
        dtype = models.DTYPES[models.resolve_dtype(config.train.dtype)]
        self.base = models.load_base(model, config.trust_remote_code, dtype)
        self.encoder = Encoder(
            self.base.tokenizer, min(config.train.max_length, self.base.context), config.chat_template
        )
        self.pad, self.batch_size = pad_token(self.base.tokenizer), config.generation.batch_size
        self.longest = config.generation.max_new_tokens
        # After demonstrations an answer ends at a blank line; where that is one token, no more need be written.
        blank = list(self.base.tokenizer(BETWEEN, add_special_tokens=False)["input_ids"])
        self.blank = blank if len(blank) == 1 else []

    def __call__(self, look: Look, part: Part) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            found = self._perplexity(look) if part == PERPLEXITY else self._score(look, int(part))
        except UserError as error:
            found = {"error": str(error)}
        return {**found, "seconds": round(time.perf_counter() - started, 4)}

    def _perplexity(self, look: Look) -> dict[str, Any]:
        encoded = self.encoder.samples(look.samples)
        found = likelihoods(self.base.model, encoded, self.pad, self.batch_size)
        return {
            "prompt_perplexity": fmean(one.prompt_perplexity for one in found),
            "output_perplexity": fmean(one.output_perplexity for one in found),
            "output_log_likelihood": fmean(one.output for one in found),
            "prompt_tokens": fmean(one.prompt_tokens for one in found),
            "output_tokens": fmean(one.output_tokens for one in found),
            "cut": fmean(row.cut > 0 for row in encoded),
        }

    def _score(self, look: Look, k: int) -> dict[str, Any]:
        """`fewer`: the share of prompts with less than `k` demonstrations, `cut` of those whose text was cut."""
        room = self._room(look)
        shown = look.demonstrations[:k]
        fitted = [fit(self.encoder, one.prompt, shown, look.task.language, room) for one in look.samples]
        if k and not any(one.kept for one in fitted):
            return {"error": f"not one of {k} demonstrations fits the context of {self.encoder.context} tokens"}
        named = [(sample.id, one.prompt) for sample, one in zip(look.samples, fitted, strict=True)]
        written = generation.decode(
            self.base.model,
            self.encoder.prompts(named, room),
            stops=(*self.base.stops, *self.blank) if k else self.base.stops,
            pad=self.pad,
            max_new_tokens=room,
            batch_size=self.batch_size,
            shared=True,  # all prompts of a design begin with the same demonstrations
        )
        texts = [answer_of(completion_text(self.base.tokenizer, ids)) for ids in written]
        parsed = [render.parse_completion(text, look.task, look.design) for text in texts]
        scores = metrics.score(look.task, look.examples, parsed)
        return {
            "score": scores[look.metric],
            "adherence": scores["format_adherence"],
            "fewer": fmean(one.kept < k for one in fitted),
            "cut": fmean(one.cut > 0 for one in fitted),
        }

    def _room(self, look: Look) -> int:
        """The most tokens of a completion: as set, else 1.5 times the longest gold one, at most half the context."""
        if self.longest:
            return self.longest
        known: Sequence[Sample] = (*look.demonstrations, *look.samples)
        longest = max(map(len, self.encoder.completions(known)))
        return max(1, min(int(1.5 * longest), self.encoder.context // 2))
