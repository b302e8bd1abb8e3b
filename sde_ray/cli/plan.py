"""`sde-ray plan`: what a sweep would run, and what it costs."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit
from sde_ray.cli.options import Json, Sets, Sweep


def plan(sweep: Sweep, sets: Sets = None, as_json: Json = False) -> None:
    """List what a sweep would run, what was pinned or dropped and why, and what it costs. Trains nothing."""
    from sde_ray.cli.views import plan as view
    from sde_ray.config.load import load_config
    from sde_ray.models.availability import check_model
    from sde_ray.sweep.sweep_run import SweepRun

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    models = [check_model(model, config.trust_remote_code) for model in config.model]
    sweep_run = SweepRun(config, check_tokenizer=all(model.is_local for model in models))  # others need a download
    view.print_notes([*(model.note for model in models if model.note), *sweep_run.notes()])
    if as_json:
        return emit(view.to_dict(sweep_run.plan, sweep_run.data))
    return view.show(sweep_run.plan, sweep_run.data, models)


def register(app: typer.Typer) -> None:
    app.command()(plan)
