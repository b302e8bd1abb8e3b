"""`sde-ray analyze`: the untuned model's measures of each design against its score after tuning."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json, Sets, Sweep

if TYPE_CHECKING:
    from sde_ray.config.schema import SweepConfig
    from sde_ray.pipeline.prompting.correlation import Pick, RankCorrelation
    from sde_ray.pipeline.prompting.result import Analysis
    from sde_ray.pipeline.prompting.run import Cost
    from sde_ray.sweep.contest import Contest

RECORDED = "recorded"
OF_RECORDED, RECORDED_TABLE = ("masa:d1", "tiny"), "masa_d1"


def analyze(
    sweep: Sweep,
    items: Annotated[int, typer.Option(min=0, help="Dev items to look at; 0: as many as trials are scored on.")] = 0,
    shots: Annotated[str, typer.Option(help="Numbers of demonstrations in the prompt.")] = "0,2,4",
    seed: Annotated[int, typer.Option(min=0, help="Draws the demonstrations from train.")] = 0,
    tuned: Annotated[
        str, typer.Option(help='Tuned scores: a CSV table, or "recorded" (masa:d1 on tiny); else the sweep\'s own.')
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Ask the untuned model about every design: would good prompting have picked a good sample design?"""
    from sde_ray.config.load import load_config
    from sde_ray.pipeline.prompting.analyze import prepare_analysis, publish, run_analysis
    from sde_ray.sweep.plan import plan

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    shot_counts = _parse_shots(shots)
    analyses: list[Analysis] = []
    for contest in plan(config).contests:
        prepared = prepare_analysis(config, contest, items, shot_counts, seed, _tuned_table(tuned, contest))
        cost = _describe_cost(prepared.cost, len(prepared.measurements))
        err().print(f"{contest.task} on {contest.model}: {cost}", highlight=False, markup=False)
        if not dry_run:
            analyses.append(run_analysis(prepared, _progress()))
    if dry_run:
        return None
    page = publish(config, analyses)
    if as_json:
        return emit([analysis.to_dict() for analysis in analyses])
    for analysis in analyses:
        _print(config, analysis)
    if page:
        out().print(f"also on its page: {page}", highlight=False, markup=False)
    return None


def _parse_shots(text: str) -> tuple[int, ...]:
    from sde_ray.errors import UserError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdigit() and int(part) <= 64 for part in parts):
        raise UserError(f'--shots "{text}" is no list of numbers from 0 to 64. Give one such as 0,2,4.')
    return tuple(dict.fromkeys(int(part) for part in parts))


def _tuned_table(tuned: str, contest: Contest) -> Path | None:
    """The CSV table that --tuned names; None: the sweep's own trials."""
    from sde_ray.errors import UserError

    if tuned != RECORDED:
        return Path(tuned) if tuned else None
    if (contest.task, contest.model) != OF_RECORDED:
        raise UserError(
            f"The recorded table is of {' on '.join(OF_RECORDED)}, this sweep also looks at {contest.task} on "
            f"{contest.model}. Leave --tuned out to use the sweep's own trials, or give a table of its own."
        )
    from sde_ray.bench.tables.table import table_path

    return table_path(RECORDED_TABLE)


def _progress() -> Callable[[int, int], None]:
    """Prints about ten lines, with the time that is left."""
    from sde_ray.sweep.progress import duration

    started = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        if done in (min(8, total), total) or done % max(1, total // 10) == 0:
            left = duration((time.monotonic() - started) / done * (total - done))
            err().print(f"{done} of {total} measured" + (f" · {left} left" if done < total else ""), highlight=False)

    return on_progress


def _describe_cost(cost: Cost, designs: int) -> str:
    from sde_ray.sweep.progress import duration

    if not cost.missing:
        return f"all of {designs} designs is measured already."
    seconds = "time unknown before the first" if cost.seconds is None else f"about {duration(cost.seconds)}"
    return (
        f"{cost.missing} measurements of {designs} designs ({cost.parts - cost.missing} are kept): about "
        f"{cost.characters / 1e6:.1f} M characters to read, {cost.completions:,} completions to write; {seconds}."
    )


def _print(config: SweepConfig, analysis: Analysis) -> None:
    columns = ("Spearman", "95%", "Kendall", "95%", "designs", "its pick", "of")
    title = (
        f"\n{analysis.task} on {analysis.model}: measures of the untuned model against {analysis.metric} after tuning"
    )
    correlations = table(title, "measure (more is better)", *columns, "its pick is", right=columns)
    for row in analysis.correlations:
        pick = (str(row.pick.rank), str(row.designs), _pick_label(row.pick)) if row.pick else ("–", "–", "–")
        cells = (*_estimate(row.spearman), *_estimate(row.kendall), str(row.designs))
        correlations.add_row(row.measure.replace("_", " "), *cells, *pick)
    out().print(correlations)
    for note in analysis.notes:
        out().print(note, highlight=False, markup=False)
    out().print(f"\n{analysis.verdict}", highlight=False, markup=False)
    suffix = config.run_dir.suffix(analysis.task, analysis.model)
    out().print(f"saved in {config.run_dir.uri()}/analysis{suffix}.json and .svg", highlight=False, markup=False)


def _pick_label(pick: Pick) -> str:
    from sde_ray.design.designs import paper_label

    return paper_label(pick.design) + (f" and {pick.tied - 1} alike (mean place)" if pick.tied > 1 else "")


def _estimate(correlation: RankCorrelation) -> tuple[str, str]:
    if correlation.value is None or correlation.low is None or correlation.high is None:
        return "–", "–"
    return number(correlation.value, sign=True), f"{correlation.low:+.2f} .. {correlation.high:+.2f}"


def register(app: typer.Typer) -> None:
    app.command()(analyze)
