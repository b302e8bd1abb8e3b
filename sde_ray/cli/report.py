"""`sde-ray report`: the page of a sweep, written again."""

from __future__ import annotations

import typer

from sde_ray.cli.options import Sets, SweepOrRun, TrustCode


def report(sweep: SweepOrRun, sets: Sets = None, trust_code: TrustCode = None) -> None:
    """Write report.html again from what the sweep has kept; nothing is trained."""
    from sde_ray.cli.views.live import console_listener
    from sde_ray.pipeline.open_run import open_run

    open_run(sweep, sets or []).report(console_listener())


def register(app: typer.Typer) -> None:
    app.command()(report)
