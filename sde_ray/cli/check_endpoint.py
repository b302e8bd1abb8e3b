"""`sde-ray check-endpoint`: does a served model answer as it was trained to?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def check_endpoint(
    check: Annotated[Path, typer.Argument(help="The check.json that `sde-ray merge` has written.", metavar="CHECK")],
    url: Annotated[str, typer.Option("--url", help="An OpenAI-compatible endpoint; default: Ollama's.")] = (
        "http://127.0.0.1:11434/v1"
    ),
    model: Annotated[str, typer.Option("--model", help="What the endpoint calls the model.")] = "",
    send: Annotated[
        str,
        typer.Option("--send", help="text: the endpoint has the instruction (a Modelfile); prompt: all of it."),
    ] = "text",
    as_json: Json = False,
) -> None:
    """Ask a running endpoint three prompts, and tell which completions differ from those decoded here."""
    from sde_ray.errors import UserError
    from sde_ray.export import endpoint_check
    from sde_ray.tasks.rationales.chat_client import Endpoint, check_answers

    if send not in ("text", "prompt"):
        raise UserError(f'--send "{send}" is neither text nor prompt.')
    if not model:
        raise UserError("Which model of the endpoint? Add --model NAME, as in `ollama create NAME`.")
    endpoint_check.read_check(check)
    endpoint = Endpoint(url, model)
    check_answers(endpoint)
    answers = endpoint_check.check_endpoint(check, endpoint, "text" if send == "text" else "prompt")
    different = [one for one in answers if not one.same]
    if as_json:
        emit(
            {
                "items": len(answers),
                "different": [
                    {"id": one.item.id, "expected": one.item.expected, "completion": one.completion}
                    for one in different
                ],
            }
        )
    elif different:
        rows = table("", "item", "expected", "the endpoint says")
        for one in different:
            rows.add_row(one.item.id, one.item.expected, one.completion)
        out().print(rows)
    if different:
        raise UserError(
            f"{len(different)} of {len(answers)} completions differ. See that the endpoint frames the prompt as the "
            "training did (Modelfile, chat template), decodes greedily, and has not lost precision (a quantised GGUF "
            "may change near ties)."
        )
    if not as_json:
        out().print(f"All {len(answers)} completions are those decoded here.")
    return


def register(app: typer.Typer) -> None:
    app.command()(check_endpoint)
