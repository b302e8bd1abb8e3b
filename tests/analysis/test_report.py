"""The report: whole, self-contained, safe with hostile output, and true to the numbers that it was given."""

from __future__ import annotations

import json
import random
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.planted import ALL, additive, result

from sde_ray.analysis.cross_study import cross_studies
from sde_ray.analysis.effects import Group
from sde_ray.analysis.paired import PairedDifference
from sde_ray.analysis.report import Report, figure_files, render_page, write_report
from sde_ray.analysis.report.chapter import Chapter
from sde_ray.analysis.report.figures import Scale, rungs, scatter
from sde_ray.analysis.report.html import Html, escape, table, tag
from sde_ray.analysis.strategy import assemble
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import ASSEMBLED, WORSE, Comparison, make_verdict
from sde_ray.design.designs import NAMED, make_design, paper_label
from sde_ray.types import RungResult, TrialResult

METRIC = "weighted_kappa"
HOSTILE = '</pre><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\x00\ud800'


def clash(design: object) -> float:
    both = design["format"] == "lines" and design["labels"] == "number"  # type: ignore[index]
    return additive(design) - (0.2 if both else 0.0)  # type: ignore[arg-type]


def trials() -> list[TrialResult]:
    noise = random.Random(3)
    found = []
    for design in ALL:
        score = clash(design) + noise.gauss(0, 0.02)
        away = None if design["instruction"] == "none" else score - 0.2 + noise.gauss(0, 0.02)
        one = result(design, score, tokens=40.0 if design["format"] == "json" else 22.0, ood=away)
        halves = (RungResult(0, 50, {"dev": {METRIC: score / 2}}), RungResult(1, 100, one.scores))
        found.append(replace(one, rungs=halves, seconds={"total": 9.5}))
    found[3] = replace(found[3], status="pruned", rungs=found[3].rungs[:1])
    found[8] = replace(found[8], status="failed", error=f"boom {HOSTILE}", scores={})
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder, results = tmp_path_factory.mktemp("sweep"), trials()
    study = Study(Group("masa:d1", "tiny", 100), METRIC, "dev", tuple(results), folder)
    from sde_ray.tasks import get_task

    first = get_task("masa:d1").load("dev")[0]
    best = max((one for one in results if one.status == "finished"), key=lambda one: one.scores["dev"][METRIC])
    (folder / "trials" / best.key).mkdir(parents=True)
    row = {"split": "dev", "id": first.id, "prediction": HOSTILE, "task": "masa:d1"}
    (folder / "trials" / best.key / "predictions.jsonl").write_text(json.dumps(row) + "\n")
    strategy = assemble(results, METRIC)
    paired = PairedDifference(0.21, 0.15, 0.27, 0.001, 0.002)
    rows = [
        Comparison("baseline", make_design(), split, size, 0.8, 0.59, paired, 3, 200, "better")
        for split in ("test", "test_ood")
        for size in (None, 100, 500)
    ]
    rows.append(
        Comparison(
            "es-sde",
            NAMED["es-sde"],
            "test",
            None,
            0.8,
            0.79,
            PairedDifference(0.01, -0.02, 0.04, 0.5, 0.5),
            3,
            200,
            "no difference shown",
        )
    )
    verdict = make_verdict(strategy, rows)
    assert verdict.recommended == ASSEMBLED
    return Report(
        "quick", [Chapter(study, strategy, verdict)], {"labels": "spans have no numbers"}, [("design x", HOSTILE)],
        {"search": "grid"}, "sde-ray run sweeps/quick.yaml",
    )  # fmt: skip


class Reader(HTMLParser):
    """Checks that every element is closed, and gathers what is there."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def read(report: Report) -> Reader:
    reader = Reader()
    reader.feed(render_page(report))
    reader.close()
    return reader


def test_the_page_is_well_formed_and_loads_nothing(read: Reader) -> None:
    assert read.open == []
    names = {name for name, _ in read.tags}
    assert not names & {"script", "img", "link", "iframe", "object", "embed", "form"}
    for _, attributes in read.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not any(str(attributes.get(name, "")).startswith(("http", "//")) for name in ("src", "href"))
    policy = next(a for name, a in read.tags if name == "meta" and a.get("http-equiv"))
    assert str(policy["content"]).startswith("default-src 'none'")


def test_hostile_output_is_shown_as_text(read: Reader) -> None:
    assert "<script>alert(1)</script>" in read.text and "\u202e" not in read.text and "\x00" not in read.text
    assert (
        escape(Html("<b>")) == "<b>"
        and escape("<b>") == "&lt;b&gt;"
        and tag("p", "&", title='"') == ('<p title="&quot;">&amp;</p>')
    )


def test_it_tells_what_the_study_found(read: Reader, report: Report) -> None:
    (chapter,) = report.chapters
    study, strategy, verdict = chapter.study, chapter.strategy, chapter.verdict
    assert strategy is not None and verdict is not None
    for words in (
        f"{study.ranked[0].score:.3f}",
        study.ranked[0].label,
        strategy.design.slug,
        *strategy.reasons.values(),
        "wins against some controls, not against all",
        "[+0.150, +0.270]",
        "no difference shown",
        "pinned: spans have no numbers",
        "1 at 50 examples",
        "failed: boom",
        "sde-ray run sweeps/quick.yaml",
        "214 finished, 1 pruned, 1 failed",
        "(baseline)",
        "format=lines with labels=number",
    ):
        assert words.partition("\u202e")[0] in read.text, words


def test_it_opens_with_what_to_do_and_the_design_to_use(report: Report, read: Reader) -> None:
    (chapter,) = report.chapters
    assert chapter.verdict is not None and chapter.recommended is not None
    name, design = chapter.recommended
    assert name == "assembled" and chapter.verdict.action.startswith("Use the assembled design")
    order = [
        read.text.index(words)
        for words in (
            chapter.verdict.action,
            f"The design to use: {paper_label(design)}",
            "Output: ",  # the training example in it
            "Inst-first: instruction before the text",
            "OU: what is not mentioned is left out",
            "What all the names say",
            f"Predicted {METRIC}",
            "Final comparison",
            "Leaderboard",
        )
    ]
    assert order == sorted(order)
    assert "on 50 dev items" in read.text, "the items behind scores and intervals"


def test_a_control_that_is_to_be_used_is_the_design_that_is_shown(report: Report) -> None:
    (chapter,) = report.chapters
    assert chapter.verdict is not None and chapter.strategy is not None
    rows = [replace(row, claim=WORSE) if row.control == "es-sde" else row for row in chapter.verdict.rows]
    verdict = make_verdict(chapter.strategy, rows)
    text = render_page(replace(report, chapters=[replace(chapter, verdict=verdict)]))
    assert f"The design to use (es-sde): {paper_label(NAMED['es-sde'])}" in text
    assert "Use es-sde: the assembled design is worse by 0.010." in text


def test_degenerate_results_and_odd_data_are_told(report: Report) -> None:
    (chapter,) = report.chapters
    strategy = assemble([result(design, 0.0) for design in ALL[:20]], METRIC)
    facts, notes = ("weighted_kappa on dev (agreement beyond chance)",), ("27 dev items: intervals are wide.",)
    odd = replace(chapter, strategy=strategy, verdict=None, facts=facts, notes=notes)
    text = render_page(replace(report, chapters=[odd]))
    assert "Every score is 0: nothing was learned." in text and "The default of every axis is kept." in text
    assert facts[0] in text and notes[0] in text


def test_both_themes_and_narrow_screens_are_served(report: Report) -> None:
    text = render_page(report)
    assert "prefers-color-scheme: dark" in text and "width=device-width" in text
    outside = re.sub(r'<div class="scroll".*?</div>', "", text, flags=re.DOTALL)
    assert "<table" in text and "<table" not in outside  # a wide table scrolls by itself, the page never
    for figure in re.findall(r"<svg [^>]*>", text):
        assert 'viewBox="0 0 420 ' in figure and "width=" not in figure  # as wide as its place
    widths = [float(width) for width in re.findall(r"min-width: ?([\d.]+)rem", text)]
    assert all(width <= 13 for width in widths)
    assert ".scroll { overflow-x: auto" in text and "overflow-wrap: anywhere" in text


def test_every_figure_is_a_file_of_its_own(report: Report) -> None:
    (chapter,) = report.chapters
    files = figure_files(chapter)
    assert set(files) == {"effects", "interactions", "cost", "domains", "rungs"}
    space = "{http://www.w3.org/2000/svg}"
    for figure in files.values():
        root = ElementTree.fromstring(figure)  # parses as XML, as MLflow and browsers want it
        assert "prefers-color-scheme: dark" in (root.findtext(f"{space}style") or "")
    stopped = list(ElementTree.fromstring(files["rungs"]).iter(f"{space}circle"))
    assert ["(pruned)" in (one.findtext(f"{space}title") or "") for one in stopped] == [True]
    root = ElementTree.fromstring(files["effects"])
    titles = [one.text or "" for one in root.iter(f"{space}title")]
    lines = next(row for row in chapter.study.effects if row["option"] == "lines")
    assert f"lines: {lines['difference']:+.3f} [{lines['low']:+.3f}, {lines['high']:+.3f}]" in titles
    dots = [one for one in root.iter(f"{space}circle") if "home" in one.get("class", "")]
    assert len(dots) == len(chapter.study.effects) + 1  # and the legend's


def test_every_section_is_there(read: Reader) -> None:
    for title in (
        "Final comparison", "Leaderboard", "Effects", "Interactions", "Cost, domains and training", "Worth their price",
        "Samples", "Best seen", "Worst seen", "What was left out", "Each pruned trial", "How to reproduce",
    ):  # fmt: skip
        assert title in read.text, title


def test_numbers_are_those_of_the_ledger(report: Report, read: Reader) -> None:
    """Computed here from the results, not by what the page is made with."""
    results = report.chapters[0].study.results
    scores: dict[str, list[float]] = {}
    for one in results:
        if one.status == "finished":
            slug = ",".join(f"{axis}={option}" for axis, option in sorted(one.config["design"].items()))
            scores.setdefault(slug, []).append(one.scores["dev"][METRIC])
    means = sorted((sum(own) / len(own) for own in scores.values()), reverse=True)
    for mean in [*means[:10], means[-1]]:
        assert f"{mean:.3f}" in read.text
    (pruned,) = [one for one in results if one.status == "pruned"]
    on = sorted(one.rungs[0].scores["dev"][METRIC] for one in results if one.status != "pruned")
    middle = (on[(len(on) - 1) // 2] + on[len(on) // 2]) / 2
    where = read.text.index("Each pruned trial")
    assert f"{pruned.rungs[0].scores['dev'][METRIC]:.3f}" in read.text[where:] and f"{middle:.3f}" in read.text[where:]


def test_what_matters_is_said(report: Report, read: Reader) -> None:
    claims = {f"{row['axis']}={row['option']}": row["claim"] for row in report.chapters[0].study.effects}
    assert claims["format=json"] == "worse" and claims["instruction=first"] == "better"
    assert re.search(r"Matter: .*instruction=first \(\+0\.\d{3}\)", read.text) and "format=json (-0." in read.text
    assert "Matter: " in read.text and "is better than the baseline by" in read.text
    assert "labels=number" in next(r["interacts"] for r in report.chapters[0].study.effects if r["option"] == "lines")


def test_several_models_stand_side_by_side(report: Report, tmp_path: Path) -> None:
    study = report.chapters[0].study
    others = [replace(one, config={**one.config, "model": "large"}) for one in study.results]
    other = Study(Group("masa:d1", "large", 100), METRIC, "dev", tuple(others), tmp_path)
    found = cross_studies([study, other])
    text = render_page(replace(report, chapters=[*report.chapters, Chapter(other)], across=found))
    assert "Consistency over models" in text and "tiny and large" in text and "+1.000" in text
    assert "all agree" in text and "Effects shared by the models" in text
    assert "Consistency" not in render_page(report)


def test_an_empty_sweep_and_one_without_noise_have_a_page_too(tmp_path: Path) -> None:
    group = Group("masa:d1", "tiny", 100)
    nothing = Study(group, METRIC, "dev", (), tmp_path)
    lone = Study(group, METRIC, "dev", (result(make_design(), 0.5),), tmp_path)
    two = Study(group, METRIC, "dev", (result(make_design(), 0.5), result(make_design(format="lines"), 0.6)), tmp_path)
    path = write_report(tmp_path / "r" / "report.html", Report("x", [Chapter(nothing), Chapter(lone), Chapter(two)]))
    text = path.read_text(encoding="utf-8")
    assert "No trial of this study has finished" in text and "Nothing was pinned" in text
    assert "lines: +0.100, no interval" in text and 'href="#study-2"' in text
    assert "effects" not in figure_files(Chapter(lone)) and "No axis has two options" in text


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.013, 0.021), (12.0, 480.0), (0.5, 0.5), (0.0, 0.0)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    scale = Scale(low, high, 0, 100)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7 and all(scale.low <= tick <= scale.high for tick in ticks)
    assert 0 <= scale(low) <= scale(high) <= 100


def test_curves_need_two_rungs_and_tables_take_missing_values() -> None:
    assert rungs([result(make_design(), 0.5)], METRIC, "dev", "") is None
    shown = table({"n": "n", "x": "x"}, [{"n": 1, "x": None}, {"n": 0.25, "x": "a"}])
    assert '<td class="number">0.250</td>' in shown and "–" in shown


def test_each_name_in_a_scatter_leads_to_its_own_dot() -> None:
    points = [("a", 20.0, 0.96), ("b", 20.1, 0.959), ("c", 20.0, 0.9), ("d", 50.0, 0.1)]
    drawing = ElementTree.fromstring(str(scatter(points, "tokens", "kappa", {"a": "assembled", "b": "baseline"})))
    dots = {dot[0].text.partition(":")[0]: dot.attrib for dot in drawing.iter() if dot.tag.endswith("circle")}
    names = {word.text: word.attrib for word in drawing.iter() if word.get("class") == "label name"}
    (leader,) = [row.attrib for row in drawing.iter() if row.get("class") == "leader"]
    assert abs(float(names["assembled"]["y"]) - 4 - float(dots["a"]["cy"])) < 0.1
    assert float(names["baseline"]["y"]) >= float(names["assembled"]["y"]) + 13
    assert [float(leader[key]) for key in ("x1", "y1")] == [float(dots["b"][key]) for key in ("cx", "cy")]
    assert float(leader["y2"]) == float(names["baseline"]["y"]) - 4
    (title,) = [word for word in drawing.iter() if word.text == "kappa"]
    assert min(float(dot["cy"]) for dot in dots.values()) > float(title.get("y", "nan")) + 10
