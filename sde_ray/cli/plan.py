"""`sde-ray plan`: what a sweep would run, and what it costs."""

from __future__ import annotations

from pathlib import Path

import typer

from sde_ray.cli.console import emit
from sde_ray.cli.options import Json, Sets, Sweep


def plan(sweep: Sweep, sets: Sets = None, as_json: Json = False) -> None:
    """List what a sweep would run, what was pinned or dropped and why, and what it costs. Trains nothing."""
    from sde_ray.cli.views import plan as view
    from sde_ray.config.load import load_config
    from sde_ray.sweep.sweep_run import SweepRun

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    local = all(model == "tiny" or Path(model).is_dir() for model in config.model)  # others need a download
    sweep_run = SweepRun(config, check_tokenizer=local)
    view.print_notes(sweep_run.notes())
    if as_json:
        return emit(view.to_dict(sweep_run.plan))
    return view.show(sweep_run.plan)


def register(app: typer.Typer) -> None:
    app.command()(plan)
