"""`sde-ray predict`: texts answered by a trained adapter, in its own design."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json, TrustCode


def predict(
    adapter: Annotated[
        str, typer.Argument(help="A validated sweep's folder or address, or those of one trial.", metavar="PLACE")
    ],
    texts: Annotated[
        list[str] | None, typer.Argument(help='Texts; without any: stdin, a text or {"text": ...} a line.')
    ] = None,
    trust_remote_code: Annotated[bool, typer.Option(help="Let the base model run code of its own.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Answer texts with a trained adapter, in the design it was trained in: text in, parsed answer out.

    A text of several lines, such as two records, comes as JSON: {"text": "A: [...]\\nB: [...]"}.
    """
    from sde_ray.errors import UserError
    from sde_ray.models.predictor import Predictor, prediction_rows

    inputs = list(texts or []) or [text_of(line) for line in _stdin_lines() if line.strip()]
    if not inputs:
        raise UserError("There is no text to answer. Give texts as arguments, or pipe them: sde-ray predict DIR < FILE")
    rows = prediction_rows(inputs, Predictor.load(adapter, trust_remote_code).answer(inputs))
    if as_json:
        return emit(rows)
    answers_table = table("", "text", "answer", "faults")
    for row in rows:
        answer = ", ".join(f"{slot}: {' | '.join(values)}" for slot, values in row["answer"].items())
        answers_table.add_row(row["text"], answer or "nothing", ", ".join(row["faults"]))
    out().print(answers_table)


def text_of(line: str) -> str:
    """The text of a line of stdin: what stands under "text" where it is a JSON object with that key, else the line."""
    from sde_ray.safe_json import read_json

    try:
        value = read_json(line) if line.lstrip().startswith("{") else None
    except ValueError:
        value = None
    text = value.get("text") if isinstance(value, dict) else None
    return text if isinstance(text, str) else line.rstrip("\n")


def _stdin_lines() -> list[str]:
    return [] if sys.stdin.isatty() else sys.stdin.readlines()


def register(app: typer.Typer) -> None:
    app.command()(predict)
