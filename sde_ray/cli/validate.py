"""`sde-ray validate`: the final comparison of the assembled design with its controls."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit
from sde_ray.cli.options import Json, Sets, SweepOrRun, TrustCode


def validate(sweep: SweepOrRun, sets: Sets = None, trust_code: TrustCode = None, as_json: Json = False) -> None:
    """Compare the assembled design with its controls on fresh seeds and test items; resumes where it stopped."""
    from sde_ray.cli.views.live import console_listener
    from sde_ray.pipeline.open_run import open_run

    conclusions = open_run(sweep, sets or []).validate(console_listener(as_json))
    if as_json:
        emit([each.to_dict() for each in conclusions])


def register(app: typer.Typer) -> None:
    app.command()(validate)
