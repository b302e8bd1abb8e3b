"""Tokenization: samples as token ids, and which of them count in the loss.

    Segment("Rate the review.", loss=False)  ─┐
    Segment("Great food!", role="text")       ├─▶ TokenizedSample.prompt (ids), .prompt_loss (one flag an id)
    completion "food: positive"              ──▶ .completion (ids, the end token included, all counted)

Every segment is tokenized by itself. So a prompt has the same ids whether a completion follows or not (law 3), and a
segment's loss flag is exact at its borders. Where a sample is too long, its *text* is cut from the end and the cut is
counted; instruction and completion are never cut. The tokens that the text leaves to the completion
(`completion_budget`) do not depend on the gold answer, so that a cut prompt is also the same in training and at
inference.

The tokenizer is passed in (any Hugging Face tokenizer); nothing heavy is imported here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from sde_ray.errors import UserError
from sde_ray.models.token_cache import plain_ids, token_cache
from sde_ray.types import Sample, Segment

Prompt = tuple[Segment, ...]
IGNORE_INDEX = -100  # the label that torch's cross entropy skips
Frame = tuple[str, str]  # what a chat template puts before and after a user's message
TEMPLATE_DATE = datetime(2025, 1, 1)  # today, for templates that name it: else a prompt would change at midnight
CLOCK = re.compile(r"""strftime_now\(\s*(?P<mark>["'])(?P<format>[^"'\\]*)(?P=mark)\s*\)""")  # as templates ask for it
# How models think aloud: a template that only knows thinking ends its prompt with the first of a pair.
THOUGHTS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
)
CHANNEL_OPENING, FINAL_CHANNEL = "<|start|>assistant", "<|channel|>final<|message|>"  # of GPT-OSS
PLACEHOLDER = "\u2063sde-content\u2063"  # stands for the prompt while a chat template is rendered around it


@dataclass(frozen=True)
class TokenizedSample:
    """A sample as token ids. `prompt_loss`: the weight of each prompt token in the loss, where a completion's has 1.

    `num_truncated`: how many tokens of its text were cut.
    """

    id: str
    prompt: tuple[int, ...]
    prompt_loss: tuple[float, ...]
    completion: tuple[int, ...]
    num_truncated: int = 0

    @cached_property
    def input_ids(self) -> tuple[int, ...]:
        """[length] prompt and completion."""
        return self.prompt + self.completion

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """[length] the ids that count in the loss, `IGNORE_INDEX` elsewhere."""
        prompt = tuple(i if loss else IGNORE_INDEX for i, loss in zip(self.prompt, self.prompt_loss, strict=True))
        return prompt + self.completion

    @cached_property
    def num_loss_tokens(self) -> int:
        """How many tokens a next-token loss counts: the first token of a sequence is never predicted."""
        return sum(label != IGNORE_INDEX for label in self.labels[1:])

    @cached_property
    def weights(self) -> tuple[float, ...] | None:
        """[length] the weight of each label in the loss; None where those that count have the same one."""
        graded = any(0 < weight < 1 for weight in self.prompt_loss)
        return (*self.prompt_loss, *[1.0] * len(self.completion)) if graded else None

    @cached_property
    def total_weight(self) -> float:
        """What the summed loss is divided by: the weights of the tokens that count, their number where all have 1."""
        return self.num_loss_tokens if self.weights is None else sum(self.weights[1:])


def eos_token_id(tokenizer: Any) -> int:
    """The id that ends a completion. Raises UserError when there is none: a model could never learn to stop."""
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"The tokenizer of {tokenizer.name_or_path} has no end token (eos_token). A completion needs one to stop "
            'at. Set "eos_token" in its tokenizer_config.json to one of its tokens.'
        )
    return int(tokenizer.eos_token_id)


def pad_token_id(tokenizer: Any) -> int:
    """The id that fills short rows; without one the end token (padding is masked, so any id is right)."""
    return eos_token_id(tokenizer) if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def bos_prefix(tokenizer: Any) -> tuple[int, ...]:
    """The ids that the tokenizer puts before a text by its own rule, usually its begin token or nothing."""
    with_special = list(tokenizer("a")["input_ids"])
    without = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    return tuple(with_special[: with_special.index(without[0])])


def chat_frame(tokenizer: Any, chat: Literal["auto", "off"], thinks: bool = False) -> Frame | None:
    """The text before and after a user's message in the tokenizer's chat template; None without a template.

    The same on any day (`TEMPLATE_DATE`), and ending where the answer begins: behind a thought, not in it; where the
    completion `thinks` by itself, before the thought.
    """
    if chat == "off" or not getattr(tokenizer, "chat_template", None):
        return None
    before, placeholder, after = _chat(tokenizer, PLACEHOLDER, thinks).partition(PLACEHOLDER)
    if not placeholder or PLACEHOLDER in after:
        raise UserError(
            f"The chat template of {tokenizer.name_or_path} does not show the user's message exactly once. "
            "Use `chat_template: off` to write prompts without it."
        )
    if thinks:
        return before, _before_thought(after)
    return before, _behind_thought(after, str(tokenizer.chat_template))


def _before_thought(after: str) -> str:
    """The end of a frame without the mark that opens a thought: the completion has its own."""
    opening = next((opening for opening, _ in THOUGHTS if after.rstrip().endswith(opening)), "")
    return after.rstrip().removesuffix(opening) if opening else after


def _behind_thought(after: str, template: str) -> str:
    """The end of a frame with an empty thought, where the template opens one whatever it is asked for."""
    for opening, closing in THOUGHTS:
        if after.rfind(opening) > after.rfind(closing):
            return after.rstrip("\n") + f"\n\n{closing}\n\n"
    if after.endswith(CHANNEL_OPENING) and FINAL_CHANNEL in template:
        return after + FINAL_CHANNEL
    return after


def _chat(tokenizer: Any, content: str, thinks: bool) -> str:
    """A chat with one user message, up to where the model answers."""
    from jinja2 import TemplateError

    message = [{"role": "user", "content": content}]
    try:
        # Templates that know no `enable_thinking` ignore it; the others must not think aloud before our answer.
        return str(
            tokenizer.apply_chat_template(
                message,
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=thinks,
                **_with_fixed_date(tokenizer),
            )
        )
    except (TemplateError, ValueError) as error:
        raise UserError(
            f"The chat template of {tokenizer.name_or_path} cannot be used: {error}. "
            "Use `chat_template: off` to write prompts without it."
        ) from error


def _with_fixed_date(tokenizer: Any) -> dict[str, str]:
    """The chat template with `TEMPLATE_DATE` where it asks the clock; empty for one that does not.

    Raises UserError for a template that computes the date's format.
    """
    template = str(tokenizer.get_chat_template())
    fixed = CLOCK.sub(lambda call: repr(TEMPLATE_DATE.strftime(call["format"])), template)
    if "strftime_now(" in fixed:
        raise UserError(
            f"The chat template of {tokenizer.name_or_path} puts the date into every prompt, in a format that it "
            "computes, so that no two days have the same prompts. Use `chat_template: off` to write prompts without it."
        )
    return {"chat_template": fixed} if fixed != template else {}


def completion_text(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of generated ids, special tokens left out and spaces untouched."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False))


def missing_characters(tokenizer: Any, texts: Iterable[str]) -> set[str]:
    """The characters of `texts` that do not survive encoding and decoding (unknown, or normalised to another)."""
    characters = sorted(set().union(*map(set, texts)))
    framed = [f"a{character}a" for character in characters]
    encoded = tokenizer(framed, add_special_tokens=False)["input_ids"] if framed else []
    return {
        character
        for character, ids in zip(characters, encoded, strict=True)
        if character not in completion_text(tokenizer, ids)
    }


class Encoder:
    """Tokenizes prompts and samples for one tokenizer; segments that came before are not tokenized again."""

    def __init__(
        self, tokenizer: Any, max_length: int, chat: Literal["auto", "off"] = "auto", frame: Frame | None = None
    ) -> None:
        """`max_length`: the most tokens a sample may have, prompt and completion together.

        `frame`: of an earlier training, in place of the chat template's own, which may have changed since.
        """
        self.tokenizer, self.max_length = tokenizer, max_length
        self.eos_token_id = eos_token_id(tokenizer)
        self._cache = token_cache(tokenizer)
        self._ids: dict[str, tuple[int, ...]] = {}  # of this encoder's texts, which none of them forgets
        self.frame = frame = frame or chat_frame(tokenizer, chat)
        self._spaced = frame is None and self._cache.adds_space(tokenizer)  # a prompt's first text begins with one
        self._first: dict[str, tuple[int, ...]] = {}
        self._before = bos_prefix(tokenizer) if frame is None else self._frame(frame[0])
        self._after = () if frame is None else self._frame(frame[1])

    def completions(self, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
        """The ids of each sample's completion, the end token included."""
        self._tokenize(segment for sample in samples for segment in (*sample.prompt, sample.completion))
        return [(*self._ids[sample.completion.text], self.eos_token_id) for sample in samples]

    def samples(self, samples: Sequence[Sample], completion_budget: int = 0) -> list[TokenizedSample]:
        """Tokenize for training; each prompt leaves room for its completion and for `completion_budget` tokens.

        Raises UserError when instruction and completion alone exceed `max_length`, or when no token would count.
        """
        encoded = []
        for sample, completion in zip(samples, self.completions(samples), strict=True):
            budget = max(completion_budget, len(completion))
            prompt, loss, num_truncated = self._prompt(sample.id, sample.prompt, budget)
            encoded.append(TokenizedSample(sample.id, prompt, loss, completion, num_truncated))
            if not encoded[-1].num_loss_tokens:
                raise UserError(
                    f"Sample {sample.id} has no token to learn: prompt and completion are both empty. "
                    "Check the example's text and answer, or leave it out."
                )
        return encoded

    def prompts(self, prompts: Sequence[tuple[str, Prompt]], completion_budget: int) -> list[tuple[int, ...]]:
        """Tokenize (id, prompt) pairs for generation, each leaving room for `completion_budget` new tokens."""
        self._tokenize(segment for _, prompt in prompts for segment in prompt)
        return [self._prompt(id, prompt, completion_budget)[0] for id, prompt in prompts]

    def num_truncated(self, prompts: Sequence[tuple[str, Prompt]], completion_budget: int) -> list[int]:
        """How many tokens of each prompt's text are cut to leave room for `completion_budget` new tokens."""
        self._tokenize(segment for _, prompt in prompts for segment in prompt)
        return [self._prompt(id, prompt, completion_budget)[2] for id, prompt in prompts]

    def forget(self) -> None:
        """Keep no text that was tokenized, but what the cache of the tokenizer has."""
        self._ids.clear()
        self._first.clear()

    def length(self, prompt: Prompt) -> int:
        """Tokens of a whole prompt, nothing cut."""
        self._tokenize(prompt)
        return sum(map(len, self._pieces(prompt))) + len(self._before) + len(self._after)

    def fixed_length(self, prompt: Prompt) -> int:
        """Tokens of a prompt without its text: what is never cut."""
        self._tokenize(prompt)
        pieces = zip(prompt, self._pieces(prompt), strict=True)
        fixed = sum(len(piece) for segment, piece in pieces if segment.role != "text")
        return fixed + len(self._before) + len(self._after)

    def _prompt(self, id: str, prompt: Prompt, budget: int) -> tuple[tuple[int, ...], tuple[float, ...], int]:
        """Ids, weights in the loss and the number of tokens cut."""
        fixed = self.fixed_length(prompt)
        if fixed + budget > self.max_length:
            raise UserError(
                f"Sample {id} does not fit: its prompt has {fixed} tokens without the text and its completion needs "
                f"{budget}, together more than the context of {self.max_length}. Only the text may be cut. Use a model "
                "with a longer context, raise train.max_length, or shorten the instruction or the answers."
            )
        pieces = [list(piece) for piece in self._pieces(prompt)]
        whole = sum(map(len, pieces)) + len(self._before) + len(self._after)
        remaining = num_truncated = max(0, whole + budget - self.max_length)
        for segment, piece in zip(reversed(prompt), reversed(pieces), strict=True):
            if segment.role == "text" and remaining:
                dropped = min(remaining, len(piece))
                del piece[len(piece) - dropped :]
                remaining -= dropped
        loss: list[float]
        ids, loss = list(self._before), [False] * len(self._before)
        for segment, piece in zip(prompt, pieces, strict=True):
            ids += piece
            loss += [segment.loss] * len(piece)
        return (*ids, *self._after), (*loss, *[False] * len(self._after)), num_truncated

    def _tokenize(self, segments: Iterable[Segment]) -> None:
        """Look up the ids of segments not seen before, in one call (a tokenizer's calls cost more than its tokens)."""
        texts = list(dict.fromkeys(segment.text for segment in segments if segment.text not in self._ids))
        if texts:
            self._ids |= self._cache.ids(self.tokenizer, texts)

    def _pieces(self, prompt: Prompt) -> list[tuple[int, ...]]:
        """The ids of each segment of a prompt, all of which have been looked up."""
        pieces = [self._ids[segment.text] for segment in prompt]
        if self._spaced and prompt:
            text = prompt[0].text
            if text not in self._first:
                self._first[text] = plain_ids(self.tokenizer, [text])[0]
            pieces[0] = self._first[text]
        return pieces

    def _frame(self, text: str) -> tuple[int, ...]:
        """The ids of a part of a chat template, which is made of special tokens."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()
