"""`sde-ray plan`: what a sweep would run, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit
from sde_ray.cli.options import Json, Sets, Sweep
from sde_ray.errors import UserError

if TYPE_CHECKING:
    from sde_ray.config.schema import SweepConfig
    from sde_ray.models.availability import ModelCheck


def plan(
    sweep: Sweep,
    sets: Sets = None,
    model: Annotated[
        bool, typer.Option("--model/--no-model", help="Look at the model, which may be on the cluster only.")
    ] = True,
    gpu_memory: Annotated[
        float | None, typer.Option(min=0, help="GB of a worker's GPU on the cluster: refuses trials that do not fit.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List what a sweep would run, what was pinned or dropped and why, and what it costs. Trains nothing."""
    from sde_ray.cli.views import plan as view
    from sde_ray.config.load import load_config
    from sde_ray.sweep.cluster.gpus import gpu_notes
    from sde_ray.sweep.curation import check_reachable
    from sde_ray.sweep.sweep_run import SweepRun

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    models = _check_models(config) if model else []
    local = model and all(each.is_local for each in models)  # others need a download
    sweep_run = SweepRun(config, check_tokenizer=local)
    if model and not local:
        check_reachable(trial for trial in sweep_run.plan.trials if trial.key not in sweep_run.results)
    memory = sweep_run.memory(gpu_memory) if local else []
    notes = [*(each.note for each in models), *(each.note for each in memory)]
    view.print_notes([*filter(None, notes), *gpu_notes(config.resources), *sweep_run.notes()])
    if as_json:
        return emit(view.to_dict(sweep_run.plan, sweep_run.data, memory))
    return view.show(sweep_run.plan, sweep_run.data, models, memory)


def _check_models(config: SweepConfig) -> list[ModelCheck]:
    """What is known of the sweep's models. Raises UserError where one cannot be loaded here."""
    from sde_ray.models.availability import check_model

    try:
        return [check_model(name, config.trust_remote_code) for name in (*config.model, *config.curation.models)]
    except UserError as error:
        raise UserError(f"{error} (Is it on the cluster only? sde-ray plan --no-model)") from error


def register(app: typer.Typer) -> None:
    app.command()(plan)
