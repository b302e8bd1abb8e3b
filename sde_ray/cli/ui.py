"""`sde-ray ui`: the trials of a sweep compared on MLflow's page."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import err, out
from sde_ray.cli.options import Sets, SweepOrRun, TrustCode


def ui(
    sweep: SweepOrRun,
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 5000,
    host: Annotated[str, typer.Option(help="Address that may open it; 0.0.0.0 for all.")] = "127.0.0.1",
    browser: Annotated[bool | None, typer.Option(help="Open the page in the browser; default: on a terminal.")] = None,
    sets: Sets = None,
    trust_code: TrustCode = None,
) -> None:
    """Compare the trials of a sweep in MLflow: every trial with its axes and scores, and charts of them."""
    from sde_ray.config.open import open_sweep
    from sde_ray.safe_text import mask
    from sde_ray.sweep.signals import sigterm_is_ctrl_c
    from sde_ray.tracking.tracking_uri import resolve_tracking_uri
    from sde_ray.tracking.ui import LOG, UiServer, sweep_address

    config = open_sweep(sweep, sets or [])
    tracking_uri, folder = resolve_tracking_uri(config), config.run_dir.path
    name = config.mlflow.experiment_name
    if tracking_uri.startswith(("http://", "https://")):
        address = sweep_address(str(mask(tracking_uri)), tracking_uri, name, folder)
        _show(f"The trials are at {address}", address, browser)
        return
    log = (folder if folder.is_dir() else Path(tempfile.gettempdir())) / LOG
    err().print("Starting MLflow's page ...", highlight=False)
    with suppress(KeyboardInterrupt), sigterm_is_ctrl_c(), UiServer(tracking_uri, port, host, log) as server:
        address = sweep_address(server.address, tracking_uri, name, folder)
        server.wait_until_healthy()
        _show(f"The trials are at {address}\nCtrl-C ends it.", address, browser)
        server.wait()


def _show(text: str, address: str, browser: bool | None) -> None:
    out().print(text, highlight=False, markup=False, soft_wrap=True)
    if browser if browser is not None else sys.stdout.isatty():
        typer.launch(address)


def register(app: typer.Typer) -> None:
    app.command()(ui)
