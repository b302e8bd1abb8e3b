"""`sde-ray export`: a design's training file for another tool, with a matching configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, TrustCode

TOOLS = "openai, sharegpt, alpaca, trl, axolotl, llama-factory"


def export(
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy", metavar="PLACE", help="A sweep (YAML, folder or address of its run), or its strategy.yaml."
        ),
    ],
    to: Annotated[str, typer.Option("--to", metavar="TOOL", help=f"One of: {TOOLS}.")],
    write_to: Annotated[Path | None, typer.Option("--out", help="The folder; default: export-TOOL.")] = None,
    split: Annotated[
        list[str] | None,
        typer.Option("--split", help="Splits beside train: dev (default), or test. May be repeated."),
    ] = None,
    train_size: Annotated[
        str, typer.Option("--train-size", metavar="N|all", help="Samples; default: as many as the strategy's trial.")
    ] = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draw; default: the recommended adapter's.")] = None,
    design: Annotated[str, typer.Option("--design", help="Another design than the strategy's.")] = "",
    task: Annotated[str, typer.Option("--task", help="Of which strategy, where there are several.")] = "",
    model: Annotated[str, typer.Option("--model", help="Of which strategy, where there are several.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write into a folder that is not empty.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Write the training file of a design for another tool, with a matching configuration."""
    from sde_ray.errors import UserError, unknown
    from sde_ray.export.files import write_files
    from sde_ray.export.source import open_source
    from sde_ray.export.targets import TARGETS

    if to not in TARGETS:
        raise UserError(unknown("tool", to, TARGETS))
    if train_size and train_size != "all" and not (train_size.isdecimal() and int(train_size)):
        raise UserError(f'--train-size "{train_size}" is no number of samples. Give one such as 300, or all.')
    folder = write_to or Path(f"export-{to}")
    source = open_source(strategy, task, model, design, train_size or None, seed, split or ["dev"])
    exported = TARGETS[to](source)
    write_files(folder, exported.files, force)
    counts = {name: len(samples) for name, samples in source.samples.items()}
    if as_json:
        return emit(
            {
                "folder": str(folder),
                "files": sorted(exported.files),
                "samples": counts,
                "design": source.design.slug,
                "trial": source.trial.key,
                "notes": exported.notes,
                "commands": exported.commands,
            }
        )
    words = ", ".join(f"{count} {name}" for name, count in counts.items())
    out().print(f"{folder}: {', '.join(sorted(exported.files))} ({words})\n", highlight=False, markup=False)
    for note in exported.notes:
        out().print(f"- {note}", highlight=False, markup=False, soft_wrap=True)
    for command in exported.commands:
        out().print(f"\n  cd {folder} && {command}", highlight=False, markup=False, soft_wrap=True, end="")
    out().print()
    return None


def register(app: typer.Typer) -> None:
    app.command()(export)
