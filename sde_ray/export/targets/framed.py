"""What the targets share that get prompts with everything around them written out."""

from __future__ import annotations

from sde_ray.export.files import jsonl
from sde_ray.export.framing import Framing
from sde_ray.export.source import ExportSource, prompt_text
from sde_ray.types import Sample


def whole_prompt(sample: Sample, framing: Framing) -> str:
    """The prompt with what stands around it, the begin token included."""
    return framing.before + prompt_text(sample) + framing.after


def framed_prompts(source: ExportSource, framing: Framing) -> dict[str, str]:
    """`prompts.jsonl` of each split that is evaluated, for an endpoint that continues a text as it is.

    Without the begin token, which tokenizers and servers add by themselves.
    """
    return {
        "prompts.jsonl" if split == "dev" else f"prompts.{split}.jsonl": jsonl(
            {"id": sample.id, "prompt": whole_prompt(sample, framing).removeprefix(framing.begin)} for sample in samples
        )
        for split, samples in source.samples.items()
        if split != "train"
    }


def eval_note(framing: Framing, tool: str) -> str:
    """How the trained model is asked."""
    frame = "the model's chat template written out" if framing.chat else "no chat template, as in the trial"
    begin = f"; the tokenizer adds {framing.begin}" if framing.begin else ""
    return (
        f"Ask the model that {tool} has trained the prompts of `prompts.jsonl` as they are ({frame}{begin}), greedily, "
        f"up to {framing.max_new_tokens} new tokens, up to {framing.end}; then `sde-ray score` reads its completions."
    )
