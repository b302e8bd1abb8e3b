"""Decoder: prompts in, completions out, by a base model with or without a LoRA adapter.

    decoder = LoraDecoder(load_base("tiny"), peft_model, max_length=512)
    budget = completion_budget(None, decoder.encoder, samples)
    texts, num_tokens = decoder.generate([("s1", prompt), ...], budget)

A trial's evaluation, `predict`, the robustness study and the prompting study all decode here, so the same adapter and
prompts give the same completions everywhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal

from peft import PeftModel

from sde_ray.design.answer_end import AnswerEnd
from sde_ray.models.backends import make_backend
from sde_ray.models.backends.request import BackendSettings, Request
from sde_ray.models.base import LoadedModel
from sde_ray.models.constrained import Constraint, make_constraint
from sde_ray.models.generation import Sampling
from sde_ray.models.tokenization import Encoder, Frame, Prompt, chat_frame, completion_text
from sde_ray.types import Sample

LOOK_EVERY = 8  # new tokens, at whether an answer is settled: the text has to be made and parsed each time


def completion_budget(max_new_tokens: int | None, encoder: Encoder, samples: Sequence[Sample]) -> int:
    """The most tokens that a completion may have: as set, else 1.5 times the longest gold one, if that fits.

    More than the longest gold completion is given only up to half of what `encoder.max_length` leaves after the longest
    instruction, so that texts are not cut for it.

    Args:
        max_new_tokens: `generation.max_new_tokens`; None: the rule above.
        encoder: of the model, with the context's length.
        samples: whose completions are gold; the trial's training samples, or the demonstrations and items of a prompt.
    """
    if max_new_tokens is not None:
        return max_new_tokens
    longest = max(map(len, encoder.completions(samples)))
    available = encoder.max_length - max(encoder.fixed_length(sample.prompt) for sample in samples)
    return max(longest, min(int(1.5 * longest), available // 2))


class LoraDecoder:
    """A loaded model with its encoder, and an adapter or none: encode, generate, decode to text."""

    def __init__(
        self,
        loaded: LoadedModel,
        peft_model: PeftModel | None = None,
        *,
        max_length: int,
        chat_template: Literal["auto", "off"] = "auto",
        frame: Frame | None = None,
        thinks: bool = False,
        backend: str = "builtin",
        merge_adapter: bool = True,
        trust_remote_code: bool = False,
    ) -> None:
        """`max_length`: tokens of prompt and completion together; the model's own limit holds as well.

        `frame`: see `Encoder`; `thinks`: see `chat_frame`; `backend`: a name of `BACKENDS`; the rest:
        `BackendSettings`.
        """
        self.loaded, self.peft_model = loaded, peft_model
        settings = self.backend_settings = BackendSettings(max_length, merge_adapter, trust_remote_code)
        self.backend = make_backend(backend, loaded, settings)
        if thinks and frame is None:
            frame = chat_frame(loaded.tokenizer, chat_template, thinks)
        self.encoder = Encoder(loaded.tokenizer, min(max_length, loaded.max_positions), chat_template, frame)

    def generate(
        self,
        prompts: Sequence[tuple[str, Prompt]],
        max_new_tokens: int,
        *,
        batch_size: int | None = None,
        sampling: Sampling | None = None,
        stop_token_ids: Collection[int] = (),
        share_prefix: bool = True,
        ends: Sequence[AnswerEnd | None] = (),
        near_tie: float = 0.0,
    ) -> tuple[list[str], int]:
        """Generate the completion of each prompt, with the adapter merged into the weights where it is a sum with them.

        Args:
            prompts: (id, segments) pairs; the id is for messages.
            max_new_tokens: the length at which a completion stops; each prompt's text is cut to leave room for it.
            batch_size: prompts at a time; None: as many as suit the device.
            sampling: draw tokens instead of taking the likeliest.
            stop_token_ids: end a completion, in addition to the model's own end tokens.
            share_prefix: see `generation.generate`.
            ends: of each prompt, when its answer is settled: then the completion ends, a few tokens later; and the
                grammar of its completion, if it has one.
            near_tie: see `generation.generate`.

        Returns:
            The completions' texts in the order of the prompts, and how many tokens they have in all.

        Raises:
            UserError: when a prompt without its text, and `max_new_tokens`, exceed the context.
        """
        tokenizer = self.loaded.tokenizer
        request = Request(
            eos_token_ids=(*self.loaded.eos_token_ids, *stop_token_ids),
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
            sampling=sampling,
            share_prefix=share_prefix,
            is_complete=partial(self.is_settled, ends) if any(ends) else None,
            constraint=self.constraint(ends, stop_token_ids),
            near_tie=near_tie,
            stop=next((end.stop for end in ends if end), ""),
        )
        generated = self.backend.generate(self.peft_model, self.encoder.prompts(prompts, max_new_tokens), request)
        return [completion_text(tokenizer, ids) for ids in generated], sum(map(len, generated))

    def constraint(self, ends: Sequence[AnswerEnd | None], stop_token_ids: Collection[int] = ()) -> Constraint | None:
        """The constraint of prompts whose answers end so."""
        eos_token_ids = (*self.loaded.eos_token_ids, *stop_token_ids)
        return make_constraint(self.loaded.tokenizer, eos_token_ids, [end.grammar if end else "" for end in ends])

    def is_settled(self, ends: Sequence[AnswerEnd | None], row: int, ids: Sequence[int]) -> bool:
        end = ends[row]
        if end is None or len(ids) % LOOK_EVERY:
            return False
        return end.is_settled(completion_text(self.loaded.tokenizer, ids))
