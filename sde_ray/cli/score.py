"""`sde-ray score`: every metric recomputed from saved completions, of a file or of a whole run; no model is loaded.

--form: the file is in one of the paper's own forms; --compat: the numbers of the published scorer.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json, TrustCode

if TYPE_CHECKING:
    from sde_ray.evaluation.reference_scorers.outcome import PublishedScores
    from sde_ray.evaluation.rescore import FileScores, TrialScores


def score(
    completions: Annotated[
        str,
        typer.Argument(
            help='A sweep\'s folder or address, or JSONL lines of {"target", "prediction"} or {"id", "prediction"}.',
            metavar="PLACE",
        ),
    ],
    task: Annotated[str, typer.Option("--task", help="The task of the lines.")] = "",
    design: Annotated[
        str,
        typer.Option("--design", help="The design in which they are written; default: baseline, or the strategy's."),
    ] = "",
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="PLACE", help="The sweep that has the task and the design.")
    ] = "",
    split: Annotated[str, typer.Option("--split", help="Where the ids of lines without a target are.")] = "dev",
    form: Annotated[str, typer.Option("--form", help="Instead of a design: one of the paper's own forms.")] = "",
    compat: Annotated[bool, typer.Option("--compat", help="With --form: the published scorer's numbers.")] = False,
    trust_code: TrustCode = None,
    as_json: Json = False,
) -> None:
    """Recompute every metric from saved completions, without a model."""
    from sde_ray.config.open import open_sweep
    from sde_ray.errors import UserError
    from sde_ray.evaluation import rescore
    from sde_ray.storage.layout import SWEEP
    from sde_ray.storage.uri import is_uri

    if compat and not form:
        raise UserError("--compat needs the form of the file, e.g. --task masa_zh:d1 --form natural --compat.")
    path = open_sweep(completions).run_dir.path if is_uri(completions) else Path(completions)
    if path.is_dir():
        if (path / SWEEP).is_file():
            open_sweep(path)  # whose tasks are defined there
        return _print_run(rescore.score_run(path), as_json)
    if strategy:
        return _print_file(_score_in_strategy(path, strategy, task, design, split), as_json)
    if not task:
        raise UserError(f"Which task are the lines of {path}? Add --task, e.g. --task masa:d1 (list: sde-ray tasks).")
    if not form:
        return _print_file(rescore.score_file(path, task, design or "baseline", split), as_json)
    from sde_ray.evaluation import reference_scorers

    if compat:
        return _print_published(reference_scorers.score_as_published(path, task, form), as_json)
    return _print_file(reference_scorers.score_published_form(path, task, form), as_json)


def _score_in_strategy(path: Path, strategy: str, task: str, design: str, split: str) -> FileScores:
    """Completions of what `sde-ray export` has written: the task and the design are the sweep's."""
    from sde_ray.evaluation.rescore import score_completions
    from sde_ray.export.source import find_design

    opened, chosen = find_design(strategy, task, design=design)
    return score_completions(path, opened, chosen, split)


def _print_file(file: FileScores, as_json: bool) -> None:
    if file.bad_targets:
        lines = ", ".join(map(str, file.bad_targets[:10])) + ("..." if len(file.bad_targets) > 10 else "")
        err().print(
            f"[yellow]warning:[/] {len(file.bad_targets)} of {file.items} targets are not in the design's form "
            f"(lines {lines}); what could be read of them counts. Is --design or --form right?",
            highlight=False,
            soft_wrap=True,
        )
    if as_json:
        return emit({**file.scores, "items": file.items, "faults": file.faults})
    metrics = table(f"{file.items} items", "metric", "score", right=("score",))
    for name, value in file.scores.items():
        metrics.add_row(name, number(value))
    for kind, count in file.faults.items():
        metrics.add_row(f"fault: {kind}", str(count))
    out().print(metrics)


def _print_published(published: PublishedScores, as_json: bool) -> None:
    if published.crashes:
        lines = ", ".join(map(str, published.crashes[:10])) + ("..." if len(published.crashes) > 10 else "")
        err().print(
            f"[yellow]warning:[/] the published scorer ends with an exception on {len(published.crashes)} of "
            f"{published.items} lines ({lines}); here they count as without a prediction.",
            highlight=False,
            soft_wrap=True,
        )
    if as_json:
        counts = {"items": published.items, "wrong_format": published.wrong_format, "crashes": list(published.crashes)}
        return emit({**published.scores, **counts})
    metrics = table(f"{published.items} items, as the published scorer counts", "metric", "score", right=("score",))
    for name, value in published.scores.items():
        metrics.add_row(name, number(value))
    metrics.add_row("wrong format", f"{published.wrong_format} ({published.wrong_format / published.items:.1%})")
    out().print(metrics)


def _print_run(trials: Sequence[TrialScores], as_json: bool) -> None:
    from sde_ray.design.designs import paper_label

    if as_json:
        return emit([trial.to_dict() for trial in trials])
    first = next(iter(trials[0].scores.values()))
    metrics = [name for name in first if "/" not in name and not name.endswith("_strict")]
    scores_table = table(f"{len(trials)} trials", "trial", "design", "seed", "split", *metrics, right=tuple(metrics))
    for trial in trials:
        for split, scores in trial.scores.items():
            cells = (number(scores.get(name)) for name in metrics)
            scores_table.add_row(trial.key, paper_label(trial.design), str(trial.seed), split, *cells)
    out().print(scores_table)
    largest = max(trial.max_change for trial in trials)
    out().print(f"\nLargest difference from what the trials themselves reported: {largest:.2g}")


def register(app: typer.Typer) -> None:
    app.command()(score)
