"""`report.html`: a sweep on one page, without scripts or network, for a browser, a phone, or a colleague's mail.

    write_report(folder / "report.html", Report("quickstart", [Chapter(study, strategy, verdict)], plan))

In: what a sweep has found. Out: leaderboard, effects, samples, the final comparison with its verdict, what several
models agree on, what was pinned, dropped, pruned or failed, and how to reproduce all of it.

chapter.py      the part on one study; cross_study.py what several agree on
by_slot.py      scores by slot and confusion matrices of the recommended design; by_field.py the fields of records
curation.py     what data and training axes counted; general.py what training does to plain texts
samples.py      samples of the best and the worst design; excluded.py what was dropped, pruned or failed
extras.py       sections of the robustness and prompting studies
figures.py      figures as SVG; html.py  style.py elements of the page
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import sde_ray
from sde_ray.analysis.cross_study import CrossStudy
from sde_ray.analysis.report import figures
from sde_ray.analysis.report.chapter import Chapter, chapter_figures, write_chapter
from sde_ray.analysis.report.cross_study import write_cross_study
from sde_ray.analysis.report.curation import write_curation
from sde_ray.analysis.report.excluded import write_excluded
from sde_ray.analysis.report.html import Html, escape, joined, table, tag
from sde_ray.analysis.report.style import PAGE
from sde_ray.storage.files import write_atomic

NO_NETWORK = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True)
class Report:
    """The content of the page. `pinned` and `dropped` as in the plan; `settings` as they are to be shown.

    `extras`: sections on studies that were run after the sweep (`extras.py`).
    """

    name: str
    chapters: Sequence[Chapter]
    pinned: Mapping[str, str] = field(default_factory=dict)
    dropped: Sequence[tuple[str, str]] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    across: Sequence[CrossStudy] = ()
    extras: Sequence[Html] = ()


def write_report(path: Path, report: Report) -> Path:
    """Write the page, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, render_page(report))
    return path


def render_page(report: Report) -> str:
    """The whole document."""
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=NO_NETWORK),
        tag("title", f"sde_ray: {report.name}"),
        Html(f"<style>{PAGE}</style>"),
    ]
    body = tag("body", tag("main", *_body(report)))
    return "<!doctype html>\n" + tag("html", tag("head", *head), body, lang="en") + "\n"


def figure_files(chapter: Chapter) -> dict[str, str]:
    """A chapter's figures as SVG files, by name, for MLflow."""
    return {name: figures.standalone(figure) for name, figure in chapter_figures(chapter).items()}


def _body(report: Report) -> Iterator[Html | None]:
    yield tag("h1", f"Sample design: {report.name}")
    if len(report.chapters) > 1:
        links = [tag("a", str(chapter.study.group), href=f"#study-{n}") for n, chapter in enumerate(report.chapters)]
        yield tag("nav", *links)
    for n, chapter in enumerate(report.chapters):
        yield write_chapter(chapter, f"study-{n}")
    for family in report.across:
        yield write_cross_study(family)
    yield from report.extras
    yield write_curation([chapter.study for chapter in report.chapters])
    yield write_excluded([chapter.study for chapter in report.chapters], report.pinned, report.dropped)
    yield _reproduce(report)


def _reproduce(report: Report) -> Html:
    rows = [{"what": key, "value": str(value)} for key, value in report.settings.items()]
    results = [result for chapter in report.chapters for result in chapter.study.results]
    for name in ("seed", "train_size", "eval_size", "data"):
        values = sorted({result.config[name] for result in results if name in result.config})
        rows.append({"what": name, "value": ", ".join(map(str, values[:20]))})
    rows.append({"what": "version", "value": f"sde_ray {sde_ray.__version__}"})
    command = report.command or f"sde-ray run sweeps/{report.name}.yaml"
    return joined(
        [
            tag("h2", "How to reproduce"),
            tag("pre", escape(command)),
            tag("p", "The same seeds give the same results; what the ledger already has is not run again."),
            table({"what": "what", "value": "value"}, rows),
        ]
    )
