"""Samples as token ids: what the model reads, and which tokens count.

    Segment("Rate the review.", loss=False)  ─┐
    Segment("Great food!", role="text")       ├─▶ Encoded.prompt (ids), Encoded.prompt_loss (one flag an id)
    completion "food: positive"              ──▶ Encoded.completion (ids, the end token included, all counted)

Every segment is tokenized by itself. So a prompt has the same ids whether a completion follows or not (law 3), and a
segment's loss flag is exact at its borders. Where a sample is too long, its *text* is cut from the end and the cut is
counted; instruction and completion are never cut. The room that the text leaves to the completion (`reserve`) does not
depend on the gold answer, so that a cut prompt is also the same in training and at inference.

The tokenizer is passed in (any Hugging Face tokenizer); nothing heavy is imported here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sde_ray.errors import UserError
from sde_ray.types import Sample, Segment

IGNORE_INDEX = -100  # the label that torch's cross entropy skips
MARK = "\u2063sde-content\u2063"  # stands for the prompt while a chat template is rendered around it


@dataclass(frozen=True)
class TokenizedSample:
    """A sample as ids. `cut`: how many tokens of its text were left out."""

    id: str
    prompt: tuple[int, ...]
    prompt_loss: tuple[bool, ...]
    completion: tuple[int, ...]
    cut: int = 0

    @cached_property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.completion

    @cached_property
    def labels(self) -> tuple[int, ...]:
        """The ids that count, `IGNORE_INDEX` elsewhere; same length as `ids`."""
        seen = tuple(i if loss else IGNORE_INDEX for i, loss in zip(self.prompt, self.prompt_loss, strict=True))
        return seen + self.completion

    @cached_property
    def supervised(self) -> int:
        """How many tokens a next-token loss counts: the first token of a sequence is never predicted."""
        return sum(label != IGNORE_INDEX for label in self.labels[1:])


def end_token(tokenizer: Any) -> int:
    """The id that ends a completion. Raises UserError: without one a model could never learn to stop."""
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"The tokenizer of {tokenizer.name_or_path} has no end token (eos_token). A completion needs one to stop "
            'at. Set "eos_token" in its tokenizer_config.json to one of its tokens.'
        )
    return int(tokenizer.eos_token_id)


def pad_token(tokenizer: Any) -> int:
    """The id that fills short rows; the end token stands in (padding is masked, so any id is right)."""
    return end_token(tokenizer) if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)


def leading_tokens(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer puts before a text by its own rule, usually its begin token or nothing."""
    whole = list(tokenizer("a")["input_ids"])
    plain = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    return tuple(whole[: whole.index(plain[0])])


def chat_frame(tokenizer: Any, chat: Literal["auto", "off"]) -> tuple[str, str] | None:
    """The text before and after a user's message in the tokenizer's chat template; None where no chat is wanted."""
    if chat == "off" or not getattr(tokenizer, "chat_template", None):
        return None
    before, mark, after = _chat(tokenizer, MARK).partition(MARK)
    if not mark or MARK in after:
        raise UserError(
            f"The chat template of {tokenizer.name_or_path} does not show the user's message exactly once. "
            "Use `chat_template: off` to write prompts without it."
        )
    return before, after


def _chat(tokenizer: Any, content: str) -> str:
    """The chat in which a user has said `content` and the model is to answer."""
    from jinja2 import TemplateError

    message = [{"role": "user", "content": content}]
    try:
        # Templates that know no `enable_thinking` ignore it; the others must not think aloud before our answer.
        return str(
            tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=False)
        )
    except (TemplateError, ValueError) as error:
        raise UserError(
            f"The chat template of {tokenizer.name_or_path} cannot be used: {error}. "
            "Use `chat_template: off` to write prompts without it."
        ) from error


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
    """Turns prompts and samples into ids for one tokenizer; remembers the ids of segments that come again."""

    def __init__(self, tokenizer: Any, context: int, chat: Literal["auto", "off"] = "auto") -> None:
        """`context`: the most tokens a sample may have, prompt and completion together."""
        self.tokenizer, self.context = tokenizer, context
        self.end = end_token(tokenizer)
        self._ids: dict[str, tuple[int, ...]] = {}
        frame = chat_frame(tokenizer, chat)
        self._before = leading_tokens(tokenizer) if frame is None else self._frame(frame[0])
        self._after = () if frame is None else self._frame(frame[1])

    def completions(self, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
        """The ids of each sample's completion, the end token included."""
        self._learn(segment for sample in samples for segment in (*sample.prompt, sample.completion))
        return [(*self._ids[sample.completion.text], self.end) for sample in samples]

    def samples(self, samples: Sequence[Sample], reserve: int = 0) -> list[TokenizedSample]:
        """Encode for training; each prompt leaves room for `reserve` or its completion, whichever is longer.

        Raises UserError where instruction and completion alone exceed the context, or where no token would count.
        """
        encoded = []
        for sample, completion in zip(samples, self.completions(samples), strict=True):
            prompt, loss, cut = self._prompt(sample.id, sample.prompt, max(reserve, len(completion)))
            encoded.append(TokenizedSample(sample.id, prompt, loss, completion, cut))
            if not encoded[-1].supervised:
                raise UserError(
                    f"Sample {sample.id} has no token to learn: prompt and completion are both empty. "
                    "Check the example's text and answer, or leave it out."
                )
        return encoded

    def prompts(self, named: Sequence[tuple[str, tuple[Segment, ...]]], reserve: int) -> list[tuple[int, ...]]:
        """Encode (id, prompt) pairs for decoding, each leaving room for `reserve` new tokens."""
        self._learn(segment for _, prompt in named for segment in prompt)
        return [self._prompt(name, prompt, reserve)[0] for name, prompt in named]

    def length(self, prompt: tuple[Segment, ...]) -> int:
        """Tokens of a whole prompt, nothing cut."""
        self._learn(prompt)
        return sum(len(self._ids[segment.text]) for segment in prompt) + len(self._before) + len(self._after)

    def fixed_length(self, prompt: tuple[Segment, ...]) -> int:
        """Tokens of a prompt without its text: what is never cut."""
        self._learn(prompt)
        fixed = sum(len(self._ids[segment.text]) for segment in prompt if segment.role != "text")
        return fixed + len(self._before) + len(self._after)

    def _prompt(
        self, name: str, prompt: tuple[Segment, ...], reserve: int
    ) -> tuple[tuple[int, ...], tuple[bool, ...], int]:
        """Ids, loss flags and the number of tokens cut."""
        fixed = self.fixed_length(prompt)
        if fixed + reserve > self.context:
            raise UserError(
                f"Sample {name} does not fit: its prompt has {fixed} tokens without the text and its completion needs "
                f"{reserve}, together more than the context of {self.context}. Only the text may be cut. Use a model "
                "with a longer context, raise train.max_length, or shorten the instruction or the answers."
            )
        pieces = [list(self._ids[segment.text]) for segment in prompt]
        whole = sum(map(len, pieces)) + len(self._before) + len(self._after)
        left = over = max(0, whole + reserve - self.context)
        for segment, piece in zip(reversed(prompt), reversed(pieces), strict=True):
            if segment.role == "text" and left:
                dropped = min(left, len(piece))
                del piece[len(piece) - dropped :]
                left -= dropped
        ids, loss = list(self._before), [False] * len(self._before)
        for segment, piece in zip(prompt, pieces, strict=True):
            ids += piece
            loss += [segment.loss] * len(piece)
        return (*ids, *self._after), (*loss, *[False] * len(self._after)), over

    def _learn(self, segments: Iterable[Segment]) -> None:
        """Tokenize the segments not met before, in one call (a tokenizer's call is dear, its tokens are cheap)."""
        new = list(dict.fromkeys(segment.text for segment in segments if segment.text not in self._ids))
        if new:
            # A text that happens to hold "</s>" is text, not the end of a sample.
            encoded = self.tokenizer(new, add_special_tokens=False, split_special_tokens=True)["input_ids"]
            for text, ids in zip(new, encoded, strict=True):
                self._ids[text] = tuple(ids)

    def _frame(self, text: str) -> tuple[int, ...]:
        """The ids of a part of a chat template, which is made of special tokens."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()
