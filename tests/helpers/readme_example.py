"""README's example: one training example in two designs side by side, the tokens that the loss counts in brackets.

python tests/helpers/readme_example.py     prints the block, to paste it into README.md after a change of a design
"""

from __future__ import annotations

import textwrap
from itertools import groupby, zip_longest

from sde_ray.pipeline.preview import SamplePreview, preview_task

TASK = "masa:d1"
LEFT = "es-sde"
RIGHT = "instruction=last,input_modeling=on,format=json,unmentioned=omit,labels=number"
WIDTH = 48
OPENED, CLOSED = "⟦", "⟧"


def marked(preview: SamplePreview) -> str:
    """A sample as one text; each stretch of tokens in the loss is in brackets, the end token included."""
    segments = (*preview.sample.prompt, preview.sample.completion)
    stretches = [(loss, "".join(s.text for s in group)) for loss, group in groupby(segments, key=lambda s: s.loss)]
    text = "".join(f"{OPENED}{words}{CLOSED}" if loss else words for loss, words in stretches)
    return text.removesuffix(CLOSED) + f"<end>{CLOSED}"


def column(heading: str, preview: SamplePreview) -> list[str]:
    rows = [row for line in marked(preview).split("\n") for row in textwrap.wrap(line, WIDTH) or [""]]
    return [heading, "-" * WIDTH, *rows]


def side_by_side() -> str:
    """Both columns, with the designs' names of the paper as headings."""
    from sde_ray.design.designs import paper_label

    left, right = preview_task(TASK, [LEFT, RIGHT], n=1)
    columns = [column(paper_label(preview.design), preview) for preview in (left, right)]
    rows = zip_longest(*columns, fillvalue="")
    return "\n".join(f"{one:<{WIDTH}} | {other}".rstrip() for one, other in rows)


if __name__ == "__main__":
    print(side_by_side())
