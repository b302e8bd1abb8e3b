"""A sample in colour: dim what the model only reads, green what it learns to write, token borders where asked for."""

from __future__ import annotations

from rich.panel import Panel
from rich.text import Text

from sde_ray.cli.console import out
from sde_ray.pipeline.preview import SamplePreview
from sde_ray.types import Segment

READ, LEARNED, INPUT_LEARNED, END = "dim", "bold green", "green", "bold black on green"
LEGEND = Text("\n").append("read", READ).append(" · ")
LEGEND.append("loss on the input", INPUT_LEARNED).append(" · ").append("loss on the completion", LEARNED)
LEGEND.append(" · ").append(" end ", END).append(" end token, learned too")


def sample(shown: SamplePreview, model: str = "") -> None:
    """Print one sample; with a model's name every token gets its own shade."""
    text = tokens(shown, model) if model else segments(shown)
    from sde_ray.design.designs import paper_label

    read_back = ", ".join(f"{slot}={'|'.join(values)}" for slot, values in shown.parsed.answer.items()) or "nothing"
    faults = ", ".join(fault.kind for fault in shown.parsed.faults)
    out().print()
    out().print(
        Panel(
            text,
            title=Text(f"{shown.task.name} · {paper_label(shown.design)}"),
            subtitle=Text(f"read back: {read_back}" + (f" · faults: {faults}" if faults else "")),
            title_align="left",
            subtitle_align="left",
        )
    )


def segments(shown: SamplePreview) -> Text:
    """The sample segment by segment."""
    text = Text()
    for segment in (*shown.sample.prompt, shown.sample.completion):
        text.append(segment.text, style=_style(segment))
    return text.append(" end ", style=END)


def tokens(shown: SamplePreview, model: str) -> Text:
    """The sample as the model's tokenizer cuts it: neighbouring tokens differ in shade."""
    from sde_ray.models.base import load_tokenizer
    from sde_ray.models.tokenization import eos_token_id

    tokenizer = load_tokenizer(model)
    text, count = Text(), 0
    for segment in (*shown.sample.prompt, shown.sample.completion):
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
        known = tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)  # type: ignore[attr-defined]
        if known.endswith("\ufffd") and end < len(ids):
            continue
        pieces.append(known[done:])
        done = len(known)
    return pieces


def _style(segment: Segment) -> str:
    if segment.role == "completion":
        return LEARNED
    return INPUT_LEARNED if segment.loss else READ
