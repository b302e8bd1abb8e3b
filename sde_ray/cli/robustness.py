"""`sde-ray robustness`: the assembled strategy against its controls, over sizes, decoding seeds and wordings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json, Sets, TrustCode

if TYPE_CHECKING:
    from sde_ray.pipeline.robustness.run import RobustnessResult, RobustnessStudy


def robustness(
    strategy: Annotated[str, typer.Argument(help="The strategy.yaml of a sweep.", show_default=False)],
    sweep: Annotated[str | None, typer.Option(help="Its sweep, where the file lies elsewhere.")] = None,
    sizes: Annotated[str, typer.Option(help="Training sizes; else a quarter, a half, the whole, the double.")] = "",
    decoding_seeds: Annotated[
        str, typer.Option(help="Seeds of sampled decoding (temperature 0.2, top-k 40, top-p 0.9).")
    ] = "1,2,3,4,5",
    wordings: Annotated[str, typer.Option(help="Instruction wordings to ask in; else all of the task.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    sets: Sets = None,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Test the assembled strategy over training sizes, decoding seeds and wordings; resumes where it stopped."""
    from sde_ray.config.open import open_sweep
    from sde_ray.pipeline.context import Interrupted
    from sde_ray.pipeline.robustness.run import prepare, run_study
    from sde_ray.sweep.progress import Progress

    study = prepare(
        strategy,
        sweep,
        sets or [],
        _parse_numbers("--sizes", sizes),
        _parse_numbers("--decoding-seeds", decoding_seeds),
        _parse_numbers("--wordings", wordings) if wordings else None,
    )
    err().print(_describe_cost(study), highlight=False, markup=False)
    if dry_run:
        return None
    config = open_sweep(sweep or study.folder, sets or [])
    try:
        output = run_study(study, config, Progress(err()), _print_progress)
    except Interrupted as interrupted:
        err().print(str(interrupted))
        raise typer.Exit(130) from None
    if as_json:
        return emit(output.result.to_dict())
    return _print(output.result, output.paths)


def _print_progress(done: int, total: int) -> None:
    if done == total or done % max(1, total // 10) == 0:
        err().print(f"{done} of {total} decodings", highlight=False)


def _parse_numbers(name: str, text: str) -> tuple[int, ...]:
    from sde_ray.errors import UserError

    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise UserError(f'{name} "{text}" is no list of whole numbers. Give one such as 1,2,3.')
    return tuple(dict.fromkeys(map(int, parts)))


def _describe_cost(study: RobustnessStudy) -> str:
    from sde_ray.pipeline.robustness.run import estimate_cost
    from sde_ray.sweep.progress import duration

    cost, sizes = estimate_cost(study), ", ".join(map(str, study.sizes))
    time = "time unknown until one has ended" if cost.seconds is None else f"about {duration(cost.seconds)}"
    left = f"{cost.missing_trials} of them still to train ({time})" if cost.missing_trials else "all of them trained"
    return (
        f"{cost.trials} trials at {sizes} samples, {left}; then {cost.missing_decodings} decodings of up to "
        f"{study.config.validation.test_size} items, without training."
    )


def _print(result: RobustnessResult, paths: Sequence[Path]) -> None:
    numbers = ("score", "95%", "lead", "95% of it")
    conditions = table("Conditions", "condition", "design", *numbers, "of the assembled", right=numbers)
    for verdict in result.conditions:
        for n, row in enumerate(verdict.rows):
            score = (number(row.score), _interval(row.low, row.high))
            lead = ("", "")
            if row.paired:
                lead = (number(row.paired.difference, True), _interval(row.paired.low, row.paired.high))
            conditions.add_row(verdict.condition if n == 0 else "", row.name, *score, *lead, row.claim)
    out().print(conditions)
    for verdict in result.conditions:
        out().print(f"{verdict.condition}: {verdict.summary}", highlight=False, markup=False)
    for saving in result.savings:
        out().print(saving.summary, highlight=False, markup=False)
    out().print(f"\n{result.summary}", highlight=False, markup=False)
    out().print(f"saved in {', '.join(map(str, paths))}", highlight=False, markup=False)


def _interval(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.3f} .. {high:.3f}"


def register(app: typer.Typer) -> None:
    app.command()(robustness)
