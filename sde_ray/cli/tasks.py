"""`sde-ray tasks`: the built-in tasks."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json

KINDS = {"label": "a label a slot", "span": "spans of the text", "free": "free words", "record": "records"}
KEYS = ("name", "kind", "language", "slots", "labels", "objective", "domains")


def tasks(as_json: Json = False) -> None:
    """List the built-in tasks. One of your own needs a YAML file only, which sde-ray init writes from your data."""
    from sde_ray.tasks import TASKS, get_task

    built_in = [get_task(name) for name in TASKS]
    if as_json:
        return emit([{key: getattr(task, key) for key in KEYS} for task in built_in])
    tasks_table = table("", "task", "answer", "slots", "labels", "objective", "out of domain")
    for task in built_in:
        labels, domains = ", ".join(task.labels or ()), ", ".join(task.domains)
        tasks_table.add_row(task.name, KINDS[task.kind], ", ".join(task.slots), labels, task.objective, domains)
    out().print(tasks_table)


def register(app: typer.Typer) -> None:
    app.command()(tasks)
