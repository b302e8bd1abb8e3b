"""A sample in colour: dim text without loss, green text with loss; on request token by token."""

from __future__ import annotations

from rich.panel import Panel
from rich.text import Text

from sde_ray.cli.console import out
from sde_ray.pipeline.preview import SamplePreview
from sde_ray.tasks.titles import task_title
from sde_ray.types import Segment

READ, LEARNED, INPUT_LEARNED, END = "dim", "bold green", "green", "bold black on green"
LEGEND = Text("\n").append("read", READ).append(" · ")
LEGEND.append("loss on the input", INPUT_LEARNED).append(" · ").append("loss on the completion", LEARNED)
LEGEND.append(" · ").append(" end ", END).append(" end token, learned too")


def print_sample(preview: SamplePreview, model: str = "") -> None:
    """Print one sample; with a model's name every token gets its own shade."""
    text = token_text(preview, model) if model else segment_text(preview)
    from sde_ray.design.designs import paper_label

    read_back = ", ".join(f"{slot}={'|'.join(values)}" for slot, values in preview.parsed.answer.items()) or "nothing"
    faults = ", ".join(fault.kind for fault in preview.parsed.faults)
    out().print()
    out().print(
        Panel(
            text,
            title=Text(f"{task_title(preview.task.name)} · {paper_label(preview.design)}"),
            subtitle=Text(f"read back: {read_back}" + (f" · faults: {faults}" if faults else "")),
            title_align="left",
            subtitle_align="left",
        )
    )


def segment_text(preview: SamplePreview) -> Text:
    """The sample segment by segment."""
    text = Text()
    for segment in (*preview.sample.prompt, preview.sample.completion):
        text.append(segment.text, style=_style(segment))
    return text.append(" end ", style=END)


def token_text(preview: SamplePreview, model: str) -> Text:
    """The sample token by token, by the model's tokenizer: neighbouring tokens differ in shade."""
    from sde_ray.models.base import load_tokenizer
    from sde_ray.models.tokenization import eos_token_id

    tokenizer = load_tokenizer(model)
    text, count = Text(), 0
    for segment in (*preview.sample.prompt, preview.sample.completion):
        for piece in _pieces(tokenizer, segment.text):
            text.append(piece, style=f"{_style(segment)} {'on grey15' if count % 2 else 'on grey27'}")
            count += 1
    text.append(f" {tokenizer.decode([eos_token_id(tokenizer)])} ", style=END)
    return text.append(f"\n{count + 1} tokens", style="italic")


def _pieces(tokenizer: object, text: str) -> list[str]:
    """The text cut at token borders. A character made of several byte tokens stays with the last of them."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]  # type: ignore[operator]
    pieces, done = [], 0
    for end in range(1, len(ids) + 1):
        decoded = tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)  # type: ignore[attr-defined]
        if decoded.endswith("\ufffd") and end < len(ids):
            continue
        pieces.append(decoded[done:])
        done = len(decoded)
    return pieces


def _style(segment: Segment) -> str:
    if segment.role == "completion":
        return LEARNED
    return INPUT_LEARNED if segment.loss else READ
