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
    from sde_ray.pipeline import run as pipeline

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    planned = pipeline.plan_of(config)
    view.print_notes(planned)
    if all(model == "tiny" or Path(model).is_dir() for model in config.model):  # others need a download
        from sde_ray.sweep.tokenizer_check import drop_unencodable

        planned = drop_unencodable(planned)
    if as_json:
        return emit(view.to_dict(planned))
    return view.show(planned)


def register(app: typer.Typer) -> None:
    app.command()(plan)
