"""`sde-ray memory`: how well the untuned model knows each fact of a closed-book question-answering sweep."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sde_ray.cli.console import emit, err, number, out, table
from sde_ray.cli.options import Json, Sets, Sweep

if TYPE_CHECKING:
    from sde_ray.curation.memory.levels import LevelTable
    from sde_ray.pipeline.memory_study.measure import MemoryCost, MemoryStudy
    from sde_ray.pipeline.memory_study.result import MemoryResult


def memory(
    sweep: Sweep,
    templates: Annotated[int, typer.Option(min=2, help="Completion templates of each relation, at most.")] = 12,
    samples: Annotated[int, typer.Option(min=1, help="Completions of each template.")] = 10,
    limit: Annotated[int, typer.Option(min=0, help="Training facts of each relation, at most; 0: all.")] = 100,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of a completion, at most.")] = 32,
    past_sentence: Annotated[
        bool, typer.Option("--past-sentence", help="Do not end a completion with its first sentence (as published).")
    ] = False,
    templates_file: Annotated[
        Path | None, typer.Option(help="Templates of relations of your own: JSON lines.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would cost, and stop.")] = False,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Measure how well the untuned model knows each fact: its memory levels D0 to D4; resumes where it stopped."""
    from sde_ray.config.load import load_config, open_tasks
    from sde_ray.curation.memory.completions import MemorySettings
    from sde_ray.data.completion_templates import TEMPLATES, with_own_templates
    from sde_ray.pipeline.memory_study.measure import measure, prepare_memory
    from sde_ray.pipeline.memory_study.result import MemoryResult, conclude, save
    from sde_ray.pipeline.run import refresh_report

    config = load_config(sweep, sets or [])
    config.run_dir.refresh()
    stop: Literal["length", "sentence"] = "length" if past_sentence else "sentence"
    settings = MemorySettings(templates, samples, max_new_tokens=max_new_tokens, stop=stop)
    table_of_templates = TEMPLATES if templates_file is None else with_own_templates(templates_file)
    results: list[MemoryResult] = []
    for task in open_tasks(config):
        measured: dict[str, MemoryResult] = {}
        for model in config.model:
            study = prepare_memory(config, task, model, settings, limit or None, table_of_templates)
            cost = _describe_cost(study.cost(), study)
            err().print(f"{task} on {model}: {cost}", highlight=False, markup=False, soft_wrap=True)
            if not dry_run:
                measured[model] = MemoryResult(study, measure(study, _progress()))
        results += conclude(config, task, measured)
    if dry_run:
        return None
    for result in results:
        err().print(f"saved in {save(result)}", highlight=False, markup=False, soft_wrap=True)
    page = refresh_report(config)
    if as_json:
        return emit([result.to_dict() for result in results])
    for result in results:
        _print(result)
    if page:
        out().print(f"also on its page: {page}", highlight=False, markup=False)
    return None


def _describe_cost(cost: MemoryCost, study: MemoryStudy) -> str:
    from sde_ray.sweep.progress import duration

    splits = ", ".join(f"{len(facts):,} {split}" for split, facts in study.facts.items())
    if not cost.missing:
        return f"all of {cost.facts:,} facts ({splits}) are measured already."
    seconds = "time known after the first" if cost.seconds is None else f"about {duration(cost.seconds)} of one worker"
    per_fact = cost.completions / cost.missing / study.settings.samples
    return (
        f"{cost.missing:,} of {cost.facts:,} facts to measure ({splits}): x {per_fact:g} templates x "
        f"{study.settings.samples} samples = {cost.completions:,} completions of {study.settings.max_new_tokens} "
        f"tokens at most, {cost.tokens / 1e6:.2g} M tokens; {seconds}."
    )


def _progress() -> Callable[[int, int], None]:
    """Prints the time that is left after the first facts, then about ten lines."""
    from sde_ray.sweep.progress import duration

    started, shown = time.monotonic(), [0]

    def on_progress(done: int, total: int) -> None:
        if shown[0] == 0 or done == total or done - shown[0] >= total / 10:
            shown[0] = done
            left = duration((time.monotonic() - started) / done * (total - done))
            err().print(
                f"{done:,} of {total:,} facts measured" + (f" · {left} left" if done < total else ""), highlight=False
            )

    return on_progress


def _print(result: MemoryResult) -> None:
    from sde_ray.curation.memory.levels import LEVELS

    study = result.study
    names = [f"D{level}" for level in LEVELS]
    for split in result.memories:
        words, substring = result.tables(split)
        title = f"\n{study.task} on {study.model}, {split}: facts by memory level"
        rows = table(title, "", "facts", *names, right=("facts", *names))
        for name, each in (("whole words", words), ("substring, as published", substring)):
            rows.add_row(name, str(sum(share.count for share in each.shares)), *(str(s.count) for s in each.shares))
            rows.add_row("  share, 95%", "", *(_share(*share.interval) for share in each.shares))
        for relation, counts in words.by_relation.items():
            rows.add_row(relation, str(sum(counts)), *map(str, counts))
        out().print(rows)
        out().print(_trust(words), highlight=False, markup=False)
    if result.too_few:
        remedy = "Measure more facts (--limit), or leave these levels or sizes out: `sde-ray plan` refuses them."
        out().print("\n".join([*result.too_few, remedy]), highlight=False, markup=False, soft_wrap=True)
    _print_trained(result)


def _print_trained(result: MemoryResult) -> None:
    for split, found in result.trained.items():
        levels = [name for name in found.accuracy[0] if name.startswith("D")]
        columns = ("size", "seeds", *levels, "mean")
        rows = table(f"\nAccuracy by level after training, {split}", "model", "trained on", *columns, right=columns)
        for row in found.accuracy:
            values = (number(row[name]) if name in row else "–" for name in (*levels, "mean"))
            rows.add_row(row["model"], row["trained_on"], str(row["train_size"]), str(row["seeds"]), *values)
        out().print(rows)
        out().print(f"\nWhat the trials say, {split}:", highlight=False, markup=False)
        for finding in found.findings:
            out().print(f"{finding.question} {finding.verdict}", highlight=False, markup=False, soft_wrap=True)


def _share(low: float, high: float) -> str:
    return f"{low:.2f} .. {high:.2f}"


def _trust(levels: LevelTable) -> str:
    return (
        f"A fact's R has a standard error of {levels.typical_error:.3f}; two halves of the templates give "
        f"{levels.agreement.value:.0%} of the facts the same level."
    )


def register(app: typer.Typer) -> None:
    app.command()(memory)
