"""`across`: one sweep over several models; which findings hold for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sde_ray.cli.console import emit, interval, number, out, table
from sde_ray.cli.evidence import Place
from sde_ray.cli.options import Json, Sets

if TYPE_CHECKING:
    from sde_ray.across import Across


def across(place: Place, sets: Sets = None, as_json: Json = False) -> None:
    """Say which options help on every model of a sweep, and whether the models rank the designs alike."""
    from sde_ray import across as rooms
    from sde_ray import study
    from sde_ray.errors import UserError

    config = study.open_sweep(place, sets or [])
    found = rooms.across(study.studies(config, study.results_of(config)))
    if not found:
        raise UserError(
            f'The trials of "{config.name}" are of one model each task and size. List several in the sweep, such as '
            "model: [tiny, Qwen/Qwen2.5-0.5B], and run it: only the new trials run."
        )
    if as_json:
        return emit([one.plain() for one in found])
    for one in found:
        _print(one)


def _print(one: Across) -> None:
    numbers = (*one.models, "pooled", "95% interval")
    title = f"\n{one.task}, {one.train_size} training examples: effects by model, against the option in brackets"
    shown = table(title, "axis", "option", *numbers, "signs", "holds", right=numbers)
    for row in one.findings:
        own = [number(row.by_model[model].value, sign=True) for model in one.models]
        pooled = (number(row.pooled.value, sign=True), interval(row.pooled.low, row.pooled.high))
        shown.add_row(row.axis, f"{row.option} [dim]({row.reference})[/]", *own, *pooled, row.signs, row.holds)
    out().print(shown)
    for pair in one.agreement:
        rho = pair.spearman
        said = f"{number(rho.value, sign=True)} [{interval(rho.low, rho.high)}]"
        out().print(f"{pair.models[0]} and {pair.models[1]}: Spearman {said}", highlight=False, markup=False)
    out().print(one.words, highlight=False, markup=False)


def add_to(app: typer.Typer) -> None:
    app.command()(across)
