"""`sde-ray report`: the page of a sweep, written again."""

from __future__ import annotations

import typer

from sde_ray.cli.options import Sets, SweepOrRun


def report(sweep: SweepOrRun, sets: Sets = None) -> None:
    """Write report.html again from what the sweep has kept; nothing is trained."""
    from sde_ray.analysis import study
    from sde_ray.cli.views.live import console_listener
    from sde_ray.config.open import open_sweep
    from sde_ray.pipeline import run as pipeline
    from sde_ray.pipeline.context import Step
    from sde_ray.tracking.base import Tracker

    config = open_sweep(sweep, sets or [])
    step = Step(config, console_listener(), Tracker())
    studies = study.studies(config, config.run_dir.existing_results())
    pipeline.report(step, studies, pipeline.load_conclusions(config, studies))


def register(app: typer.Typer) -> None:
    app.command()(report)
