"""Look before you run: `axes`, `tasks`, and `show`, which prints samples exactly as a trial would train on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json, Sets


def axes(as_json: Json = False) -> None:
    """List the axes of sample design and their options."""
    from sde_ray.design.axes import AXES

    rows = [
        {
            "axis": axis.name,
            "option": name,
            "paper": option.label,
            "default": name == axis.default,
            "swept": option.swept,
            "stage": axis.stage,
        }
        for axis in AXES.values()
        for name, option in axis.options.items()
    ]
    if as_json:
        return emit(rows)
    shown = table("", "axis", "option", "paper's name", "")
    for row in rows:
        notes = ["default"] * bool(row["default"]) + ["not swept unless listed"] * (not row["swept"])
        shown.add_row(str(row["axis"]), str(row["option"]), str(row["paper"]), ", ".join(notes))
    out().print(shown)
    out().print('\nOptions and axes of your own: "my_pkg.my_axes:NAME" wherever a name of this table may stand.')


def tasks(as_json: Json = False) -> None:
    """List the built-in tasks. One of your own needs a YAML file only (sweeps/bring_your_own.yaml)."""
    from sde_ray.tasks import TASKS, get_task

    found = [get_task(name) for name in TASKS]
    if as_json:
        keys = ("name", "kind", "language", "slots", "labels", "objective", "domains")
        return emit([{key: getattr(task, key) for key in keys} for task in found])
    shown = table("", "task", "answer", "slots", "labels", "objective", "out of domain")
    kinds = {"label": "a label a slot", "span": "spans of the text", "free": "free words"}
    for task in found:
        labels = ", ".join(task.labels or ())
        domains = ", ".join(task.domains)
        shown.add_row(task.name, kinds[task.kind], ", ".join(task.slots), labels, task.objective, domains)
    out().print(shown)


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
    from sde_ray.pipeline import preview

    if sweep is not None:
        chosen = preview.of_sweep(sweep, sets or [], design or [], n)
    else:
        chosen = preview.from_task(task, design or ["baseline"], n, wording)
    if as_json:
        return emit([one.to_dict() for one in chosen])
    from sde_ray.cli.views import sample

    for one in chosen:
        sample.sample(one, model)
    out().print(sample.LEGEND)


def register(app: typer.Typer) -> None:
    app.command()(show)
    app.command()(axes)
    app.command()(tasks)
