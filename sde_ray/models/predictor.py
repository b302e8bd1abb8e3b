"""Predictor: text in, parsed answer out, by a trial's adapter in the trial's own design.

    predictor = Predictor.load("runs/quickstart")
    predictor.predict(["Great food, slow service."])  -> [(Parsed({"food": ("positive",), ...}), "food: positive, ...")]

An adapter answers well only to prompts written as in its training. So its card, `sde.json` next to its weights, has all
that makes a prompt: task, design, instruction variant, model, chat template, lengths.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from sde_ray.config.names import trust_own_run_of
from sde_ray.config.trial import Train, TrialConfig
from sde_ray.data.batches import join_texts, split_texts
from sde_ray.data.record_values import plain_answer
from sde_ray.design.asking import Asking, ask_in
from sde_ray.design.demonstrations import num_demonstrations
from sde_ray.design.designs import parse_design
from sde_ray.design.groups import join_completions
from sde_ray.errors import UserError, format_error
from sde_ray.evaluation.batch_retries import ask_again, parse_answers, retries_of
from sde_ray.models.adapter_files import read_file_inside
from sde_ray.plugins import trust_code
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic
from sde_ray.storage.layout import ADAPTER
from sde_ray.storage.mirror import with_adapter
from sde_ray.storage.remote import fetch_file
from sde_ray.storage.uri import is_uri
from sde_ray.tasks import YAML, resolve_task
from sde_ray.tasks.custom import read_section, task_from_yaml, wordings_in
from sde_ray.types import Example, Parsed, Task

ADAPTER_CARD = "sde.json"

NEAR_TIE = {True: 1e-3, False: 0.25}
"""By whether the model computes in float32: two logits nearer than this may change places in another batch.

In float32 a batch moves a logit by 1e-5 or so (docs/serving.md), in bfloat16 by a hundred times the rounding of that.
"""

# Of a task's definition: not needed to write prompts and to read answers, and a card may be anybody's.
NOT_ON_CARD = ("data", "metrics", "objective")


def write_card(
    folder: Path,
    config: TrialConfig,
    max_new_tokens: int,
    frame: tuple[str, str] | None = None,
    demonstrations: Sequence[Example] = (),
) -> None:
    """Write an adapter's card: what its prompts are made of.

    `frame`: what the chat template has put around them; `demonstrations`: of the design, with those in reserve.
    """
    card = {
        "task": config.task,
        "design": dict(config.design.options),
        "instruction_variant": config.instruction_variant,
        "model": config.model,
        "chat_template": config.chat_template,
        "trust_remote_code": config.trust_remote_code,
        "max_length": config.train.max_length,
        "max_new_tokens": max_new_tokens,
        "trial": config.key,
        **({"chat_frame": frame} if frame else {}),
        **({"demonstrations": [_shown(one) for one in demonstrations]} if demonstrations else {}),
        **({"quantization": config.train.quantization} if config.train.quantization != "none" else {}),
    }
    definition = read_section(fetch_file(config.task)) if config.task.endswith(YAML) else config.definition
    if definition:
        card["definition"] = {key: value for key, value in definition.items() if key not in NOT_ON_CARD}
        card["task"] = str(definition["name"])  # not the file: whoever uses the adapter may not have it
    write_atomic(folder / ADAPTER_CARD, json.dumps(card, ensure_ascii=False, indent=1) + "\n")


def _shown(example: Example) -> dict[str, Any]:
    """A demonstration as it stands on the card."""
    answer = {slot: list(values) for slot, values in example.answer.items()}
    return {"id": example.id, "text": example.text, "answer": answer, "rationale": dict(example.rationale)}


def find_adapter(source: str | Path) -> Path:
    """The folder of an adapter with its card.

    Args:
        source: path or URI of the adapter, of its trial, of its sweep, or of the sweep's strategy.yaml.

    Raises:
        UserError: when there is no adapter.
    """
    path = with_adapter(str(source)) if is_uri(source) else Path(source)
    start = path.parent if os.path.isfile(path) else path
    adapter = next((folder for folder in (start, start / ADAPTER) if os.path.isfile(folder / ADAPTER_CARD)), None)
    if adapter is None:
        cards = start.glob(f"{ADAPTER}-*/{ADAPTER_CARD}") if os.path.isdir(start) else ()  # else a name too long raises
        several = sorted(str(card.parent) for card in cards)
        if several:
            raise UserError(f"{source} has an adapter for each task and model. Give one of {', '.join(several)}.")
        raise UserError(
            f"{source} holds no adapter of a trial: {ADAPTER_CARD} is not in it, nor in {start / ADAPTER}. "
            "Give the folder of a finished trial (runs/<sweep>/trials/<key>), or of a sweep that was validated."
        )
    return adapter


@dataclass(frozen=True)
class AdapterCard:
    """What an adapter's `sde.json` says."""

    task: str
    design: Mapping[str, str]
    model: str
    max_length: Annotated[int, Field(ge=8)]
    max_new_tokens: Annotated[int, Field(ge=1)]
    instruction_variant: Annotated[int, Field(ge=0)] = 0
    chat_template: Literal["auto", "off"] = "auto"
    trust_remote_code: bool = False
    chat_frame: tuple[str, str] | None = None
    quantization: Literal["none", "int8", "nf4"] = "none"
    definition: Mapping[str, Any] = field(default_factory=dict)
    demonstrations: tuple[Example, ...] = ()
    merged: bool = False  # into its base: the folder is a whole model (`models/merge.py`)


_CARD = TypeAdapter(AdapterCard)


def read_card(folder: Path) -> AdapterCard:
    """Read the card of an adapter. Raises UserError when it is damaged."""
    try:
        card = _CARD.validate_python(read_json(read_file_inside(folder, ADAPTER_CARD)))
        if any(is_uri(name) for name in (card.task, card.model)):
            raise ValueError("it names an address, from which nothing is fetched")
        return card
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or format_error(error)
        raise UserError(
            f"{folder / ADAPTER_CARD} does not tell how the adapter's prompts are written: {reason}. Give an "
            "adapter that a sweep has saved, whole and unchanged."
        ) from None


def names_on_card(folder: Path) -> list[str]:
    """The names on an adapter's card that may be import paths: its task, its wordings, its axes and their options."""
    card = read_card(folder)
    return [card.task, *wordings_in(card.definition), *(name for pair in card.design.items() for name in pair)]


def wants_trust(card: AdapterCard, folder: Path, trust_remote_code: bool) -> None:
    """Raises UserError where the base wants to run code of its own, and the user has not said that it may."""
    if card.trust_remote_code and not trust_remote_code:  # the card may be somebody else's
        raise UserError(
            f'The adapter in {folder} wants its base model "{card.model}" to run code of its own. If you trust that '
            "model, say so: --trust-remote-code, or Predictor.load(path, trust_remote_code=True)."
        )


def read_task(card: AdapterCard) -> Task:
    """The task that the adapter answers; one that YAML defines is on the card itself. Its data are not needed."""
    if not card.definition:
        return resolve_task(card.task.partition("@")[0])
    definition = {key: value for key, value in card.definition.items() if key not in NOT_ON_CARD}
    return task_from_yaml(definition, Path(), with_data=False)


@dataclass(frozen=True)
class Answered:
    """Prediction of one text: the parsed answer with its faults, and the completion it was parsed from.

    `retries`: of a batch, the completions of the numbers that were asked again alone. `records`: of a task of records,
    the answer as plain JSON values; None in other tasks.
    """

    parsed: Parsed
    completion: str
    retries: Mapping[str, str]
    records: Mapping[str, Any] | None = None


class Predictor:
    """A base model with one adapter, ready to answer; one thread at a time."""

    is_exact = True  # float32: sums in another order move a logit by its last digits only

    def __init__(self, folder: Path, trust_remote_code: bool = False) -> None:
        """`folder`: an adapter with its card. Raises UserError when the model or the adapter cannot be loaded."""
        from sde_ray.models.base import load_base
        from sde_ray.models.base_settings import check_base_settings
        from sde_ray.models.decoder import LoraDecoder
        from sde_ray.models.lora import load_adapter

        self.folder = folder
        self.card = read_card(folder)
        wants_trust(self.card, folder, trust_remote_code)
        self.task = read_task(self.card)
        self.design = parse_design(self.card.design)
        self._check_demonstrations(folder)
        check_base_settings(self.card.model, Train(quantization=self.card.quantization), 0, gpu=False)
        base = str(folder) if self.card.merged else self.card.model
        loaded = load_base(base, self.card.trust_remote_code, "auto", quantization=self.card.quantization)
        peft_model = None if self.card.merged else load_adapter(loaded.model, folder)
        self._decoder = LoraDecoder(
            loaded,
            peft_model,
            max_length=self.card.max_length,
            chat_template=self.card.chat_template,
            frame=self.card.chat_frame,
        )
        self.is_exact = loaded.environment()["dtype"] == "float32" and self.card.quantization == "none"

    @classmethod
    def load(cls, source: str | Path, trust_remote_code: bool = False, trusted_code: Sequence[str] = ()) -> Predictor:
        """Load an adapter with its base model.

        Args:
            source: path or URI of the adapter, of its trial, of its sweep, or of the sweep's strategy.yaml.
            trust_remote_code: run the base model's own code, if the adapter's card says that it needs it.
            trusted_code: packages and modules that may be imported where the card names them; those of a sweep that
                this user has run on this machine may be anyway.

        Raises:
            UserError: when there is no adapter, it is damaged, or its base model cannot be loaded.
        """
        trust_code(*trusted_code)
        adapter = find_adapter(source)
        trust_own_run_of(adapter)
        return cls(adapter, trust_remote_code)

    def predict(self, texts: Sequence[str], batch_size: int | None = 32) -> list[tuple[Parsed, str]]:
        """Answer texts, each in the prompt of the adapter's own design.

        Args:
            texts: the texts to be read, in any number.
            batch_size: texts at a time; None: as many as suit the device.

        Returns:
            For each text, the parsed answer with its faults, and the completion it was parsed from.
        """
        return [(one.parsed, one.completion) for one in self.answer(texts, batch_size)]

    def answer(self, texts: Sequence[str], batch_size: int | None = 32) -> list[Answered]:
        """As `predict`, with the retries: of a batch, a number without an answer is asked again alone.

        A text's answer does not depend on the others: what might (`NEAR_TIE`) is decoded alone.
        A text of a batch has its instances below their numbers; one without numbers is asked as the only instance.
        """
        task, design, variant = self.task, self.design, self.card.instruction_variant
        examples = self._examples(texts)
        asking = self._asking
        decode = partial(
            self._decoder.generate,
            max_new_tokens=self.card.max_new_tokens,
            batch_size=batch_size,
            near_tie=NEAR_TIE[self.is_exact],
        )
        prompts = [asking.prompts(one.id, one.text) for one in examples]
        ends = [end for one in examples for end in asking.ends(one.text)]
        parts, _ = decode([prompt for several in prompts for prompt in several], ends=ends)
        left = iter(parts)
        texts = [join_completions([next(left) for _ in several]) for several in prompts]
        (by_id,), _ = ask_again([(task, examples, texts)], design, variant, decode, asking.after_demonstrations)
        return [
            Answered(
                parsed := parse_answers(by_id, one, task, design),
                by_id[one.id],
                retries_of(by_id, one, task),
                plain_answer(parsed.answer, task.single) if task.kind == "record" else None,
            )
            for one in examples
        ]

    def num_truncated(self, texts: Sequence[str]) -> list[int]:
        """How many tokens of each text are cut, as the context has no room for them."""
        encoder = self._decoder.encoder
        asked = [self._asking.prompts(one.id, one.text) for one in self._examples(texts)]
        numbers = [max(encoder.num_truncated(several, self.card.max_new_tokens)) for several in asked]
        encoder.forget()  # a server has no end of texts
        return numbers

    @property
    def model_name(self) -> str:
        """What a client may call it: the task that it answers."""
        return self.task.name

    def _examples(self, texts: Sequence[str]) -> list[Example]:
        if self.task.numbered:
            texts = [text if split_texts(text) else join_texts([text]) for text in texts]
        return [Example(f"text {n}", text, {}) for n, text in enumerate(texts, 1)]

    def _check_demonstrations(self, folder: Path) -> None:
        """Raises UserError where the card, which may be anybody's, has not the demonstrations of its design."""
        count = num_demonstrations(self.design)
        try:
            complete = not count or len(self.card.demonstrations) > count
            self._asking.after_demonstrations(())
        except (KeyError, ValueError, TypeError, IndexError):
            complete = False
        if not complete:
            raise UserError(
                f"{folder / ADAPTER_CARD} has not the {count} demonstrations, and one in reserve, that the adapter was "
                "trained with, or they do not answer its task. Give an adapter that a sweep has saved, whole and "
                "unchanged."
            )

    @property
    def _asking(self) -> Asking:
        return ask_in(self.task, self.design, self.card.demonstrations, self.card.instruction_variant)


def prediction_rows(texts: Sequence[str], predictions: Sequence[Answered]) -> list[dict[str, Any]]:
    """Predictions as plain values: text, answer {slot: [value, ...]}, completion, faults [kind, ...].

    Where a number of a batch was asked again, also retries {number: completion}; of a task of records also records, the
    answer as objects, whose canonical JSON texts the values of the answer are.
    """
    return [
        {
            "text": text,
            "answer": {slot: list(values) for slot, values in one.parsed.answer.items()},
            "completion": one.completion,
            "faults": [fault.kind for fault in one.parsed.faults],
            **({"retries": dict(one.retries)} if one.retries else {}),
            **({"records": dict(one.records)} if one.records is not None else {}),
        }
        for text, one in zip(texts, predictions, strict=True)
    ]
