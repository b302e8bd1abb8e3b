"""`score`: every metric again from saved completions, of any file or of a whole sweep; no model is loaded.

--form: the file is in one of the paper's own forms; --compat: what the published scorer says of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json

if TYPE_CHECKING:
    from sde_ray.evaluation.reference_scorers.outcome import PublishedScores
    from sde_ray.evaluation.rescore import FileScores, TrialScores


def score(
    place: Annotated[
        str, typer.Argument(help='A sweep\'s folder or address, or JSONL lines of {"target", "prediction"}.')
    ],
    task: Annotated[str, typer.Option("--task", help="The task of the lines.")] = "",
    design: Annotated[str, typer.Option("--design", help="The design in which the lines are written.")] = "baseline",
    form: Annotated[str, typer.Option("--form", help="Instead of a design: one of the paper's own forms.")] = "",
    compat: Annotated[bool, typer.Option("--compat", help="With --form: the published scorer's numbers.")] = False,
    as_json: Json = False,
) -> None:
    """Recompute every metric from saved completions, without a model."""
    from sde_ray.config.open import open_sweep
    from sde_ray.errors import UserError
    from sde_ray.evaluation import rescore
    from sde_ray.storage.uri import is_uri

    if compat and not form:
        raise UserError("--compat needs the form of the file, e.g. --task masa_zh:d1 --form natural --compat.")
    path = open_sweep(place).run_dir.path if is_uri(place) else Path(place)
    if path.is_dir():
        return _print_sweep(rescore.score_run(path), as_json)
    if not task:
        raise UserError(f"Which task are the lines of {path}? Add --task, e.g. --task masa:d1 (list: sde-ray tasks).")
    if not form:
        return _print_file(rescore.score_file(path, task, design), as_json)
    from sde_ray.evaluation import reference_scorers

    if compat:
        return _print_published(reference_scorers.score_as_published(path, task, form), as_json)
    return _print_file(reference_scorers.score_published_form(path, task, form), as_json)


def _print_file(scored: FileScores, as_json: bool) -> None:
    if scored.bad_targets:
        lines = ", ".join(map(str, scored.bad_targets[:10])) + ("..." if len(scored.bad_targets) > 10 else "")
        err().print(
            f"[yellow]warning:[/] {len(scored.bad_targets)} of {scored.items} targets are not in the design's form "
            f"(lines {lines}); what could be read of them counts. Is --design or --form right?",
            highlight=False,
            soft_wrap=True,
        )
    if as_json:
        return emit({**scored.scores, "items": scored.items, "faults": scored.faults})
    shown = table(f"{scored.items} items", "metric", "score", right=("score",))
    for name, value in scored.scores.items():
        shown.add_row(name, number(value))
    for kind, count in scored.faults.items():
        shown.add_row(f"fault: {kind}", str(count))
    out().print(shown)


def _print_published(found: PublishedScores, as_json: bool) -> None:
    if found.crashes:
        lines = ", ".join(map(str, found.crashes[:10])) + ("..." if len(found.crashes) > 10 else "")
        err().print(
            f"[yellow]warning:[/] the published scorer ends with an exception on {len(found.crashes)} of {found.items} "
            f"lines ({lines}); here they count as without a prediction.",
            highlight=False,
            soft_wrap=True,
        )
    if as_json:
        plain = {"items": found.items, "wrong_format": found.wrong_format, "crashes": list(found.crashes)}
        return emit({**found.scores, **plain})
    shown = table(f"{found.items} items, as the published scorer counts", "metric", "score", right=("score",))
    for name, value in found.scores.items():
        shown.add_row(name, number(value))
    shown.add_row("wrong format", f"{found.wrong_format} ({found.wrong_format / found.items:.1%})")
    out().print(shown)


def _print_sweep(found: Sequence[TrialScores], as_json: bool) -> None:
    from sde_ray.design.designs import paper_label

    if as_json:
        return emit([one.to_dict() for one in found])
    first = next(iter(found[0].scores.values()))
    metrics = [name for name in first if "/" not in name and not name.endswith("_strict")]
    shown = table(f"{len(found)} trials", "trial", "design", "seed", "split", *metrics, right=tuple(metrics))
    for one in found:
        for split, scores in one.scores.items():
            cells = (number(scores.get(name)) for name in metrics)
            shown.add_row(one.key, paper_label(one.design), str(one.seed), split, *cells)
    out().print(shown)
    worst = max(one.max_change for one in found)
    out().print(f"\nLargest difference from what the trials themselves reported: {worst:.2g}")


def register(app: typer.Typer) -> None:
    app.command()(score)
