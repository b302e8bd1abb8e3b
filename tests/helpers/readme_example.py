"""README's example: a training example in two designs, one below the other, what the loss counts in brackets.

Lines are as short as a phone shows them without scrolling.

python tests/helpers/readme_example.py     prints the block, to paste it into README.md after a change of a design
"""

from __future__ import annotations

import textwrap
from itertools import groupby

from sde_ray.pipeline.preview import SamplePreview, preview_task

TASK = "masa:d1"
FIRST = "es-sde"
SECOND = "instruction=last,input_modeling=on,format=json,unmentioned=omit,labels=number"
WIDTH = 40
OPENED, CLOSED = "⟦", "⟧"


def marked(preview: SamplePreview) -> str:
    """A sample as one text; each stretch of tokens in the loss is in brackets, the end token included."""
    segments = (*preview.sample.prompt, preview.sample.completion)
    stretches = [(loss, "".join(s.text for s in group)) for loss, group in groupby(segments, key=lambda s: s.loss)]
    text = "".join(f"{OPENED}{words}{CLOSED}" if loss else words for loss, words in stretches)
    return text.removesuffix(CLOSED) + f"<end>{CLOSED}"


def wrap(line: str) -> list[str]:
    """A line in rows of a phone's width; an entry of JSON stays whole."""
    return [line] if '{"' in line else textwrap.wrap(line, WIDTH) or [""]


def block(preview: SamplePreview) -> str:
    """A sample as a block of text below its design's name of the paper."""
    from sde_ray.design.designs import paper_label

    rows = [row for line in marked(preview).split("\n") for row in wrap(line)]
    return "\n".join([f"{paper_label(preview.design)}:", "", "```text", *rows, "```"])


def example() -> str:
    """Both blocks."""
    return "\n\n".join(block(preview) for preview in preview_task(TASK, [FIRST, SECOND], n=1))


if __name__ == "__main__":
    print(example())
