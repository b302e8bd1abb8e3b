"""`sde-ray merge`: an adapter and its base model as one plain model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, TrustCode


def merge(
    adapter: Annotated[
        str, typer.Argument(help="A validated sweep's folder or address, or those of one trial.", metavar="PLACE")
    ],
    write_to: Annotated[Path, typer.Option("--out", help="The folder of the merged model.")],
    dtype: Annotated[
        str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16: the weights' number format.")
    ] = "auto",
    ollama: Annotated[bool, typer.Option("--ollama", help="Also write a Modelfile for Ollama.")] = False,
    trust_remote_code: Annotated[bool, typer.Option(help="Let the base model run code of its own.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Merge an adapter into its base model: one folder for `sde-ray predict`, vLLM, llama.cpp, Ollama."""
    from sde_ray.errors import UserError
    from sde_ray.export.endpoint_check import write_check
    from sde_ray.export.ollama import write_modelfile
    from sde_ray.models.merge import merge_adapter
    from sde_ray.models.predictor import find_adapter

    if dtype not in ("auto", "float32", "bfloat16", "float16"):
        raise UserError(f'--dtype "{dtype}" is none of auto, float32, bfloat16, float16.')
    source = find_adapter(adapter)
    report = merge_adapter(source, write_to, dtype, trust_remote_code)
    check = write_check(source, write_to, trust_remote_code)
    files = {"check": str(check) if check else None, "modelfile": str(write_modelfile(write_to)) if ollama else None}
    if as_json:
        return emit({**vars(report), "folder": str(report.folder), **files})
    words = (
        f"{report.folder}: the merged model, in {report.dtype}. Loaded again, its logits on a prompt of "
        f"{report.positions} tokens differ from the adapter's by {report.difference:.2g} at most, by "
        f"{report.deviation:.2g} standard deviations on average (allowed: {report.tolerance:g}); the likeliest token "
        f"is the same at {report.same_tokens} of {report.positions}."
    )
    out().print(words, highlight=False, markup=False, soft_wrap=True)
    lines = [f"  sde-ray predict {write_to} 'a text'"]
    if ollama:
        lines.append(f"  cd {write_to} && ollama create NAME -f Modelfile")
    if check:
        lines.append(f"  sde-ray check-endpoint {check} --url http://127.0.0.1:11434/v1 --model NAME")
    else:
        lines.append("  (no items of the task are at hand, so no check of an endpoint was written)")
    out().print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    return None


def register(app: typer.Typer) -> None:
    app.command()(merge)
