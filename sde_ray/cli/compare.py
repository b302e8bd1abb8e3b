"""`sde-ray compare`: the designs of a sweep against one of them, paired on seeds and items."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, interval, number, out, table
from sde_ray.cli.options import Json, Sets, SweepOrRun, TrustCode

if TYPE_CHECKING:
    from sde_ray.analysis.design_comparison import ComparedDesign
    from sde_ray.analysis.study import Study


CHOSEN_ON = (
    "These are the items that the sweep chooses on, so the best of many is in part luck: sde-ray validate has others."
)


def compare(
    sweep: SweepOrRun,
    design: Annotated[str, typer.Option("--with", help="The design that the others are compared with.")] = "baseline",
    out_of_domain: Annotated[bool, typer.Option("--ood", help="By their scores on the out-of-domain tasks.")] = False,
    sets: Sets = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Compare the designs of a sweep with one of them: differences with intervals, over the seeds and items shared."""
    from sde_ray.analysis.design_comparison import compare_designs
    from sde_ray.analysis.effects import OUT_OF_DOMAIN
    from sde_ray.design.designs import parse_design
    from sde_ray.errors import UserError
    from sde_ray.pipeline.open_run import open_run

    studies = open_run(sweep, sets or []).studies
    if not studies:
        raise UserError(f"No trial of {sweep} has finished, so there is nothing to compare. See: sde-ray status.")
    if out_of_domain:
        studies = tuple(replace(study, split="dev" + OUT_OF_DOMAIN) for study in studies)
    reference = parse_design(design)
    compared: list[tuple[Study, list[ComparedDesign]]] = []
    missing: list[str] = []
    for study in studies:  # of several tasks or sizes one may lack the design
        try:
            compared.append((study, compare_designs(study, reference)))
        except UserError as error:
            missing.append(str(error))
    if not compared:
        raise UserError(missing[0])
    for reason in missing:
        err().print(reason, highlight=False, markup=False)
    if as_json:
        return emit([{**asdict(study.group), "rows": [row.to_dict() for row in rows]} for study, rows in compared])
    for study, rows in compared:
        out().print(_table(study, rows))
    out().print(f"[dim]{CHOSEN_ON}[/]")
    return None


def _table(study: Study, rows: list[ComparedDesign]) -> object:
    from sde_ray.design.designs import paper_label

    numbers = (study.objective, "difference", "95% interval", "format ok", "tokens", "trials")
    title = f"{study.group}, scored on {study.split}"
    compared = table(title, "design", *numbers, "says", right=numbers)
    for row in rows:
        paired = row.paired
        difference = [number(paired.difference, sign=True), interval(paired.low, paired.high)] if paired else ["–", "–"]
        cost = [f"{row.adherence:.0%}", f"{row.tokens:.0f}", str(row.trials)]
        compared.add_row(paper_label(row.design), number(row.score), *difference, *cost, row.claim)
    return compared


def register(app: typer.Typer) -> None:
    app.command()(compare)
