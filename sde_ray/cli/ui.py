"""`sde-ray ui`: the MLflow page of a sweep's runs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sde_ray.cli.console import err, out
from sde_ray.cli.options import Sets, SweepOrRun, TrustCode


def ui(
    sweep: SweepOrRun,
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 5000,
    host: Annotated[str, typer.Option(help="Address that may open it; 0.0.0.0 for all.")] = "127.0.0.1",
    sets: Sets = None,
    trust_code: TrustCode = None,
) -> None:
    """Open the MLflow web page of a sweep's runs."""
    from sde_ray.config.open import open_sweep
    from sde_ray.safe_text import mask
    from sde_ray.tracking.tracking_uri import resolve_tracking_uri, ui_command

    tracking_uri = resolve_tracking_uri(open_sweep(sweep, sets or []))
    if tracking_uri.startswith(("http://", "https://")):
        out().print(f"The runs are at {mask(tracking_uri)}", highlight=False, markup=False)
        return
    err().print(f"MLflow at http://{host}:{port} (Ctrl-C ends it). Sort by Created to see trials under their sweep.")
    command = ui_command(tracking_uri, port, host)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking_uri
    os.execv(command[0], command)


def register(app: typer.Typer) -> None:
    app.command()(ui)
