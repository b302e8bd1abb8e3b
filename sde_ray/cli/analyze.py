"""`analyze`: prompts against samples. What the untuned model makes of each design, held against its tuned score."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json, Sets, Sweep

if TYPE_CHECKING:
    from sde_ray.config.load import SweepConfig
    from sde_ray.pipeline.prompting.correlation import Pick, Ranked
    from sde_ray.pipeline.prompting.result import Analysis
    from sde_ray.pipeline.prompting.run import Cost
    from sde_ray.pipeline.prompting.tuned_scores import Tuned
    from sde_ray.sweep.plan import Contest

RECORDED = "recorded"
OF_RECORDED = ("masa:d1", "tiny")


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
    from sde_ray.pipeline import run as flow
    from sde_ray.pipeline.prompting import result
    from sde_ray.sweep import plan
    from sde_ray.tracking import prompting_runs
    from sde_ray.tracking.tracking_uri import resolve_tracking_uri

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    wanted = _shots(shots)
    found: list[Analysis] = []
    for contest in plan.plan(config).contests:
        one = _analyze(config, contest, items, wanted, seed, tuned, dry_run)
        if one is not None:
            result.save(config, one)
            found.append(one)
    if dry_run:
        return None
    with flow.tracked(config) as tracker:
        for one in found:
            rows, end = [dict(row) for row in one.rows], config.run_dir.suffix(one.task, one.model)
            correlated = [each.to_dict() for each in one.correlations]
            prompting_runs.log(tracker, rows, correlated, one.figure, end)
    if config.mlflow.enabled:
        for one in found:
            where = (resolve_tracking_uri(config), config.mlflow.experiment_name, config.run_dir.path, config.name)
            prompting_runs.log_runs(*where, one.task, one.model, one.rows)
    page = flow.rewrite(config)
    if as_json:
        return emit([one.to_dict() for one in found])
    for one in found:
        _print(config, one)
    if page:
        out().print(f"also on its page: {page}", highlight=False, markup=False)
    return None


def _shots(given: str) -> tuple[int, ...]:
    from sde_ray.errors import UserError

    parts = [part.strip() for part in given.split(",")]
    if not all(part.isdigit() and int(part) <= 64 for part in parts):
        raise UserError(f'--shots "{given}" is no list of numbers from 0 to 64. Give one such as 0,2,4.')
    return tuple(dict.fromkeys(int(part) for part in parts))


def _analyze(
    config: SweepConfig, contest: Contest, items: int, shots: tuple[int, ...], seed: int, tuned: str, dry_run: bool
) -> Analysis | None:
    """One task on one model; None where only the cost was wanted."""
    from sde_ray.config.load import open_tasks
    from sde_ray.pipeline.prompting import result, run
    from sde_ray.storage.jsonl_cache import JsonlCache
    from sde_ray.sweep.progress import duration

    task = open_tasks(config)[contest.task]
    scores = _tuned(config, contest, tuned)  # before the dear part: a table that cannot be read is told at once
    measurements = run.prepare(
        config, task, contest.model, list(contest.trials), items or config.eval_size, shots, seed
    )
    file = JsonlCache(config.run_dir.prompting_cache)
    price = run.cost(measurements, file)
    err().print(f"{contest.task} on {contest.model}: {_price(price, len(measurements))}", highlight=False, markup=False)
    if dry_run:
        return None
    config.run_dir.folder.hold(file.path)

    started = time.monotonic()

    def on_progress(done: int, count: int) -> None:
        if done in (min(8, count), count) or done % max(1, count // 10) == 0:
            left = duration((time.monotonic() - started) / done * (count - done))
            err().print(f"{done} of {count} measured" + (f" · {left} left" if done < count else ""), highlight=False)

    rows = run.measure(measurements, contest.model, config, file, on_progress)
    metric = config.objective.metric or task.objective
    return result.conclude(contest.task, contest.model, metric, rows, scores, shots)


def _tuned(config: SweepConfig, contest: Contest, given: str) -> Tuned:
    from sde_ray.config.load import open_tasks
    from sde_ray.errors import UserError
    from sde_ray.pipeline.prompting import tuned_scores

    metric = config.objective.metric or open_tasks(config)[contest.task].objective
    if given == RECORDED and (contest.task, contest.model) != OF_RECORDED:
        raise UserError(
            f"The recorded table is of {' on '.join(OF_RECORDED)}, this sweep also looks at {contest.task} on "
            f"{contest.model}. Leave --tuned out to use the sweep's own trials, or give a table of its own."
        )
    if given == RECORDED:
        from sde_ray.bench.designs import PATH

        return tuned_scores.from_table(PATH, metric)
    if given:
        return tuned_scores.from_table(Path(given), metric)
    results = tuple(config.run_dir.results().values())
    return tuned_scores.from_results(results, contest.task, contest.model, metric, config.objective.split)


def _price(price: Cost, designs: int) -> str:
    from sde_ray.sweep.progress import duration

    if not price.missing:
        return f"all of {designs} designs is measured already."
    time = "time unknown before the first" if price.seconds is None else f"about {duration(price.seconds)}"
    kept = price.parts - price.missing
    return (
        f"{price.missing} measurements of {designs} designs ({kept} are kept): about {price.characters / 1e6:.1f} M "
        f"characters to read, {price.completions:,} completions to write; {time}."
    )


def _print(config: SweepConfig, found: Analysis) -> None:

    columns = ("Spearman", "95%", "Kendall", "95%", "designs", "its pick", "of")
    title = f"\n{found.task} on {found.model}: measures of the untuned model against {found.metric} after tuning"
    shown = table(title, "measure (more is better)", *columns, "its pick is", right=columns)
    for one in found.correlations:
        place = (str(one.pick.place), str(one.designs), _picked(one.pick)) if one.pick else ("–", "–", "–")
        cells = (*_ranked(one.spearman), *_ranked(one.kendall), str(one.designs))
        shown.add_row(one.measure.replace("_", " "), *cells, *place)
    out().print(shown)
    for note in found.notes:
        out().print(note, highlight=False, markup=False)
    out().print(f"\n{found.verdict}", highlight=False, markup=False)
    end = config.run_dir.suffix(found.task, found.model)
    out().print(f"saved in {config.run_dir.uri()}/analysis{end}.json and .svg", highlight=False, markup=False)


def _picked(pick: Pick) -> str:
    from sde_ray.design.designs import paper_label

    return paper_label(pick.design) + (f" and {pick.tied - 1} alike (mean place)" if pick.tied > 1 else "")


def _ranked(one: Ranked) -> tuple[str, str]:
    if one.value is None or one.low is None or one.high is None:
        return "–", "–"
    return number(one.value, sign=True), f"{one.low:+.2f} .. {one.high:+.2f}"


def register(app: typer.Typer) -> None:
    app.command()(analyze)
