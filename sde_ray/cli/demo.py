"""`sde-ray demo`: a shipped sweep, from any folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json, Sets


def demo(
    name: Annotated[str, typer.Argument(help="A shipped sweep.")] = "quickstart",
    list_: Annotated[bool, typer.Option("--list", help="List the shipped sweeps. Runs nothing.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Put its files here, to change them. Runs nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --copy: write over files that are here.")] = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Run a sweep that comes with the package, by default a first one of minutes; results go into ./runs."""
    from sde_ray.config import shipped

    if list_:
        return _list(as_json)
    if copy:
        copies = shipped.copy_sweep(name, Path(), force)
        out().print(f"Wrote {escape(', '.join(map(str, copies)))}. Next: sde-ray plan {escape(copies[0].name)}")
        return None
    from sde_ray.cli.run import run

    return run(shipped.shipped_sweep(name), sets, address=None, validate=True, as_json=as_json)


def _list(as_json: bool) -> None:
    from sde_ray.config.shipped import shipped_sweeps, title

    titles = {name: title(path) for name, path in shipped_sweeps().items()}
    if as_json:
        return emit([{"name": name, "title": what} for name, what in titles.items()])
    sweeps = table("", "sweep", "what it is")
    for name, what in titles.items():
        sweeps.add_row(name, escape(what))
    out().print(sweeps)
    return out().print("\nRead one: sde-ray plan NAME · run it: sde-ray run NAME · change it: sde-ray demo NAME --copy")


def register(app: typer.Typer) -> None:
    app.command()(demo)
