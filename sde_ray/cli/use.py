"""Use what a sweep found: `predict` applies the winning adapter, `ui` opens MLflow."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Sets


def predict(
    strategy: Annotated[Path, typer.Argument(help="A sweep's folder, its strategy.yaml, or a trial's folder.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; without any, one a line from stdin.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a text.")] = False,
) -> None:
    """Answer texts with the winning adapter, in the design it was trained in: text in, parsed answer out."""
    from sde_ray.predict import Predictor

    given = list(texts or []) or [line.rstrip("\n") for line in sys.stdin if line.strip()]
    predictor = Predictor.load(strategy)
    for text, found in zip(given, predictor.predict(given), strict=True):
        print(text, found)


def ui(
    sweep: Annotated[Path | None, typer.Argument(help="A sweep's YAML file, for its own tracking store.")] = None,
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 5000,
    sets: Sets = None,
) -> None:
    """Open the MLflow web page of a sweep's runs."""
    from sde_ray.track import tracking_uri

    raise NotImplementedError(tracking_uri, port, os, emit, out, table, escape, sets, sweep)


def add_to(app: typer.Typer) -> None:
    app.command()(predict)
    app.command()(ui)
