"""Multi-template completion: an untuned model continues sentences about a fact, and its object is looked for.

    meter = MemoryMeter("tiny", MemorySettings(templates=12, samples=5))
    meter([fact, ...], TEMPLATES)   [FactMemory("P36.dev:1", "P36", 5, words=(3, 5, ...), substring=(3, 5, ...)), ...]

One batch is one fact: its templates are read once and continued `samples` times each, every continuation from a random
stream of its own that the fact and the seed decide. So what a fact gets depends on nothing but itself, to the digit on
a CPU: not on the facts beside it, their order, or where a run was interrupted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sde_ray.curation.memory.levels import FactMemory
from sde_ray.data.completion_templates import RelationTemplates
from sde_ray.data.facts import Fact, prompts
from sde_ray.metrics.span_matching import contains, words
from sde_ray.safe_json import content_hash
from sde_ray.types import Segment

if TYPE_CHECKING:
    from sde_ray.models.base import LoadedModel

SCHEMA = 1  # of what is measured; a change of a definition must not meet old values
MAX_ROWS = 256  # continuations at a time; more of one fact are cut into batches of as many


@dataclass(frozen=True)
class MemorySettings:
    """How memory is measured. `templates`: of each relation, or as many as it has; the rest are the paper's values."""

    templates: int = 12
    samples: int = 10
    temperature: float = 0.7
    max_new_tokens: int = 32
    seed: int = 0


def memory_key(fact: Fact, templates: Mapping[str, RelationTemplates], model: str, settings: MemorySettings) -> str:
    """The cache key of a fact's measurement. `model`: what identifies its weights, and their number format."""
    sentences = prompts(fact, templates, settings.templates)
    values = {name: value for name, value in asdict(settings).items() if name != "templates"}
    return content_hash([SCHEMA, model, sentences, list(fact.accepted), values])


def holds_words(text: str, accepted: Sequence[str]) -> bool:
    """Hit by the rule of whole words: "Iran" is not in "Iranian"; case, punctuation and articles do not count.

    An abbreviation in capitals counts in capitals only: "US" is not in "let us go".
    """
    written = words(text)
    return any(
        re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text) if one.isupper() else contains(written, words(one))
        for one in accepted
    )


def holds_letters(text: str, accepted: Sequence[str]) -> bool:
    """Hit by the published rule: an accepted answer is a substring of the text."""
    return any(one in text for one in accepted)


class MemoryMeter:
    """The resident base model, without an adapter and without a chat template: measures facts."""

    def __init__(
        self, model: str, settings: MemorySettings, trust_remote_code: bool = False, dtype: str = "auto"
    ) -> None:
        from sde_ray.models.base import load_base

        self._prepare(load_base(model, trust_remote_code, dtype), settings)

    @classmethod
    def of(cls, loaded: LoadedModel, settings: MemorySettings) -> MemoryMeter:
        """One of a model that is loaded already."""
        meter = cls.__new__(cls)
        meter._prepare(loaded, settings)
        return meter

    def _prepare(self, loaded: LoadedModel, settings: MemorySettings) -> None:
        from sde_ray.models.tokenization import Encoder

        self.loaded, self.settings = loaded, settings
        self.encoder = Encoder(loaded.tokenizer, loaded.max_positions, "off")

    def __call__(
        self, facts: Sequence[Fact], templates: Mapping[str, RelationTemplates]
    ) -> list[tuple[FactMemory, float]]:
        """Measure facts. Returns for each what is remembered, and the seconds that it took."""
        measured = []
        for fact in facts:
            started = time.perf_counter()
            memory = self.measure(fact, templates)
            measured.append((memory, time.perf_counter() - started))
        return measured

    def measure(self, fact: Fact, templates: Mapping[str, RelationTemplates]) -> FactMemory:
        """One fact. Raises UserError when a sentence and `max_new_tokens` exceed the model's context."""
        sentences, samples = prompts(fact, templates, self.settings.templates), self.settings.samples
        texts = self.complete(fact, sentences)
        parts = [texts[start : start + samples] for start in range(0, len(texts), samples)]
        whole = tuple(sum(holds_words(text, fact.accepted) for text in part) for part in parts)
        letters = tuple(sum(holds_letters(text, fact.accepted) for text in part) for part in parts)
        return FactMemory(fact.id, fact.relation, samples, whole, letters)

    def complete(self, fact: Fact, sentences: Sequence[str]) -> list[str]:
        """`samples` continuations of each sentence, one sentence after another."""
        from sde_ray.models.generation import Sampling, generate
        from sde_ray.models.tokenization import completion_text, pad_token_id

        settings, tokenizer = self.settings, self.loaded.tokenizer
        written = [(fact.id, (Segment(sentence, False, "instruction"),)) for sentence in sentences]
        rows = [row for row in self.encoder.prompts(written, settings.max_new_tokens) for _ in range(settings.samples)]
        stream: Any = content_hash([settings.seed, fact.relation, fact.subject])
        generated = generate(
            self.loaded.model,
            rows,
            eos_token_ids=self.loaded.eos_token_ids,
            pad_token_id=pad_token_id(tokenizer),
            max_new_tokens=settings.max_new_tokens,
            batch_size=MAX_ROWS,
            sampling=Sampling(int(stream, 16), settings.temperature, top_k=0, top_p=1.0),
            share_prefix=True,
        )
        return [completion_text(tokenizer, ids) for ids in generated]
