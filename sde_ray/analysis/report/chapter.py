"""The report's chapter on one study: verdict, strategy, validation, leaderboard, effects, interactions, samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sde_ray.analysis.claims import BETTER, MARGIN, NOT_SHOWN, PERHAPS_BETTER, PERHAPS_WORSE, SAME, UNKNOWN, WORSE
from sde_ray.analysis.estimate import format_interval, format_signed
from sde_ray.analysis.forgetting import Forgetting, forgetting_by_design
from sde_ray.analysis.leaderboard import RankedDesign
from sde_ray.analysis.legend import legend, legend_entries
from sde_ray.analysis.report import figures
from sde_ray.analysis.report.by_slot import write_by_slot
from sde_ray.analysis.report.general import NOTE, general_cell, general_note
from sde_ray.analysis.report.html import Html, escape, joined, table, tag
from sde_ray.analysis.report.samples import AnsweredItem, held_out_answers, render_in_designs
from sde_ray.analysis.strategy import Strategy, strategy_table
from sde_ray.analysis.study import Study
from sde_ray.analysis.verdict import Verdict, verdict_table
from sde_ray.design.designs import NAMED, essential, paper_label, without_amounts
from sde_ray.types import Design, TrialResult

SPLITS = {"test": "in-domain", "test_ood": "out-of-domain"}
SHOWN_ROWS = 15  # rows of the leaderboard, then the last ones
LAST_ROWS = 3
SHOWN_INTERACTIONS = 8


@dataclass(frozen=True)
class Chapter:
    """One study of a report, with its strategy and verdict where they exist.

    `final`: the trials of the final comparison. `facts` and `notes`: what the sweep read of the task, and what is odd
    about it, a sentence each.
    """

    study: Study
    strategy: Strategy | None = None
    verdict: Verdict | None = None
    final: Sequence[TrialResult] = ()
    facts: Sequence[str] = ()
    notes: Sequence[str] = ()

    @property
    def recommended(self) -> tuple[str, Design] | None:
        """Name and design of the contender to use; the assembled one before the final comparison, None before it."""
        if self.verdict is not None:
            designs = {row.control: row.design for row in self.verdict.rows}
            name = self.verdict.recommended
            return name, designs.get(name, self.verdict.strategy_design)
        return ("assembled", self.strategy.design) if self.strategy is not None else None


def write_chapter(chapter: Chapter, anchor: str) -> Html:
    """The chapter as an HTML section with an id."""
    return tag("section", tag("h2", str(chapter.study.group)), *_parts(chapter), id=anchor)


def _parts(chapter: Chapter) -> Iterator[Html | None]:
    study, strategy = chapter.study, chapter.strategy
    if chapter.verdict is not None:
        yield _verdict(chapter.verdict)
    if strategy is not None and strategy.warning:
        yield tag("div", tag("strong", strategy.warning), "The default of every axis is kept.", class_="warning")
    yield _recommended(chapter)
    if strategy is not None:
        yield _strategy(strategy, chapter.verdict is None)
    if chapter.verdict is not None:
        yield _validation(chapter.verdict, forgetting_by_design(chapter.final))
    if study.results and chapter.recommended is not None:
        yield write_by_slot(study, *chapter.recommended, chapter.final)
    if not study.ranked:
        yield tag("p", "No trial of this study has finished with a score.")
        return
    yield _leaderboard(study, strategy)
    yield _effects(study)
    yield _interactions(study)
    yield _costs(chapter)
    yield _samples(study)


# ---- the outcome ---------------------------------------------------------------------------------------------------


def _verdict(verdict: Verdict) -> Html:
    headline, _, rest = verdict.summary.partition(". ")
    headline = f"{headline.rstrip('.')}."
    if not verdict.action:  # written by an earlier version
        return tag("div", tag("strong", headline), rest, class_="verdict")
    return tag("div", tag("strong", verdict.action), tag("p", f"{headline} {rest}"), class_="verdict")


def _recommended(chapter: Chapter) -> Html | None:
    """The design to use, as it writes a training example, with what the parts of its name say."""
    if chapter.recommended is None:
        return None
    name, design = chapter.recommended
    ranked = [row.design for row in chapter.study.ranked]
    entries = [
        tag("li", tag("b", label), f": {meaning}")
        for axis in legend_entries([design, *ranked])
        for label, meaning in axis
    ]
    named = "" if name == "assembled" else f" ({name})"
    sample = (render_in_designs(chapter.study, [design]) if chapter.study.results else None) or {}
    facts = [tag("li", fact) for fact in chapter.facts] + [tag("li", note, class_="worse") for note in chapter.notes]
    return joined(
        [
            tag("h3", f"The design to use{named}: {paper_label(design)}"),
            sample.get(design),
            tag("p", "A training example in this design; what the loss counts is marked.", class_="quiet")
            if design in sample
            else None,
            tag("p", legend([design]), class_="quiet"),
            _folded("What all the names say", tag("ul", *entries)),
            tag("ul", *facts) if facts else None,
        ]
    )


def _strategy(strategy: Strategy, open_: bool) -> Html:
    rows = strategy_table(strategy)
    prediction = f"Predicted {strategy.objective} {strategy.predicted:.3f}."
    prediction += f" {strategy.selection}" if strategy.selection else ""
    note = (
        tag("p", f"{prediction} Not validated yet: selection flatters this number.") if open_ else tag("p", prediction)
    )
    columns = {"axis": "axis", "option": "option", "why": "reason"}
    return joined(
        [
            tag("h3", "The assembled design"),
            note,
            table(columns, rows, strategy.design.slug.replace(",", ", ")),
            tag("p", strategy.ranking) if strategy.ranking else None,
        ]
    )


def _validation(verdict: Verdict, general: Mapping[Design, Forgetting]) -> Html:
    rows, designs = [], {row.control: row.design for row in verdict.rows}
    for row in verdict_table(verdict):
        rows.append(
            {
                **row,
                "where": SPLITS.get(row["split"], row["split"]),
                "scores": " / ".join(_three(row[name]) for name in ("assembled", "score")),
                "tokens": " / ".join(_whole(count) for count in (verdict.cost.tokens, row["tokens"])),
                "on": f"{row['seeds']} × {row['items']}" if row["items"] else str(row["seeds"]),
                "at": (row.get("at") or "").replace("=", " "),
                "size": "all" if row["train_size"] is None else str(row["train_size"]),
                "difference": format_signed(row["difference"]),
                "interval": format_interval(row["low"], row["high"]),
                **general_cell(general, designs[row["control"]]),
                "claim": tag(
                    "span", row["claim"], class_=row["claim"] if row["claim"] in ("better", "worse") else None
                ),
                "class_": "chosen" if row["control"] == verdict.recommended and not row.get("at") else None,
            }
        )
    columns = {
        "against": "control", "it is": "claim", "so": "action", "difference": "difference",
        "95% interval": "interval", "p (Holm)": "adjusted_p_value", "scores": "scores", "tokens": "tokens",
        "samples": "size", "seeds × items": "on",
    }  # fmt: skip
    if all(row["size"] == "all" for row in rows):
        columns.pop("samples")
    note = (
        "Fresh seeds and test items that no selection has seen; differences are paired by item and by the seeds "
        "that both have. Holm's correction counts the controls of one split and size: nothing is corrected over "
        "splits or sizes. "
        f"Look {verdict.look} at the test items: claims at level {verdict.level:g}. Scores and output tokens: of the "
        "assembled design / of the control."
    )
    columns |= {"general": "general"} if general else {}
    note += general_note(general, verdict.strategy_design)
    blocks = list(dict.fromkeys((row["at"], row["where"]) for row in rows))
    tables = [
        table(
            {name: key for name, key in columns.items() if not at or key not in ("action", "tokens")},
            [row for row in rows if (row["at"], row["where"]) == (at, where)],
            f"{where}, all trained again at {at}: a test of robustness" if at else where,
        )
        for at, where in blocks
    ]
    return joined([tag("h3", "Final comparison"), tag("p", note, class_="quiet"), *tables])


def _three(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


def _whole(count: float | None) -> str:
    return "–" if count is None else f"{count:.0f}"


# ---- the evidence --------------------------------------------------------------------------------------------------


def _leaderboard(study: Study, strategy: Strategy | None) -> Html:
    ranked = list(enumerate(study.ranked, 1))
    always_shown = {*NAMED.values(), *([strategy.design] if strategy else [])}
    rows_shown = [
        (n, row) for n, row in ranked if n <= SHOWN_ROWS or n > len(ranked) - LAST_ROWS or row.design in always_shown
    ]
    rows = [_row(rank, row, strategy) | {"general": str(row.general or "")} for rank, row in rows_shown]
    columns = {
        "#": "place", "design": "label", study.objective: "score", "expected": "expected", "spread": "spread",
        "out of domain": "ood", "format ok": "adherence", "output tokens": "tokens", "seconds": "seconds",
        "trials": "trials",
    }  # fmt: skip
    if all(row.ood is None for row in study.ranked):
        columns.pop("out of domain")
    columns |= {"general": "general"} if any(row.general for row in study.ranked) else {}
    selection_note = (
        f"The best {SHOWN_ROWS}, the named ones and the last {LAST_ROWS} of {len(ranked)} designs."
        if len(rows_shown) < len(ranked)
        else ""
    )
    note = (
        f"Mean over seeds on {_items(study)}; ranked by the expected score, a shrunken mean that draws designs of few "
        f"trials towards what their options promise; spread is the range over seeds. {selection_note}"
        + (f" {NOTE}" if "general" in columns else "")
    )
    ahead = tag("p", study.best_vs_baseline.summary) if study.best_vs_baseline else None
    return joined([tag("h3", "Leaderboard"), tag("p", note, class_="quiet"), ahead, table(columns, rows)])


def _row(rank: int, row: RankedDesign, strategy: Strategy | None) -> dict[str, Any]:
    names = [name for name, design in NAMED.items() if design == without_amounts(essential(row.design))]
    cells: dict[str, Any] = {
        **row.to_dict(),
        "place": rank,
        "label": f"{row.label}{''.join(f' ({n})' for n in names)}",
    }
    cells |= {"tokens": f"{row.tokens:.1f}", "seconds": f"{row.seconds:.1f}"}
    return cells | {"class_": "chosen" if strategy and essential(row.design) == essential(strategy.design) else None}


def _effects(study: Study) -> Html:
    if not study.effects:
        return joined([tag("h3", "Effects"), tag("p", "No axis has two options in the finished trials.")])
    rows = [
        {**row, "effect": format_signed(row["difference"]), "interval": format_interval(row["low"], row["high"]),
         "away": format_signed(row["difference_ood"]),
         "away_interval": format_interval(row["low_ood"], row["high_ood"])}
        for row in study.effects
    ]  # fmt: skip
    columns = {
        "axis": "axis",
        "option": "option",
        "against": "reference",
        "effect": "effect",
        "95% interval": "interval",
    }
    if any(row["difference_ood"] is not None for row in study.effects):
        columns |= {"out of domain": "away", "95% interval ": "away_interval"}
    columns |= {"says": "claim", "interacts with": "interacts"}
    words = f"What each option does to {study.objective} on {_items(study)}. A bar across 0: no difference shown."
    figure = figures.caption(f"{words} {study.scope}", figures.effects(study.effects, study.objective))
    return joined([tag("h3", "Effects"), figure, _matters(study), _folded("The numbers", table(columns, rows))])


def _items(study: Study) -> str:
    """`120 dev items`: what the scores and intervals rest on."""
    sizes = {int(result.config["eval_size"]) for result in study.results if "eval_size" in result.config}
    return f"{max(sizes)} {study.split} items" if sizes else study.split


def _matters(study: Study) -> Html:
    """The options by what is claimed of them: they matter, and which way, do not matter, or it is not shown."""
    kinds = {
        "Matter": (BETTER, WORSE),
        "Perhaps matter (clear alone, not among all options)": (PERHAPS_BETTER, PERHAPS_WORSE),
        f"Do not matter (within ±{MARGIN:g})": (SAME,),
        "Not shown either way": (NOT_SHOWN, UNKNOWN),
    }
    entries = []
    for title, claims in kinds.items():
        rows = [row for row in study.effects if row["claim"] in claims]
        signed = not {*claims} & {SAME, NOT_SHOWN}
        sizes = [f" ({format_signed(row['difference'])})" if signed else "" for row in rows]
        names = [f"{row['axis']}={row['option']}{size}" for row, size in zip(rows, sizes, strict=True)]
        if names:
            entries.append(tag("li", tag("b", f"{title}: "), ", ".join(names)))
    return tag("ul", *entries)


def _interactions(study: Study) -> Html | None:
    if not study.interactions:
        return None
    rows = [
        {"pair": " with ".join(f"{a}={o}" for a, o in zip(row.axes, row.options, strict=True)),
         "difference": format_signed(row.difference), "interval": format_interval(row.low, row.high),
         "clear": "yes" if row.clear else ""}
        for row in study.interactions[:SHOWN_INTERACTIONS]
    ]  # fmt: skip
    words = (
        "What two options bring together beyond the sum of each alone, not shrunk: blue more, orange less; grey: noise "
        "may explain it; a dot: clear, 0 is excluded by an interval that holds for all pairs at once."
    )
    figure = figures.caption(words, figures.interactions(study.interactions, study.objective))
    columns = {"pair": "pair", "more or less": "difference", "95% interval": "interval", "clear among all": "clear"}
    return joined([tag("h3", "Interactions"), figure, _folded("The strongest", table(columns, rows))])


def chapter_figures(chapter: Chapter) -> dict[str, Html]:
    """Every figure of a chapter as SVG, by its name, for the page and as files."""
    study, strategy = chapter.study, chapter.strategy
    if not study.ranked:
        return {}
    best, labels = study.ranked[0], {study.ranked[0].design.slug: "best seen"}
    if strategy is not None:
        labels[strategy.design.slug] = "assembled" if strategy.design != best.design else "assembled, best seen"
    labels |= {NAMED["baseline"].slug: "baseline"} if NAMED["baseline"].slug not in labels else {}
    costs = [(row.design.slug, row.tokens, row.score) for row in study.ranked if row.tokens > 0]
    domains = [(row.design.slug, row.score, row.ood) for row in study.ranked if row.ood is not None]
    by_name = {
        "effects": figures.effects(study.effects, study.objective),
        "interactions": figures.interactions(study.interactions, study.objective) if study.interactions else None,
        "cost": figures.scatter(costs, "output tokens", study.objective, labels, front=True),
        "domains": figures.scatter(domains, f"{study.objective} in-domain", "out-of-domain", labels),
        "rungs": figures.rungs(study.results, study.objective, study.split, best.design.slug),
    }
    return {name: figure for name, figure in by_name.items() if figure is not None}


def _costs(chapter: Chapter) -> Html:
    by_name = chapter_figures(chapter)
    captions = {
        "cost": "Score against output tokens. On the dashed line no other design is both shorter and better.",
        "domains": "The same designs in-domain and out-of-domain.",
        "rungs": "Score by training examples; the best design is bold, pruned trials are dashed or a single dot.",
    }
    parts = [figures.caption(caption, by_name[name]) for name, caption in captions.items() if name in by_name]
    return joined(
        [tag("h3", "Cost, domains and training"), tag("div", *parts, class_="figures"), _front(chapter.study)]
    )


def _front(study: Study) -> Html | None:
    """The Pareto front as a table: each design with its gain over the next cheaper one."""
    if not study.pareto_front:
        return None
    rows = [
        {"label": point.row.label, "tokens": f"{point.tokens:.1f}", "score": point.row.score,
         "gain": format_signed(point.gain.value) if point.gain else None,
         "interval": format_interval(point.gain.low, point.gain.high) if point.gain else None,
         "adherence": point.row.adherence}
        for point in study.pareto_front
    ]  # fmt: skip
    columns = {
        "design": "label", "output tokens": "tokens", study.objective: "score", "gain": "gain",
        "95% interval": "interval", "format ok": "adherence",
    }  # fmt: skip
    return joined([tag("h4", "Worth their price"), table(columns, rows)])


# ---- samples -------------------------------------------------------------------------------------------------------


def _samples(study: Study) -> Html | None:
    best, worst = study.ranked[0], study.ranked[-1]
    if best.design == worst.design:
        return None
    texts = render_in_designs(study, [best.design, worst.design])
    if texts is None:
        return None
    completions = [held_out_answers(study, row.design) for row in (best, worst)]
    columns = [
        tag(
            "div",
            tag("h3", f"{name}: {study.objective} {row.score:.3f}"),
            tag("p", row.label, class_="quiet"),
            texts[row.design],
            *_answers(answered),
        )
        for name, row, answered in zip(("Best seen", "Worst seen"), (best, worst), completions, strict=True)
    ]
    note = "The same training example in both designs; what the loss counts is marked. Below: held-out answers."
    return joined([tag("h3", "Samples"), tag("p", note, class_="quiet"), tag("div", *columns, class_="pair")])


def _answers(answered: list[AnsweredItem]) -> list[Html]:
    return [
        joined(
            [
                tag("p", escape(answer.text), class_="quiet"),
                tag("pre", answer.completion or "(empty)"),
                *(tag("pre", f"{number} asked again: {text or '(empty)'}") for number, text in answer.retries),
                tag("p", "right" if answer.right else "wrong", class_="better" if answer.right else "worse"),
            ]
        )
        for answer in answered
    ]


def _folded(title: str, inside: Html) -> Html:
    return tag("details", tag("summary", title), inside)
