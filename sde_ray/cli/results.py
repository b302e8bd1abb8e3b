"""What the trials of a sweep show: `effects`, `assemble`, `validate`, `report`.

Only `validate` trains: the final comparison. All others read what a sweep has kept.
"""

from __future__ import annotations

from typing import Annotated

import typer

from sde_ray.cli.console import emit, err, out
from sde_ray.cli.options import Json, Place, Sets


def effects(place: Place, sets: Sets = None, as_json: Json = False) -> None:
    """Rank the designs and say what each option does to the score, with intervals; which models agree on it."""
    from sde_ray.analysis import study
    from sde_ray.analysis.cross_study import cross_studies
    from sde_ray.cli.views import cross_study, tables

    config = study.open_sweep(place, sets or [])
    found = study.studies(config, study.results_of(config))
    families = cross_studies(found)
    if as_json:
        together = [family.to_dict() for family in families]
        return emit([one.to_dict() | ({"across": together} if together else {}) for one in found])
    for one in found:
        out().print(tables.study(one))
    for family in families:
        out().print(cross_study.across(family))
    return None


def assemble(
    place: Place,
    adherence: Annotated[
        float | None,
        typer.Option(
            "--min-format-adherence", "--adherence", min=0, max=1, help="Least share of faultless completions."
        ),
    ] = None,
    tokens: Annotated[
        float | None, typer.Option("--max-output-tokens", "--tokens", min=1, help="Most output tokens, in the mean.")
    ] = None,
    pareto: Annotated[bool, typer.Option("--pareto", help="Also show which designs are worth their price.")] = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Assemble the best combination that the evidence carries, and save it as strategy.yaml."""
    from sde_ray.analysis import study
    from sde_ray.cli.views import tables
    from sde_ray.cli.views.live import console_listener
    from sde_ray.pipeline import run
    from sde_ray.pipeline.context import Step
    from sde_ray.tracking.base import Tracker

    config = study.open_sweep(place, sets or [])
    found = run.largest_studies(study.studies(config, study.results_of(config)))
    step = Step(config, console_listener(as_json), Tracker())
    constraints = run.constraints_of(config, adherence, tokens)
    made = [run.assemble(step, one, constraints) for one in found]
    if as_json:
        fronts = [{"pareto": [step.to_dict() for step in one.pareto_front]} if pareto else {} for one in found]
        return emit([one.to_dict() | front for one, front in zip(made, fronts, strict=True)])
    for one in found if pareto else []:
        out().print(tables.pareto(one.pareto_front, one.objective))
    return None


def validate(place: Place, sets: Sets = None, as_json: Json = False) -> None:
    """Compare the assembled design with its controls on fresh seeds and test items; resumes where it stopped."""
    from sde_ray.analysis import study
    from sde_ray.cli.views.live import console_listener
    from sde_ray.pipeline import run
    from sde_ray.pipeline.context import Step

    config = study.open_sweep(place, sets or [])
    listener = console_listener(as_json)
    found = study.studies(config, study.results_of(config))
    try:
        with run.tracked(config) as tracker:
            step = Step(config, listener, tracker)
            made = [run.validate(step, run.assemble(step, one)) for one in run.largest_studies(found)]
            run.report(step, found, made)
    except run.Interrupted as stopped:
        err().print(str(stopped), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    if as_json:
        emit([one.to_dict() for one in made])


def report(place: Place, sets: Sets = None) -> None:
    """Write report.html again from what the sweep has kept; nothing is trained."""
    from sde_ray.analysis import study
    from sde_ray.cli.views.live import console_listener
    from sde_ray.pipeline import run
    from sde_ray.pipeline.context import Step
    from sde_ray.tracking.base import Tracker

    config = study.open_sweep(place, sets or [])
    step = Step(config, console_listener(), Tracker())
    found = study.studies(config, study.results_of(config))
    run.report(step, found, run.load_conclusions(config, found))


def register(app: typer.Typer) -> None:
    app.command()(effects)
    app.command()(assemble)
    app.command()(validate)
    app.command()(report)
