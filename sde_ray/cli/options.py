"""The arguments and options that several commands share, declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _trust(packages: list[str] | None) -> list[str] | None:
    from sde_ray.plugins import trust_code

    trust_code(*(packages or []))
    return packages


Sweep = Annotated[
    Path,
    typer.Argument(help="A sweep's YAML file, or the name of a shipped one, such as quickstart.", show_default=False),
]
SweepOrRun = Annotated[
    str,
    typer.Argument(
        help="A sweep's YAML file or shipped name, or the folder or address of its run.",
        metavar="SWEEP",
        show_default=False,
    ),
]
RunOrName = Annotated[
    str,
    typer.Argument(
        help="A sweep's YAML file, the folder or address of its run, or its name: a run in runs/, or on the cluster.",
        metavar="SWEEP",
        show_default=False,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting, e.g. --set train.learning_rate=1e-3. May be repeated."
    ),
]
TrustCode = Annotated[
    list[str] | None,
    typer.Option(
        "--trust-code",
        metavar="PACKAGE",
        callback=_trust,
        help="Import this package or module where the results name it. May be repeated.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]

# of a job on a Ray cluster: submit, status, logs, stop
SubmittedSweep = Annotated[
    str, typer.Argument(help="A sweep's YAML file, the folder or address of its run, or its name.", metavar="SWEEP")
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="The cluster's dashboard, http://HEAD:8265; default: RAY_API_SERVER_ADDRESS."),
]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show the driver's output until the sweep ends.")]
