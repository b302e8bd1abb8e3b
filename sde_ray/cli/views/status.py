"""How a run is doing, for a person: the state in one line, trials, the best, what is in flight, verdicts, jobs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from sde_ray.cli.console import number, out, table

if TYPE_CHECKING:
    from sde_ray.sweep.cluster.jobs import Job

COLOURS = {"SUCCEEDED": "green", "RUNNING": "cyan", "FAILED": "bold red", "STOPPED": "yellow"}
SHOWN_IN_FLIGHT = 20
Run = Mapping[str, Any]


def show(run: Run | None, jobs: Sequence[Job], notes: Sequence[str] = ()) -> None:
    """Print a run's status, and its jobs on a cluster.

    Args:
        run: as `RunStatus.to_dict` gives it, here or on the cluster; None where it could not be read.
        jobs: the sweep's jobs, oldest first.
        notes: what could not be asked.
    """
    if run:
        _show_run(run)
    if jobs:
        _show_jobs(jobs)
    for note in [*(run["notes"] if run else ()), *notes]:
        out().print(f"[yellow]note:[/] {escape(note)}", highlight=False, soft_wrap=True)


def state(run: Run) -> str:
    """Where a run stands, in a sentence."""
    driver, phase = run["driver"], run["phase"]
    where = f"process {driver['pid']} on {driver['host']}"
    if driver["state"] == "alive":
        return f"{phase}, by {where}"
    if phase == "finished":
        return "finished"
    if driver["state"] == "gone":
        return f"stopped in its {phase}: its driver, {where}, is gone. The same command goes on from there"
    return f"stopped in its {phase}. The same command goes on from there"


def _show_run(run: Run) -> None:
    from sde_ray.tasks.titles import task_title

    def say(text: str) -> None:
        out().print(text, highlight=False, soft_wrap=True)

    say(f"[bold]{escape(run['sweep'])}[/] in {escape(run['folder'])}: {escape(state(run))}")
    say(f"trials: {_counts(run['trials'])}{_ago(run['last_result_at'])}")
    if run["validation"]["planned"] or run["validation"]["finished"]:
        say(f"final comparison: {_counts(run['validation'])}")
    for best in run["best"]:
        where = f"{task_title(best['task'])} on {best['model']}, {best['metric']} on {best['split']}"
        say(f"best so far {number(best['score'])}: {escape(best['design'])} ({escape(where)})")
    if run["in_flight"]:
        _show_in_flight(run["in_flight"])
    for verdict in run["verdicts"]:
        where = f"{task_title(verdict['task'])} on {verdict['model']}:"
        say(f"[bold]{escape(where)}[/] {escape(verdict['summary'])}")
        if verdict.get("action"):  # a driver of an older version does not say
            say(f"[bold]What to do:[/] {escape(verdict['action'])}")
    if run["unsent"]:
        say(f"[yellow]{run['unsent']} files or trials of this machine are not in the store yet[/]")
    if run["report"]:
        say(f"report: {escape(run['report'])}")


def _counts(counts: Mapping[str, Any]) -> str:
    planned = "" if counts["planned"] is None else f" of {counts['planned']:g}"
    parts = [f"{counts['finished']}{planned} finished"]
    parts += [f"{counts[what]} {what}" for what in ("pruned", "failed", "running") if counts[what]]
    return " · ".join(parts + ([f"{counts['remaining']:g} remain"] if counts["remaining"] else []))


def _ago(moment: float | None) -> str:
    from sde_ray.sweep.progress import duration

    return "" if moment is None else f"; the last one ended {duration(max(0.0, time.time() - moment))} ago"


def _show_in_flight(trials: Sequence[Mapping[str, Any]]) -> None:
    from sde_ray.sweep.progress import duration
    from sde_ray.tasks.titles import task_title

    rows = table("", "in flight", "task", "model", "seed", "rungs", "score", "last sign", right=("seed", "score"))
    for one in trials[:SHOWN_IN_FLIGHT]:
        rungs, silent = f"{one['rungs_done']}/{one['rungs']}", f"{duration(one['age_s'])} ago"
        rows.add_row(
            one["design"], task_title(one["task"]), one["model"], str(one["seed"]), rungs, number(one["score"]), silent
        )
    out().print(rows)
    if len(trials) > SHOWN_IN_FLIGHT:
        out().print(f"and {len(trials) - SHOWN_IN_FLIGHT} more", highlight=False)


def _show_jobs(jobs: Sequence[Job]) -> None:
    rows = table("", "job", "status", "since", "took")
    for job in jobs:
        rows.add_row(job.id, f"[{COLOURS.get(job.status, 'default')}]{job.status}[/]", *_times(job))
    out().print(rows)
    latest = jobs[-1]
    if latest.status == "FAILED":
        out().print(f"\n{latest.message}\nWhy: sde-ray logs {latest.sweep}", highlight=False, markup=False)


def _times(job: Job) -> tuple[str, str]:
    """When a job started, and how long it took or has taken."""
    from sde_ray.sweep.progress import duration

    if job.started is None:
        return "", ""
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(job.started))
    return since, duration((job.ended or time.time()) - job.started)
