"""`robustness`: the assembled strategy against its controls, over training sizes, decoding seeds and wordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json, Sets

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
    as_json: Json = False,
) -> None:
    """Test the assembled strategy over training sizes, decoding seeds and wordings; resumes where it stopped."""
    from sde_ray.config.open import open_sweep
    from sde_ray.pipeline import run as flow
    from sde_ray.pipeline.robustness import run
    from sde_ray.sweep.final import run_trials
    from sde_ray.sweep.progress import Progress

    study = run.prepare(
        strategy,
        sweep,
        sets or [],
        _numbers("--sizes", sizes),
        _numbers("--decoding-seeds", decoding_seeds),
        _numbers("--wordings", wordings) if wordings else None,
    )
    err().print(_price(study), highlight=False, markup=False)
    if dry_run:
        return None

    def on_progress(done: int, count: int) -> None:
        if done == count or done % max(1, count // 10) == 0:
            err().print(f"{done} of {count} decodings", highlight=False)

    swept = open_sweep(sweep or study.folder, sets or [])  # as it ran: that is what its run in MLflow tells
    with flow.tracked(swept) as tracker:
        ended = run_trials(study.config, study.wanted, None, tracker, Progress(err()))
        if ended.interrupted:
            err().print(ended.message)
            raise typer.Exit(130)
        found = run.conclude(study, {one.key: one for one in ended.results}, on_progress)
        paths = run.save(study, found)
        tracker.log_table(f"robustness{study.suffix}", found.rows())
        tracker.log_files(paths)
    page = flow.rewrite(swept)
    if as_json:
        return emit(found.to_dict())
    return _print(found, [*paths, *([page] if page else [])])


def _numbers(name: str, given: str) -> tuple[int, ...]:
    from sde_ray.errors import UserError

    parts = [part.strip() for part in given.split(",") if part.strip()]
    if not all(part.isdigit() for part in parts):
        raise UserError(f'{name} "{given}" is no list of whole numbers. Give one such as 1,2,3.')
    return tuple(dict.fromkeys(map(int, parts)))


def _price(study: RobustnessStudy) -> str:
    from sde_ray.pipeline.robustness.run import completion_cache, decodings
    from sde_ray.sweep.progress import duration

    results = study.config.run_dir.results()
    open_ones = [
        trial for trial in study.wanted if results.get(trial.key) is None or results[trial.key].status != "finished"
    ]
    spent = [one.seconds["total"] for one in results.values() if "total" in one.seconds]
    time = (
        f"about {duration(sum(spent) / len(spent) * len(open_ones))}" if spent else "time unknown until one has ended"
    )
    again, sizes = len(completion_cache(study).missing(decodings(study))), ", ".join(map(str, study.sizes))
    left = f"{len(open_ones)} of them still to train ({time})" if open_ones else "all of them trained"
    return (
        f"{len(study.wanted)} trials at {sizes} samples, {left}; then {again} decodings of up to "
        f"{study.config.validation.test_size} items, without training."
    )


def _print(found: RobustnessResult, paths: list[Path]) -> None:
    numbers = ("score", "95%", "lead", "95% of it")
    shown = table("Conditions", "condition", "design", *numbers, "of the assembled", right=numbers)
    for one in found.conditions:
        for n, row in enumerate(one.rows):
            lead = row.paired
            own = (number(row.score), _span(row.low, row.high))
            ahead = (number(lead.difference, True), _span(lead.low, lead.high)) if lead else ("", "")
            shown.add_row(one.condition if n == 0 else "", row.name, *own, *ahead, row.claim)
    out().print(shown)
    for one in found.conditions:
        out().print(f"{one.condition}: {one.summary}", highlight=False, markup=False)
    for saving in found.savings:
        out().print(saving.summary, highlight=False, markup=False)
    out().print(f"\n{found.summary}", highlight=False, markup=False)
    out().print(f"saved in {', '.join(map(str, paths))}", highlight=False, markup=False)


def _span(low: float | None, high: float | None) -> str:
    return "–" if low is None or high is None else f"{low:.3f} .. {high:.3f}"


def register(app: typer.Typer) -> None:
    app.command()(robustness)
