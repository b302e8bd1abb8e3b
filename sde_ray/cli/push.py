"""`sde-ray push`: an adapter on the Hugging Face hub, with a model card that tells design, evidence and verdict."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from sde_ray.cli.console import emit, out
from sde_ray.cli.options import Json, TrustCode


def push(
    adapter: Annotated[
        str, typer.Argument(help="A validated sweep, one of its trials, or a merged model.", metavar="PLACE")
    ],
    repo: Annotated[str, typer.Argument(help="The repository, such as me/reviews.", metavar="REPO")],
    base_model: Annotated[
        str, typer.Option("--base-model", metavar="ORG/NAME", help="The base's name on the hub, if it was a folder.")
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="A repository that anybody can see; default: private.")
    ] = False,
    with_demonstrations: Annotated[
        bool, typer.Option("--with-demonstrations", help="Upload the training examples that stand in its prompt.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write the folder and its card only.")] = False,
    write_to: Annotated[Path | None, typer.Option("--out", help="Where --dry-run writes; default: push-NAME.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Push an adapter to the hub: weights, card and a page with its design, evidence and verdict."""
    from sde_ray.errors import UserError
    from sde_ray.export import push as hub
    from sde_ray.models.predictor import find_adapter

    source = find_adapter(adapter)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (write_to or Path(f"push-{repo.rpartition('/')[2]}")) if dry_run else Path(temporary)
        package = hub.make_package(source, repo, folder, base_model, with_demonstrations)
        if not as_json:
            kind = "public" if public else "private"
            out().print(f"To {repo} ({kind}):", highlight=False, markup=False)
            for name, size in package.files.items():
                out().print(f"  {name}  {size:,} bytes", highlight=False, markup=False)
        if dry_run:
            if as_json:
                return emit({"folder": str(folder), "files": package.files, "url": None})
            out().print(f"Nothing was uploaded. Read {folder / hub.README}.", highlight=False, markup=False)
            return None
        if not yes:
            if as_json or not sys.stdin.isatty():
                raise UserError("Nothing was uploaded: say --yes to upload without being asked, or --dry-run to look.")
            if not typer.confirm("Upload these files?"):
                return None
        url = hub.push(package, repo, not public)
    if as_json:
        return emit({"folder": None, "files": package.files, "url": url})
    out().print(f"Pushed: {url}", highlight=False, markup=False)
    return None


def register(app: typer.Typer) -> None:
    app.command()(push)
