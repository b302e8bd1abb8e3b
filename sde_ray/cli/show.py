"""`sde-ray show`: samples exactly as a trial would train on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, Sets


def show(
    sweep: Annotated[Path | None, typer.Argument(help="A sweep: one example in its first designs.")] = None,
    task: Annotated[str, typer.Option("--task", help="A task; without a sweep.")] = "masa:d1",
    design: Annotated[list[str] | None, typer.Option("--design", help="A design; may be repeated.")] = None,
    n: Annotated[int, typer.Option("-n", "--n", min=1, help="Examples (of a sweep: designs).")] = 1,
    wording: Annotated[int, typer.Option(help="Which of the task's instruction wordings.")] = 0,
    model: Annotated[str, typer.Option(help="Colour token by token, with this model's tokenizer.")] = "",
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Print samples as a trial trains on them; the coloured words are those whose loss counts."""
    from sde_ray.pipeline.preview import preview, preview_task

    if sweep is not None:
        previews = preview(sweep, design or [], n, sets or [])
    else:
        previews = preview_task(task, design or ["baseline"], n, wording)
    if as_json:
        return emit([each.to_dict() for each in previews])
    from sde_ray.cli.views.plan import print_notes
    from sde_ray.cli.views.sample import LEGEND, print_sample
    from sde_ray.tasks.wording_notes import wording_notes

    print_notes(wording_notes(previews[0].task, previews[0].instruction_variant))
    for each in previews:
        print_sample(each, model)
    out().print(LEGEND)


def register(app: typer.Typer) -> None:
    app.command()(show)
