"""`sde-ray init`: a sweep's YAML from data of one's own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from sde_ray.cli.console import out
from sde_ray.errors import UserError

if TYPE_CHECKING:
    from sde_ray.config.scaffold import Scaffold


def init(
    data: Annotated[
        str, typer.Argument(help="A file, or a folder with a file a split; with --hub a name.", show_default=False)
    ],
    to: Annotated[Path | None, typer.Option("--out", help="The YAML file; default: NAME.yaml here.")] = None,
    name: Annotated[str, typer.Option("--name", help="The task's name; default: that of the data.")] = "",
    text: Annotated[str, typer.Option("--text", help="The column of the text; default: guessed.")] = "",
    slots: Annotated[
        list[str] | None,
        typer.Option("--slots", metavar="A,B", help="The columns that are answers; may be repeated; default: guessed."),
    ] = None,
    kind: Annotated[str, typer.Option("--kind", help="label, span, free or record; default: told by the values.")] = "",
    hub: Annotated[bool, typer.Option("--hub", help="DATA is the name of a data set on the Hugging Face hub.")] = False,
    config: Annotated[str | None, typer.Option("--config", help="The data set's configuration on the hub.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Look at data of your own and write the YAML of a sweep on them, ready to run. Trains nothing."""
    from sde_ray.config.scaffold import plain_name, scaffold
    from sde_ray.storage.files import write_atomic

    path = to or Path(f"{name or plain_name(data)}.yaml")
    if os.path.exists(path) and not force:
        raise UserError(f'"{path}" is there already. Give another --out, or --force to write over it.')
    if not os.path.isdir(path.parent):
        raise UserError(f'There is no folder "{path.parent}" for {path.name}. Make it, or give another --out.')
    wanted = [slot.strip() for given in slots or [] for slot in given.split(",") if slot.strip()]
    drafted = scaffold(data, path, name, hub, config, text, wanted, kind)
    try:
        write_atomic(path, drafted.text)
    except OSError as error:
        raise UserError(f'Cannot write "{path}": {error.strerror}. Give another --out.') from None
    _show(data, path, drafted)


def _show(data: str, path: Path, drafted: Scaffold) -> None:
    """What was found, what is unsure, and what comes next."""
    survey, draft = drafted.survey, drafted.draft
    screen = out()
    lengths = sorted(map(len, survey.texts))
    column = survey.section.get("columns", {}).get("text", "text")
    rows = [
        ("data", f"{data}: {len(survey.texts)} records, read as {survey.title}"),
        ("text", f'"{column}", {lengths[len(lengths) // 2]} characters (median), {lengths[-1]} at most'),
        ("answer", f"{draft.kind}: {', '.join(_slot(slot, drafted) for slot in draft.slots)}"),
    ]
    if drafted.counts:
        rows.append(("splits", " · ".join(f"{count} {split}" for split, count in drafted.counts.items())))
        rows.append(("metric", drafted.metric))
    for title, what in rows:
        screen.print(f"[bold]{title.ljust(8)}[/] {escape(what)}", highlight=False, soft_wrap=True)
    for doubt in drafted.doubts:
        screen.print(f"[yellow]unsure[/]   {escape(doubt)}", highlight=False, soft_wrap=True)
    if drafted.faults:
        screen.print(f"[bold red]repair[/]   {escape(drafted.faults)}", highlight=False, soft_wrap=True)
    screen.print(f"\nWrote {escape(str(path))}. Read it, then: sde-ray plan {escape(str(path))}", highlight=False)


def _slot(slot: str, drafted: Scaffold) -> str:
    if fields := drafted.draft.fields.get(slot):
        return f"{slot} ({len(fields)} fields)"
    counts = drafted.draft.counts.get(slot)
    return f"{slot} ({len(counts)} labels)" if counts else slot


def register(app: typer.Typer) -> None:
    app.command()(init)
