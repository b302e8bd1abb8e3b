"""Figures as SVG: effects with their intervals, interactions, scores against each other, rung curves.

Each returns one responsive `<svg>`, coloured by the variables of `style.py`, so that light and dark mode both work;
`standalone(svg)` turns it into a file, for MLflow. Without data a figure is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sde_ray.analysis.cross_study import SharedEffect, format_sign
from sde_ray.analysis.effects import Interaction
from sde_ray.analysis.estimate import Estimate, format_estimate, format_signed
from sde_ray.analysis.pareto import undominated
from sde_ray.analysis.report.html import Html, tag
from sde_ray.analysis.report.style import VARIABLES
from sde_ray.design.axes import find_axis
from sde_ray.types import TrialResult

WIDTH = 420


class Scale:
    """Linear scale from data to pixels, with a margin of 5%."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        span = (high - low) or abs(high) or 1.0
        self.low, self.high = low - 0.05 * span, high + 0.05 * span
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, count: int = 5) -> list[float]:
        """Round numbers within the range, about `count` of them."""
        raw = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * times for times in (1, 2, 5, 10) if power * times >= raw)
        first = math.ceil(self.low / step)
        return [round((first + n) * step, 10) for n in range(int((self.high - first * step) / step) + 1)]


def svg(height: float, title: str, parts: Iterable[object]) -> Html:
    """The `<svg>` element: as wide as its container, with an accessible name."""
    return tag(
        "svg", tag("title", title), *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img", class_="figure",
        xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip


def text(x: float, y: float, words: object, anchor: str = "start", class_: str = "label") -> Html:
    return tag("text", words, x=f"{x:g}", y=f"{y:g}", text_anchor=anchor, class_=class_)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag("line", x1=f"{x1:g}", y1=f"{y1:g}", x2=f"{x2:g}", y2=f"{y2:g}", class_=class_)


def standalone(figure: Html) -> str:
    """The figure as a file with its own colours and background."""
    style = f"<style>{VARIABLES} svg {{ background: var(--ground); }}</style>"
    return figure.replace("<title>", f"{style}<title>", 1)


# ---- effects -------------------------------------------------------------------------------------------------------


def effects(rows: Sequence[Mapping[str, Any]], metric: str) -> Html | None:
    """Forest plot of main effects: a line an option with its 95% interval, in-domain and out-of-domain."""
    if not rows:
        return None
    away = any(row["difference_ood"] is not None for row in rows)
    names = ("difference", "low", "high") + (("difference_ood", "low_ood", "high_ood") if away else ())
    values = [row[name] for row in rows for name in names if row[name] is not None]
    scale = Scale(min(0.0, *values), max(0.0, *values), 150, WIDTH - 12)
    parts, y, axis = [], 26.0, ""
    for row in rows:
        if row["axis"] != axis:
            axis = row["axis"]
            parts.append(text(4, y + 4, f"{axis} (against {row['reference']})", class_="group"))
            y += 20
        parts += [text(142, y + 4, row["option"], "end"), _mark(row, "", scale, y - (4 if away else 0), "home")]
        if row["difference_ood"] is not None:
            parts.append(_mark(row, "_ood", scale, y + 5, "away"))
        y += 24 if away else 20
    frame = [line(scale(0), 14, scale(0), y, "zero"), *_ticks(scale, 14, y)]
    return svg(y + 22, f"Effects on {metric} with 95% intervals", [_legend(away), *frame, *parts])


def shared(rows: Sequence[SharedEffect], kind: str) -> Html | None:
    """Forest plot of partially pooled effects: a line an option, and a small dot for each group."""
    pooled = [row for row in rows if row.shared is not None]
    if not pooled:
        return None
    values = [
        v for row in pooled for estimate in (row.shared, *row.alone.values()) if estimate for v in _span(estimate)
    ]
    scale = Scale(min(0.0, *values), max(0.0, *values), 150, WIDTH - 12)
    parts: list[Html] = []
    y = 24.0
    for row in pooled:
        parts.append(text(142, y + 4, row.option, "end"))
        for name, estimate in row.alone.items():
            words = tag("title", f"{name}: {format_signed(estimate.value)} {format_sign(estimate)}")
            parts.append(tag("circle", words, cx=scale(estimate.value), cy=f"{y:g}", r="3", class_="dot faint"))
        if row.shared is not None:
            estimate = row.shared
            whole = {"option": row.option, "difference": estimate.value, "low": estimate.low, "high": estimate.high}
            parts.append(_mark(whole, "", scale, y, "home"))
        y += 22
    frame = [line(scale(0), 12, scale(0), y, "zero"), *_ticks(scale, 12, y)]
    return svg(y + 22, f"Effects shared by the {kind}", [*frame, *parts])


def _span(estimate: Estimate) -> list[float]:
    return [value for value in (estimate.low, estimate.value, estimate.high) if value is not None]


def _mark(row: Mapping[str, Any], suffix: str, scale: Scale, y: float, class_: str) -> Html:
    value, low, high = (row[name + suffix] for name in ("difference", "low", "high"))
    has_interval = low is not None and high is not None
    words = f"{row['option']}: {format_estimate(value, low, high, unknown=', no interval')}"
    bar = line(scale(low), y, scale(high), y, f"bar {class_}") if has_interval else None
    shape = tag(
        "circle", cx=scale(value), cy=f"{y:g}", r="4", class_=f"dot {class_}" + ("" if has_interval else " hollow")
    )
    return tag("g", tag("title", words), bar, shape)


def _ticks(scale: Scale, top: float, bottom: float) -> list[Html]:
    marks = []
    for value in scale.ticks():
        marks.append(line(scale(value), top, scale(value), bottom, "grid"))
        marks.append(text(scale(value), bottom + 14, f"{value:+g}" if value else "0", "middle", "tick"))
    return marks


def _legend(away: bool) -> Html:
    if not away:
        return Html("")
    return tag(
        "g",
        tag("circle", cx="160", cy="7", r="4", class_="dot home"), text(168, 11, "in-domain", class_="tick"),
        tag("circle", cx="250", cy="7", r="4", class_="dot away"), text(258, 11, "out-of-domain", class_="tick"),
    )  # fmt: skip


# ---- interactions --------------------------------------------------------------------------------------------------


def interactions(rows: Sequence[Interaction], metric: str) -> Html | None:
    """Heat map of interactions: what two options bring together beyond the sum of what each brings alone.

    Grey: its interval holds 0, or is not known. A dot: clear, its interval excludes 0 also as one of all interactions.
    """
    names = list(
        dict.fromkeys((axis, option) for one in rows for axis, option in zip(one.axes, one.options, strict=True))
    )
    order = sorted({axis for axis, _ in names}, key=[axis for one in rows for axis in one.axes].index)
    names.sort(key=lambda name: order.index(name[0]))
    if len(names) < 2:
        return None
    strongest = max(abs(one.difference) for one in rows) or 1.0
    left_margin, top_margin = 108.0, 84.0
    right_margin = 40.0  # of the last slanted label
    cell = (WIDTH - left_margin - right_margin) / len(names)
    index = {name: n for n, name in enumerate(names)}
    parts: list[Html] = []
    for name, n in index.items():
        title = _title(*name)
        parts.append(text(left_margin - 6, top_margin + (n + 0.5) * cell + 4, title, "end"))
        x, y = left_margin + (n + 0.5) * cell, top_margin - 8
        parts.append(tag("text", title, x=f"{x:g}", y=f"{y:g}", class_="label", transform=f"rotate(-45 {x:g} {y:g})"))
    for interaction in rows:
        a, b = (index[name] for name in zip(interaction.axes, interaction.options, strict=True))
        for column, row in ((a, b), (b, a)):
            parts.append(_cell(interaction, left_margin + column * cell, top_margin + row * cell, cell, strongest))
    return svg(top_margin + len(names) * cell + 4, f"Interactions on {metric}", parts)


def _title(axis_name: str, option: str) -> str:
    """An option by its name; a number by its label, as it alone does not say of what it is."""
    axis = find_axis(axis_name)
    number = None if option in axis.options else axis.number_option(option)
    return number.label if number else option


def _cell(interaction: Interaction, x: float, y: float, size: float, strongest: float) -> Html:
    difference = format_estimate(interaction.difference, interaction.low, interaction.high, unknown=", no interval")
    first, second = map(_title, interaction.axes, interaction.options)
    words = f"{first} with {second}: {difference}"
    strength = abs(interaction.difference) / strongest
    kind, opacity = ("gain" if interaction.difference > 0 else "loss"), 0.08 + 0.92 * strength
    if not interaction.estimate.excludes_zero:
        kind, opacity = "noise", 0.06 + 0.24 * strength  # noise explains it: a strong colour would claim more
    box = tag(
        "rect", x=f"{x + 1:g}", y=f"{y + 1:g}", width=f"{size - 2:g}", height=f"{size - 2:g}", rx="2",
        class_=f"cell {kind}", fill_opacity=f"{opacity:.2f}",
    )  # fmt: skip
    dot = tag("circle", cx=f"{x + size / 2:g}", cy=f"{y + size / 2:g}", r="2.5", class_="sure")
    return tag(
        "g", tag("title", words + (", clear" if interaction.clear else "")), box, dot if interaction.clear else None
    )


# ---- points and curves ---------------------------------------------------------------------------------------------


def scatter(
    points: Sequence[tuple[str, float, float]],
    across: str,
    upwards: str,
    marked: Mapping[str, str],
    front: bool = False,
) -> Html | None:
    """Scatter plot of (name, x, y); `marked` labels some. `front`: draw the Pareto front (less x, more y)."""
    if len(points) < 2:
        return None
    height = 250.0
    x = Scale(min(p[1] for p in points), max(p[1] for p in points), 46, WIDTH - 14)
    y = Scale(min(p[2] for p in points), max(p[2] for p in points), height - 38, 24)  # below the name of what it shows
    parts = [
        *_frame(x, y, height),
        text(WIDTH - 14, height - 4, across, "end", "tick"),
        text(4, 9, upwards, class_="tick"),
    ]
    if front:
        best = undominated(points, lambda point: point[1], lambda point: point[2])
        path = " ".join(f"{'L' if n else 'M'}{x(p[1])} {y(p[2])}" for n, p in enumerate(best))
        parts.append(tag("path", tag("title", "no design is shorter and better"), d=path, class_="front"))
    for name, across_, up in sorted(points, key=lambda point: point[0] in marked):
        words = tag("title", f"{name}: {up:.3f} at {across_:.3g}")
        class_ = "dot home" if name in marked else "dot faint"
        parts.append(tag("circle", words, cx=x(across_), cy=y(up), r="4", class_=class_))
    last = -math.inf
    for name, across_, up in sorted((point for point in points if point[0] in marked), key=lambda point: -point[2]):
        far, last = x(across_) > WIDTH * 0.6, max(y(up) + 4, last + 13)  # names below each other, never on each other
        at = x(across_) + (-14 if far else 14)
        if last > y(up) + 5:  # pushed down, it would stand beside another design's dot
            parts.append(line(x(across_), y(up), at + (2 if far else -2), last - 4, "leader"))
        parts.append(text(at, last, marked[name], "end" if far else "start", "label name"))
    return svg(height, f"{upwards} against {across}", parts)


def _frame(x: Scale, y: Scale, height: float) -> list[Html]:
    parts = []
    for value in x.ticks():
        parts.append(text(x(value), height - 22, f"{value:g}", "middle", "tick"))
    for value in y.ticks():
        parts += [line(42, y(value), WIDTH - 8, y(value), "grid"), text(38, y(value) + 4, f"{value:g}", "end", "tick")]
    return parts


def rungs(results: Sequence[TrialResult], metric: str, split: str, best: str) -> Html | None:
    """Learning curves over rungs, a line a trial; pruned trials end early, `best` (a slug) is highlighted."""
    lines = [
        (result, [(r.examples, r.scores[split][metric]) for r in result.rungs if metric in r.scores.get(split, {})])
        for result in results
    ]
    lines = [(result, points) for result, points in lines if len(result.rungs) > 1 or result.status == "pruned"]
    every = [point for _, points in lines for point in points]
    if len({examples for examples, _ in every}) < 2:
        return None
    height = 230.0
    x = Scale(min(p[0] for p in every), max(p[0] for p in every), 46, WIDTH - 14)
    y = Scale(min(p[1] for p in every), max(p[1] for p in every), height - 38, 24)
    parts = [*_frame(x, y, height), text(WIDTH - 14, height - 4, "training examples", "end", "tick")]
    parts.append(text(4, 9, metric, class_="tick"))
    for result, points in lines:
        slug = ",".join(f"{axis}={option}" for axis, option in sorted(result.config["design"].items()))
        class_ = "curve best" if slug == best else "curve pruned" if result.status == "pruned" else "curve"
        words = tag("title", f"{slug} ({result.status})")
        if len(points) == 1:  # pruned at its first rung: a line of one point would not be seen
            parts.append(tag("circle", words, cx=x(points[0][0]), cy=y(points[0][1]), r="2.5", class_="dot faint"))
            continue
        path = " ".join(f"{'L' if n else 'M'}{x(a)} {y(b)}" for n, (a, b) in enumerate(points))
        parts.append(tag("path", words, d=path, class_=class_))
    return svg(height, f"{metric} by training examples", parts)


def caption(words: str, figure: Html | None) -> Html | None:
    """A figure with its caption; None without a figure."""
    return figure and tag("figure", figure, tag("figcaption", words))
