"""Decoding of test items by trained adapters, under another condition than in training: sampled, or in other words.

    cache = CompletionCache(JsonlCache(folder / "robustness.jsonl"))
    cache.fill([(trial, folder, Condition(sampling_seed=1)), ...], config.resources)
    cache.completions(trial, Condition(sampling_seed=1))      {"d1-17": "food: positive, ...", ...}

No training: the adapters are those of the final comparison. The base stays resident, adapters take turns on it.
Completions are cached by trial and condition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sde_ray import data
from sde_ray.config.schema import Resources
from sde_ray.config.trial import TrialConfig
from sde_ray.design.asking import ask_in
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, count_items
from sde_ray.models.predictor import find_adapter, read_card
from sde_ray.safe_json import content_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.sweep.cluster.actor_pool import map_on_actors
from sde_ray.tasks.trial_task import trial_task
from sde_ray.training.evaluated_items import Question, ask
from sde_ray.types import Example, Task


@dataclass(frozen=True)
class Condition:
    """A decoding condition. `instruction_variant` None: as in training; `sampling_seed` None: greedy decoding."""

    sampling_seed: int | None = None
    instruction_variant: int | None = None


Decoding = tuple[TrialConfig, Path, Condition]  # a trial, its folder, how its items are decoded


class CompletionCache:
    """Completions of a trial's test items by condition, cached in a file."""

    def __init__(self, file: JsonlCache) -> None:
        self.file, self.stored = file, file.read()

    def missing(self, decodings: Sequence[Decoding]) -> list[Decoding]:
        """Those that are not cached, each once."""
        by_key = {_key(trial, condition): (trial, folder, condition) for trial, folder, condition in decodings}
        return [decoding for key, decoding in by_key.items() if key not in self.stored]

    def fill(
        self,
        decodings: Sequence[Decoding],
        resources: Resources,
        on_progress: Callable[[int, int], None] = lambda done, count: None,
    ) -> None:
        """Decode what is missing. `on_progress(done, count)` is called after each."""
        todo = self.missing(decodings)
        for done, (n, texts) in enumerate(map_on_actors(resources, _AdapterDecoder, todo), 1):
            key = _key(todo[n][0], todo[n][2])
            self.stored[key] = {"completions": texts}
            self.file.append(key, self.stored[key])
            on_progress(done, len(todo))

    def completions(self, trial: TrialConfig, condition: Condition) -> Mapping[str, str]:
        """Completions by the id of the item; KeyError when they are missing."""
        completions: Mapping[str, str] = self.stored[_key(trial, condition)]["completions"]
        return completions


class _AdapterDecoder:
    """Decodes a trial's test items with its saved adapter; the base model stays resident, adapters take turns on it."""

    def __init__(self) -> None:
        self._loaded: Any = None

    def __call__(self, trial: TrialConfig, folder: Path, condition: Condition) -> dict[str, str]:
        from sde_ray.models.decoder import LoraDecoder
        from sde_ray.models.generation import Sampling
        from sde_ray.models.lora import load_adapter, remove_lora

        adapter = find_adapter(folder)
        card = read_card(adapter)
        self._load(trial)
        task, examples = evaluated_items(trial)
        variant = condition.instruction_variant
        variant = trial.instruction_variant if variant is None else variant
        asking = ask_in(task, trial.design, card.demonstrations, variant)
        questions = [Question(asking.prompts(one.id, one.text), asking.ends(one.text)) for one in examples]
        peft_model = load_adapter(self._loaded.model, adapter)
        try:
            decoder = LoraDecoder(
                self._loaded,
                peft_model,
                max_length=card.max_length,
                chat_template=card.chat_template,
                frame=card.chat_frame,
                merge_adapter=trial.generation.merge_adapter,
            )
            sampling = None if condition.sampling_seed is None else Sampling(condition.sampling_seed)
            rows = trial.generation.rows
            texts, _ = ask(
                questions,
                lambda prompts, ends: decoder.generate(
                    prompts, card.max_new_tokens, batch_size=rows, ends=ends, sampling=sampling
                ),
            )
        finally:
            remove_lora(peft_model)
        return {example.id: text for example, text in zip(examples, texts, strict=True)}

    def _load(self, trial: TrialConfig) -> None:
        from sde_ray.models.base import load_base

        if self._loaded is None or self._loaded.name != trial.model:
            train = trial.train
            self._loaded = load_base(trial.model, trial.trust_remote_code, train.dtype, **train.base_options)


def _key(trial: TrialConfig, condition: Condition) -> str:
    from sde_ray.models.generation import Sampling

    sampling = None if condition.sampling_seed is None else asdict(Sampling(condition.sampling_seed))
    variant = condition.instruction_variant
    return content_hash({"trial": trial.key, "instruction_variant": variant, "sampling": sampling})


def evaluated_items(trial: TrialConfig) -> tuple[Task, list[Example]]:
    """The trial's own task and its test items."""
    task = trial_task(trial.task, trial.definition)
    examples = task.load("test")
    return task, data.eval_items(examples, trial.eval_size)


def check_variants(task: Task, variants: Sequence[int]) -> None:
    """Raises UserError for an instruction variant that the task does not have."""
    wrong = [variant for variant in variants if not 0 <= variant < len(task.instructions)]
    if wrong:
        last = len(task.instructions) - 1
        raise UserError(
            f"{task.name} has no wording {wrong[0]}. Choose of 0 to {last}, or give the task more wordings."
        )


def score_completions(trial: TrialConfig, completions: Mapping[str, str], metric: str) -> tuple[float, ItemCounts]:
    """The metric of a trial's completions, and the counts item by item."""
    task, examples = evaluated_items(trial)
    part = count_items(task, trial.design, examples, completions, metric)
    return float(part.measure(part.rows.sum(axis=0))), ItemCounts((part,))
