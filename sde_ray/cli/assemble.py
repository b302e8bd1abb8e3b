"""`sde-ray assemble`: the best combination of options that the evidence carries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, Sets, SweepOrRun, TrustCode


def assemble(
    sweep: SweepOrRun,
    adherence: Annotated[
        float | None,
        typer.Option(
            "--min-format-adherence", "--adherence", min=0, max=1, help="Least share of faultless completions."
        ),
    ] = None,
    tokens: Annotated[
        float | None, typer.Option("--max-output-tokens", "--tokens", min=1, help="Most output tokens, in the mean.")
    ] = None,
    write_to: Annotated[
        Path | None, typer.Option("--out", help="Write the strategy to this file, and leave the run's own as it is.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a validated strategy by another design.")] = False,
    pareto: Annotated[bool, typer.Option("--pareto", help="Also show which designs are worth their price.")] = False,
    sets: Sets = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Assemble the best combination that the evidence carries, and save it as strategy.yaml."""
    from sde_ray.cli.views.live import console_listener
    from sde_ray.cli.views.study import pareto_table
    from sde_ray.pipeline.open_run import open_run

    conclusions = open_run(sweep, sets or []).assemble(adherence, tokens, console_listener(as_json), write_to, force)
    studies = [conclusion.study for conclusion in conclusions]
    if as_json:
        fronts = [{"pareto": [point.to_dict() for point in each.pareto_front]} if pareto else {} for each in studies]
        return emit([each.to_dict() | front for each, front in zip(conclusions, fronts, strict=True)])
    for each in studies if pareto else []:
        out().print(pareto_table(each.pareto_front, each.objective))
    return None


def register(app: typer.Typer) -> None:
    app.command()(assemble)
