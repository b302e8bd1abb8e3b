"""Zero-shot and few-shot scores, and likelihoods, of all designs of a sweep on one untuned model; cached.

    measure(measurements, "tiny", config, JsonlCache(folder / "analysis.jsonl"))   -> rows, one a design

The model is loaded once a worker and only if something is missing; each value is on disk as soon as it is measured, so
a run that was stopped resumes. A design that does not fit the context is a row with its reason, not the end of the run.
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
from sde_ray.config.schema import SweepConfig
from sde_ray.config.trial import CPU_ROWS
from sde_ray.design.answer_end import AnswerEnd, answer_end
from sde_ray.design.asking import check_plain
from sde_ray.design.demonstrations import BETWEEN
from sde_ray.errors import UserError
from sde_ray.evaluation.batch_retries import Prompt, ask_again, parse_answers
from sde_ray.pipeline.prompting.few_shot import answer_of, fit
from sde_ray.pipeline.prompting.measurement import PERPLEXITY, Measurement, Part, measurements, result_row
from sde_ray.safe_json import stream_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.sweep.cluster.actor_pool import map_on_actors
from sde_ray.types import Design, Task

MAX_HASHED_BYTES = 64 * 2**20  # of a file of weights; of a larger one also the end is hashed


@dataclass(frozen=True)
class Cost:
    """Cost of what is missing: parts to measure (of all), characters to read, completions to generate, seconds."""

    missing: int
    parts: int
    characters: int
    completions: int
    seconds: float | None


def prepare(
    config: SweepConfig, task: Task, model: str, designs: Sequence[Design], items: int, shots: Sequence[int], seed: int
) -> list[Measurement]:
    """The measurements of a sweep's designs; demonstrations are drawn from train, items from dev.

    Raises UserError when there are fewer training examples than demonstrations.
    """
    train, dev = task.load("train"), task.load("dev")
    if max(shots) > len(train):
        raise UserError(
            f"{max(shots)} demonstrations were asked for, {task.name} has {len(train)} training examples. "
            "Ask for fewer with --shots."
        )
    demonstrations = data.draw(train, max(shots), seed) if max(shots) else []
    dev_items = data.eval_items(dev, items)
    check_plain(designs, "The study of prompts")
    return measurements(config, task, identity(model), designs, dev_items, demonstrations, shots)


def cost(wanted: Sequence[Measurement], file: JsonlCache) -> Cost:
    """Estimate what `measure` would do; seconds from what is in the cache, None if nothing is."""
    stored = file.read()
    parts = {measurement.key(part): (measurement, part) for measurement in wanted for part in measurement.parts}
    missing = {key: part for key, part in parts.items() if key not in stored}
    incomplete = {id(measurement): measurement for measurement, _ in missing.values()}
    characters = sum(measurement.characters for measurement in incomplete.values())
    completions = sum(len(measurement.samples) for measurement, part in missing.values() if part != PERPLEXITY)
    seconds = [float(stored[key]["seconds"]) for key in parts if "seconds" in stored.get(key, {})]
    return Cost(len(missing), len(parts), characters, completions, fmean(seconds) * len(missing) if seconds else None)


def measure(
    wanted: Sequence[Measurement],
    model: str,
    config: SweepConfig,
    file: JsonlCache,
    on_progress: Callable[[int, int], None] = lambda done, count: None,
) -> list[dict[str, Any]]:
    """Measure what the cache lacks. `on_progress(done, count)` is called after each part. Returns a row a design."""
    stored: dict[str, Mapping[str, Any]] = dict(file.read())
    parts = {measurement.key(part): (measurement, part) for measurement in wanted for part in measurement.parts}
    missing = {key: part for key, part in parts.items() if key not in stored}
    keys, calls = list(missing), list(missing.values())
    for done, (n, value) in enumerate(map_on_actors(config.resources, partial(_UntunedModel, model, config), calls), 1):
        stored[keys[n]] = value
        file.append(keys[n], value)
        on_progress(done, len(missing))
    return [result_row(measurement, stored) for measurement in wanted]


def identity(model: str) -> str:
    """A model's identity: its hub name, or for a folder its name and a hash of its weights and tokenizer."""
    from sde_ray.models.base import pretrained

    where = pretrained(model)
    folder = Path(where["pretrained_model_name_or_path"])
    if not folder.is_dir():
        return model
    if "gguf_file" in where:
        file = folder / where["gguf_file"]
        return f"{file.name} {stream_hash(_ends(file))}"
    return f"{folder.name} {stream_hash(_identifying(folder))}"


def _identifying(folder: Path) -> Iterator[str | bytes]:
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".model", ".txt") and path.is_file():
            yield from _ends(path)


def _ends(path: Path) -> Iterator[str | bytes]:
    """Of a file of a model its name, its size, its beginning, and of a large one its end."""
    size = path.stat().st_size
    yield f"{path.name} {size}\n"
    with path.open("rb") as file:
        yield file.read(MAX_HASHED_BYTES)
        if size > MAX_HASHED_BYTES:
            file.seek(-(2**20), 2)
            yield file.read()


class _UntunedModel:
    """The resident base model, without an adapter: measures one part of one design a call."""

    def __init__(self, model: str, config: SweepConfig) -> None:
        from sde_ray.models.base import load_base
        from sde_ray.models.decoder import LoraDecoder

        loaded = load_base(model, config.trust_remote_code, config.train.dtype, **config.train.base_options)
        self.decoder = LoraDecoder(loaded, max_length=config.train.max_length, chat_template=config.chat_template)
        self.rows, self.max_new_tokens = config.generation.rows, config.generation.max_new_tokens
        # After demonstrations an answer ends at a blank line; where that is one token, no more need be written.
        blank_line = list(loaded.tokenizer(BETWEEN, add_special_tokens=False)["input_ids"])
        self.blank_line = blank_line if len(blank_line) == 1 else []

    def __call__(self, measurement: Measurement, part: Part) -> dict[str, Any]:
        started = time.perf_counter()
        try:
            values = self._perplexity(measurement) if part == PERPLEXITY else self._score(measurement, int(part))
        except UserError as error:
            values = {"error": str(error)}
        return {**values, "seconds": round(time.perf_counter() - started, 4)}

    def _perplexity(self, measurement: Measurement) -> dict[str, Any]:
        """Mean likelihoods over the items; `cut`: the share of items whose text was cut."""
        from sde_ray.models.perplexity import likelihoods
        from sde_ray.models.tokenization import pad_token_id

        loaded = self.decoder.loaded
        encoded = self.decoder.encoder.samples(measurement.samples)
        items = likelihoods(loaded.model, encoded, pad_token_id(loaded.tokenizer), self.rows or CPU_ROWS)
        return {
            "prompt_perplexity": fmean(item.prompt_perplexity for item in items),
            "output_perplexity": fmean(item.output_perplexity for item in items),
            "output_log_likelihood": fmean(item.output for item in items),
            "prompt_tokens": fmean(item.prompt_tokens for item in items),
            "output_tokens": fmean(item.output_tokens for item in items),
            "cut": fmean(row.num_truncated > 0 for row in encoded),
        }

    def _score(self, measurement: Measurement, shots: int) -> dict[str, Any]:
        """The few-shot score. `fewer`: the share of prompts without all demonstrations, `cut`: with a cut text.

        `retries`: of batches, the numbers asked again, after the same demonstrations, for each prompt.
        """
        from sde_ray.models.decoder import completion_budget

        encoder, demonstrations = self.decoder.encoder, measurement.demonstrations[:shots]
        budget = completion_budget(self.max_new_tokens, encoder, (*measurement.demonstrations, *measurement.samples))
        task, design, examples = measurement.task, measurement.design, measurement.examples
        in_context = partial(fit, encoder, demonstrations=demonstrations, language=task.language, budget=budget)
        fitted = [in_context(sample.prompt) for sample in measurement.samples]
        if shots and not any(prompt.num_demonstrations for prompt in fitted):
            return {"error": f"not one of {shots} demonstrations fits the context of {encoder.max_length} tokens"}
        names = [sample.id for sample in measurement.samples]
        prompts = list(zip(names, (one.prompt for one in fitted), strict=True))
        ends = [answer_end(task, design, example.text) for example in examples]
        completions, _ = self._decode(prompts, budget, shots, ends)
        (texts,), _ = ask_again(
            [(task, examples, completions)],
            design,
            measurement.instruction_variant,
            lambda prompts, ends=(): self._decode(
                [(name, in_context(one).prompt) for name, one in prompts], budget, shots, ends
            ),
        )
        parsed = [parse_answers(texts, example, task, design) for example in examples]
        scores = metrics.score(task, examples, parsed)
        return {
            **({"retries": (len(texts) - len(completions)) / len(completions)} if task.numbered else {}),
            "score": scores[measurement.metric],
            "adherence": scores["format_adherence"],
            "fewer": fmean(prompt.num_demonstrations < shots for prompt in fitted),
            "cut": fmean(prompt.num_truncated > 0 for prompt in fitted),
        }

    def _decode(
        self, prompts: list[Prompt], budget: int, shots: int, ends: Sequence[AnswerEnd | None]
    ) -> tuple[list[str], int]:
        """The answers in the completions of prompts, and how many tokens were generated."""
        texts, num_tokens = self.decoder.generate(
            prompts,
            budget,
            batch_size=self.rows,
            stop_token_ids=self.blank_line if shots else (),
            ends=[end if end and end.grammar else None for end in ends],  # an untuned model may go on after its answer
        )
        return [answer_of(text) for text in texts], num_tokens
