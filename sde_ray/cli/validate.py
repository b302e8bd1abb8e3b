"""`sde-ray validate`: the final comparison of the assembled design with its controls."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit, err
from sde_ray.cli.options import Json, Sets, SweepOrRun


def validate(sweep: SweepOrRun, sets: Sets = None, as_json: Json = False) -> None:
    """Compare the assembled design with its controls on fresh seeds and test items; resumes where it stopped."""
    from sde_ray.analysis import study
    from sde_ray.cli.views.live import console_listener
    from sde_ray.config.open import open_sweep
    from sde_ray.pipeline import run as pipeline
    from sde_ray.pipeline.context import Step

    config = open_sweep(sweep, sets or [])
    listener = console_listener(as_json)
    studies = study.studies(config, config.run_dir.existing_results())
    try:
        with pipeline.tracked(config) as tracker:
            step = Step(config, listener, tracker)
            conclusions = [
                pipeline.validate(step, pipeline.assemble(step, each)) for each in pipeline.largest_studies(studies)
            ]
            pipeline.report(step, studies, conclusions)
    except pipeline.Interrupted as stopped:
        err().print(str(stopped), highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(130) from None
    if as_json:
        emit([each.to_dict() for each in conclusions])


def register(app: typer.Typer) -> None:
    app.command()(validate)
