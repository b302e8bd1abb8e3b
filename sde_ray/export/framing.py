"""The text around a prompt, written out, for tools that take a sample as it is: chat template, begin and end token.

    framing = load_framing(source)          reads the model's tokenizer, not its weights
    framing.before, framing.after           "<|im_start|>user\\n", "<|im_end|>\\n<|im_start|>assistant\\n"
    framing.end                             "<|im_end|>", which the trial's completions end with

A tool's own rendering of a chat template may add a system message, a thought, the day, or a line break that counts in
the loss. Written out, training and prediction see what the trial's do, whatever the tool's template is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sde_ray.errors import UserError
from sde_ray.export.source import ExportSource
from sde_ray.types import Sample

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Framing:
    """What stands around each prompt. `begin`: the tokenizer's begin token, which `before` starts with, or nothing.

    `encoder` is the trial's; `max_new_tokens`: of a completion, as the trial decodes. `where`: what the model is called
    in `from_pretrained`, with its `revision`.
    """

    before: str
    after: str
    end: str
    begin: str
    chat: bool
    encoder: Any
    max_new_tokens: int
    max_length: int
    where: str
    revision: str = ""

    def encoded(self, samples: Sequence[Sample]) -> list[Any]:
        """The samples as the trial tokenizes them, over-long texts cut."""
        return list(self.encoder.samples(samples, self.max_new_tokens))

    def ids(self, text: str) -> Ids:
        """A text's ids without any token added, as tools tokenize a part of a sample."""
        return tuple(self.encoder.tokenizer(text, add_special_tokens=False)["input_ids"])


def load_framing(source: ExportSource) -> Framing:
    """Load the tokenizer of the trial's model. Raises UserError when it cannot be loaded, or is a GGUF file's."""
    from transformers import AutoConfig

    from sde_ray.models.base import explained, load_tokenizer, pretrained
    from sde_ray.models.decoder import completion_budget
    from sde_ray.models.tokenization import Encoder, bos_prefix

    trial = source.trial
    where = pretrained(trial.model)
    if "gguf_file" in where:
        raise UserError(
            f"{trial.model} is a GGUF file, which training tools do not take. Name the model that it was made from: "
            "--model is one of the sweep's; export a sweep on the original."
        )
    tokenizer = load_tokenizer(trial.model, trial.trust_remote_code)
    with explained(trial.model, "configuration"):
        config = AutoConfig.from_pretrained(**where, trust_remote_code=trial.trust_remote_code)
    longest = getattr(config.get_text_config(), "max_position_embeddings", None) or trial.train.max_length
    encoder = Encoder(tokenizer, min(trial.train.max_length, int(longest)), trial.chat_template)
    begin = "".join(tokenizer.convert_ids_to_tokens(list(bos_prefix(tokenizer))))
    before, after = encoder.frame or (begin, "")
    return Framing(
        before=before,
        after=after,
        end=str(tokenizer.eos_token),
        begin=begin if before.startswith(begin) else "",
        chat=encoder.frame is not None,
        encoder=encoder,
        max_new_tokens=completion_budget(trial.generation.max_new_tokens, encoder, source.samples["train"]),
        max_length=encoder.max_length,
        where=str(where["pretrained_model_name_or_path"]),
        revision=str(where.get("revision", "")),
    )


def framing_notes(source: ExportSource, framing: Framing, tool_ids: Callable[[Sample], Ids]) -> list[str]:
    """Whether the tool's ids are those of the trial, counted over all samples, and what it would cut."""
    samples = [sample for each in source.samples.values() for sample in each]
    encoded = framing.encoded(samples)
    cut = sum(1 for row in encoded if row.num_truncated)
    whole = [(sample, row) for sample, row in zip(samples, encoded, strict=True) if not row.num_truncated]
    other = sum(1 for sample, row in whole if tool_ids(sample) != row.input_ids)
    notes = [f"Of {len(whole)} samples {len(whole) - other} have the very token ids of the trial"]
    notes[0] += (
        f"; in {other} the tokenizer joins characters across the borders of text and instruction, which the trial "
        "keeps apart. The text is the same."
        if other
        else "."
    )
    if cut:
        notes.append(
            f"{cut} samples are longer than {framing.max_length} tokens. The trial cuts their text only; the tool may "
            "cut the instruction or leave the sample out. Raise the length, or shorten these texts."
        )
    return notes
