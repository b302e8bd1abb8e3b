"""Use what a sweep found: `predict` applies an adapter in its own design, `ui` opens MLflow."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from sde_ray.cli.console import emit, err, out, table
from sde_ray.cli.options import Json, Place, Sets


def predict(
    place: Annotated[str, typer.Argument(help="A validated sweep's folder or address, or those of one trial.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts; without any: stdin, one a line.")] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Let the base model run code of its own.")] = False,
    as_json: Json = False,
) -> None:
    """Answer texts with a trained adapter, in the design it was trained in: text in, parsed answer out."""
    from sde_ray.errors import UserError
    from sde_ray.models.predictor import Predictor

    given = list(texts or []) or [line.rstrip("\n") for line in _piped() if line.strip()]
    if not given:
        raise UserError("There is no text to answer. Give texts as arguments, or pipe them: sde-ray predict DIR < FILE")
    answers = Predictor.load(place, trust_remote_code).predict(given)
    rows: list[dict[str, Any]] = [
        {
            "text": text,
            "answer": {slot: list(values) for slot, values in parsed.answer.items()},
            "completion": completion,
            "faults": [fault.kind for fault in parsed.faults],
        }
        for text, (parsed, completion) in zip(given, answers, strict=True)
    ]
    if as_json:
        return emit(rows)
    shown = table("", "text", "answer", "faults")
    for row in rows:
        answer = ", ".join(f"{slot}: {' | '.join(values)}" for slot, values in row["answer"].items())
        shown.add_row(row["text"], answer or "nothing", ", ".join(row["faults"]))
    out().print(shown)


def _piped() -> list[str]:
    return [] if sys.stdin.isatty() else sys.stdin.readlines()


def ui(
    place: Place,
    port: Annotated[int, typer.Option(help="Port of the web page.")] = 5000,
    host: Annotated[str, typer.Option(help="Address that may open it; 0.0.0.0 for all.")] = "127.0.0.1",
    sets: Sets = None,
) -> None:
    """Open the MLflow web page of a sweep's runs."""
    from sde_ray.analysis import study
    from sde_ray.config.load import mask
    from sde_ray.tracking.tracking_uri import resolve_tracking_uri, ui_command

    uri = resolve_tracking_uri(study.open_sweep(place, sets or []))
    if uri.startswith(("http://", "https://")):
        out().print(f"The runs are at {mask(uri)}", highlight=False, markup=False)
        return
    err().print(f"MLflow at http://{host}:{port} (Ctrl-C ends it). Sort by Created to see trials under their sweep.")
    command = ui_command(uri, port, host)
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri
    os.execv(command[0], command)


def register(app: typer.Typer) -> None:
    app.command()(predict)
    app.command()(ui)
