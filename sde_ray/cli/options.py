"""The arguments and options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sweep = Annotated[Path, typer.Argument(help="A sweep's YAML file, e.g. sweeps/quickstart.yaml.", show_default=False)]
Place = Annotated[
    str, typer.Argument(help="A sweep's YAML file, or the folder or address of its run.", show_default=False)
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting, e.g. --set train.learning_rate=1e-3. May be repeated."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
TaskName = Annotated[str, typer.Option("--task", help='A task, e.g. "masa:d1" (list them: sde-ray tasks).')]
DesignName = Annotated[
    str, typer.Option("--design", help='A name ("es-sde") or options ("format=lines,labels=number").')
]
