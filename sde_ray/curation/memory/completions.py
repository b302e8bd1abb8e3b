"""Multi-template completion: an untuned model continues sentences about a fact, and its object is looked for.

    meter = MemoryMeter("tiny", MemorySettings(templates=12, samples=5))
    meter([fact, ...], TEMPLATES)   [FactMemory("P36.dev:1", "P36", 5, words=(3, 5, ...), substring=(3, 5, ...)), ...]

Many facts share a batch, counted in rows and sorted by length: a sentence is read once and continued `samples` times.
Every continuation draws from a random stream of its own that the fact and the seed decide, so in float32 a fact gets
the same whatever is measured beside it, in batches of any size, and wherever a run was interrupted. In half precision
sums differ visibly with the size of a batch, so there a near tie may be drawn otherwise.

A continuation ends with its sentence or line (`stop`), and as soon as both rules have their hit: what follows cannot
change either.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from sde_ray.curation.memory.levels import FactMemory
from sde_ray.data.completion_templates import RelationTemplates
from sde_ray.data.facts import Fact, prompts
from sde_ray.metrics.span_matching import contains, words
from sde_ray.safe_json import content_hash
from sde_ray.types import Segment

if TYPE_CHECKING:
    from sde_ray.models.base import LoadedModel

SCHEMA = 2  # of what is measured; a change of a definition must not meet old values
BATCHES = 2  # that the facts of one call fill: enough to sort by length, and little is lost when a run is stopped
SENTENCE_END = re.compile(r"\n|(?<=\w{4}[.!?])\s|(?<=[。！？])")  # not after "St." or "J. R. R.", which names hold


@dataclass(frozen=True)
class MemorySettings:
    """How memory is measured. `templates`: of each relation, or as many as it has; the rest are the paper's values.

    `stop`: a continuation ends with its first sentence or line, or (as published) at `max_new_tokens` only.
    """

    templates: int = 12
    samples: int = 10
    temperature: float = 0.7
    max_new_tokens: int = 32
    stop: Literal["sentence", "length"] = "sentence"
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


def first_sentence(text: str) -> str:
    """A text up to the end of its first sentence or line; one that goes on is returned whole."""
    start = len(text) - len(text.lstrip())
    end = SENTENCE_END.search(text, start)
    return text if end is None else text[: end.start()]


class MemoryMeter:
    """The resident base model, without an adapter and without a chat template: measures facts."""

    def __init__(
        self,
        model: str,
        settings: MemorySettings,
        trust_remote_code: bool = False,
        dtype: str = "auto",
        batch_size: int = 32,
    ) -> None:
        """`batch_size`: continuations at a time. It bounds the memory, and decides nothing else."""
        from sde_ray.models.base import load_base

        self._prepare(load_base(model, trust_remote_code, dtype), settings, batch_size)

    @classmethod
    def of(cls, loaded: LoadedModel, settings: MemorySettings, batch_size: int = 32) -> MemoryMeter:
        """One of a model that is loaded already."""
        meter = cls.__new__(cls)
        meter._prepare(loaded, settings, batch_size)
        return meter

    def _prepare(self, loaded: LoadedModel, settings: MemorySettings, batch_size: int) -> None:
        from sde_ray.models.tokenization import Encoder

        self.loaded, self.settings, self.batch_size = loaded, settings, batch_size
        self.encoder = Encoder(loaded.tokenizer, loaded.max_positions, "off")

    def __call__(
        self, facts: Sequence[Fact], templates: Mapping[str, RelationTemplates]
    ) -> list[tuple[FactMemory, float]]:
        """Measure facts. Returns for each what is remembered, and its share of the seconds that all took.

        Raises UserError when a sentence and `max_new_tokens` exceed the model's context.
        """
        started = time.perf_counter()
        asked = [(fact, prompts(fact, templates, self.settings.templates)) for fact in facts]
        memories = [self._memory(fact, texts) for fact, texts in zip(facts, self.complete(asked), strict=True)]
        seconds = (time.perf_counter() - started) / max(1, len(facts))
        return [(memory, seconds) for memory in memories]

    def _memory(self, fact: Fact, texts: Sequence[str]) -> FactMemory:
        samples = self.settings.samples
        parts = [texts[start : start + samples] for start in range(0, len(texts), samples)]
        whole = tuple(sum(holds_words(text, fact.accepted) for text in part) for part in parts)
        letters = tuple(sum(holds_letters(text, fact.accepted) for text in part) for part in parts)
        return FactMemory(fact.id, fact.relation, samples, whole, letters)

    def complete(self, asked: Sequence[tuple[Fact, Sequence[str]]]) -> list[list[str]]:
        """`samples` continuations of each sentence about each fact, one sentence after another."""
        from sde_ray.models.generation import Sampling, generate
        from sde_ray.models.tokenization import completion_text, pad_token_id

        settings, tokenizer = self.settings, self.loaded.tokenizer
        rows: list[tuple[int, ...]] = []
        streams: list[tuple[int, int]] = []
        facts: list[Fact] = []  # of each row
        for fact, sentences in asked:
            written = [(fact.id, (Segment(sentence, False, "instruction"),)) for sentence in sentences]
            own = [
                row for row in self.encoder.prompts(written, settings.max_new_tokens) for _ in range(settings.samples)
            ]
            seed = int(str(content_hash([settings.seed, fact.relation, fact.subject])), 16)
            rows += own
            streams += [(seed, n) for n in range(len(own))]
            facts += [fact] * len(own)
        generated = generate(
            self.loaded.model,
            rows,
            eos_token_ids=self.loaded.eos_token_ids,
            pad_token_id=pad_token_id(tokenizer),
            max_new_tokens=settings.max_new_tokens,
            batch_size=self.batch_size,
            sampling=Sampling(settings.seed, settings.temperature, top_k=0, top_p=1.0),
            share_prefix=True,
            streams=streams,
            is_complete=lambda row, ids: self._is_complete(completion_text(tokenizer, ids), facts[row].accepted),
        )
        texts = iter(self._cut(completion_text(tokenizer, ids)) for ids in generated)
        return [[next(texts) for _ in range(len(sentences) * settings.samples)] for _, sentences in asked]

    def _cut(self, text: str) -> str:
        return first_sentence(text) if self.settings.stop == "sentence" else text

    def _is_complete(self, text: str, accepted: Sequence[str]) -> bool:
        """Whether the sentence has ended, or both rules have their hit in words that no further token can lengthen."""
        if len(self._cut(text)) < len(text):
            return True
        whole = re.sub(r"\w*$", "", text)
        return holds_letters(whole, accepted) and holds_words(whole, accepted)
