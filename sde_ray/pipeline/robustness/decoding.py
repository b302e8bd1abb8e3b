"""A trained adapter's answers to test items, decoded in another way or asked in other words than in its training.

    reader = Reader(JsonlCache(folder / "robustness.jsonl"))
    reader.fill([(trial, folder, Asked(sampling_seed=1)), ...], config.resources)
    reader.answers(trial, Asked(sampling_seed=1))             {"d1-17": "food: positive, ...", ...}

No training: the adapters are those of the final comparison. The base stays resident, adapters take turns on it. Answers
are kept by trial, decoding and wording, and never made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sde_ray import data
from sde_ray.config.schema import Resources
from sde_ray.config.trial import TrialConfig
from sde_ray.design import render
from sde_ray.errors import UserError
from sde_ray.evaluation.per_item import ItemCounts, count_items
from sde_ray.models.predictor import find_adapter, read_card
from sde_ray.safe_json import content_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.sweep.cluster.actor_pool import spread
from sde_ray.tasks.trial_task import trial_task
from sde_ray.types import Example, Task

ITEMS_SEED = 0  # the items that trials are scored on


@dataclass(frozen=True)
class Asked:
    """How the items are put to the model. `wording` None: as in training; `sampling_seed` None: greedily."""

    sampling_seed: int | None = None
    wording: int | None = None


Wanted = tuple[TrialConfig, Path, Asked]


class Reader:
    """Answers by trial and by how its items were asked, from a file."""

    def __init__(self, file: JsonlCache) -> None:
        self.file, self.kept = file, file.read()

    def missing(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Those that would have to be decoded."""
        return list({_key(one[0], one[2]): one for one in wanted if _key(one[0], one[2]) not in self.kept}.values())

    def fill(
        self,
        wanted: Sequence[Wanted],
        resources: Resources,
        on_progress: Callable[[int, int], None] = lambda done, count: None,
    ) -> None:
        """Decode what is missing; a trial's folder is where its adapter lies. `on_progress(done, count)` after each."""
        todo = self.missing(wanted)
        for done, (n, texts) in enumerate(spread(resources, _AdapterDecoder, todo), 1):
            trial, _, asked = todo[n]
            self.kept[_key(trial, asked)] = {"answers": texts}
            self.file.append(_key(trial, asked), {"answers": texts})
            on_progress(done, len(todo))

    def answers(self, trial: TrialConfig, asked: Asked) -> Mapping[str, str]:
        """Completions by the id of the item."""
        found: Mapping[str, str] = self.kept[_key(trial, asked)]["answers"]
        return found


class _AdapterDecoder:
    """Decodes a trial's test items with its saved adapter; the base model stays resident, adapters take turns on it."""

    def __init__(self) -> None:
        self._loaded: Any = None

    def __call__(self, trial: TrialConfig, folder: Path, asked: Asked) -> dict[str, str]:
        from sde_ray.models.decoder import LoraDecoder
        from sde_ray.models.generation import Sampling
        from sde_ray.models.lora import load_adapter, remove_lora

        adapter = find_adapter(folder)
        card = read_card(adapter)
        self._load(trial)
        task, examples = held(trial)
        wording = trial.instruction_variant if asked.wording is None else asked.wording
        prompts = [(example.id, render.prompt_of(example.text, task, trial.design, wording)) for example in examples]
        peft_model = load_adapter(self._loaded.model, adapter)
        try:
            decoder = LoraDecoder(
                self._loaded, peft_model, max_length=card.max_length, chat_template=card.chat_template
            )
            texts, _ = decoder.generate(
                prompts,
                card.max_new_tokens,
                batch_size=trial.generation.batch_size,
                sampling=None if asked.sampling_seed is None else Sampling(asked.sampling_seed),
            )
        finally:
            remove_lora(peft_model)
        return {example.id: text for example, text in zip(examples, texts, strict=True)}

    def _load(self, trial: TrialConfig) -> None:
        from sde_ray.models import base

        if self._loaded is None or self._loaded.name != trial.model:
            dtype = base.DTYPES[base.resolve_dtype(trial.train.dtype)]
            self._loaded = base.load_base(trial.model, trial.trust_remote_code, dtype)


def _key(trial: TrialConfig, asked: Asked) -> str:
    from sde_ray.models.generation import Sampling

    sampling = None if asked.sampling_seed is None else asdict(Sampling(asked.sampling_seed))
    return content_hash({"trial": trial.key, "wording": asked.wording, "sampling": sampling})


def held(trial: TrialConfig) -> tuple[Task, list[Example]]:
    """The trial's own task and its test items."""
    task = trial_task(trial.task, trial.definition)
    examples = task.load("test")
    return task, data.draw(examples, min(trial.eval_size, len(examples)), ITEMS_SEED)


def check_wordings(task: Task, wordings: Sequence[int]) -> None:
    """`UserError` for a wording that the task does not have."""
    wrong = [one for one in wordings if not 0 <= one < len(task.instructions)]
    if wrong:
        last = len(task.instructions) - 1
        raise UserError(
            f"{task.name} has no wording {wrong[0]}. Choose of 0 to {last}, or give the task more wordings."
        )


def items_of(trial: TrialConfig, answers: Mapping[str, str], metric: str) -> tuple[float, ItemCounts]:
    """The metric of the answers, and their counts item by item."""
    task, examples = held(trial)
    part = count_items(task, trial.design, examples, answers, metric)
    return float(part.measure(part.rows.sum(axis=0))), ItemCounts((part,))
