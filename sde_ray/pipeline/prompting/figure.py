"""Scatter plots of the prompting study: a panel a measure, a point a design, the tuned score upwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sde_ray.analysis.report.figures import Scale, standalone, text
from sde_ray.analysis.report.html import Html, tag
from sde_ray.design.designs import paper_label, parse_design
from sde_ray.pipeline.prompting.correlation import Correlation, oriented_value
from sde_ray.pipeline.prompting.tuned_scores import TunedScores

PANEL_WIDTH, PANEL_HEIGHT, COLUMNS = 280, 230, 3


def scatter(
    rows: Sequence[Mapping[str, Any]],
    tuned: TunedScores,
    results: Sequence[Correlation],
    shots: Sequence[int],
    metric: str,
) -> str:
    """The figure as a file of its own; measures that too few designs have are left out."""
    shown = [result for result in results if result.pick is not None]
    panels = []
    for n, result in enumerate(shown):
        points = []
        for row in rows:
            design, value = parse_design(str(row["design"])), oriented_value(row, result.measure, shots)
            if value is not None and design in tuned:
                points.append((paper_label(design), value, tuned[design]))
        left, top = PANEL_WIDTH * (n % COLUMNS), PANEL_HEIGHT * (n // COLUMNS)
        panels.append(tag("g", *_panel(result, points, metric), transform=f"translate({left},{top})"))
    width = PANEL_WIDTH * min(COLUMNS, max(1, len(shown)))
    height = PANEL_HEIGHT * max(1, -(-len(shown) // COLUMNS))
    title = tag("title", f"Measures of the untuned model against {metric} after tuning")
    figure = tag(
        "svg", title, *panels, viewBox=f"0 0 {width} {height}", role="img", class_="figure",
        xmlns="http://www.w3.org/2000/svg",
    )  # fmt: skip
    return standalone(figure)


def _panel(result: Correlation, points: Sequence[tuple[str, float, float]], metric: str) -> list[Html]:
    x = Scale(min(p[1] for p in points), max(p[1] for p in points), 44, PANEL_WIDTH - 12)
    y = Scale(min(p[2] for p in points), max(p[2] for p in points), PANEL_HEIGHT - 44, 30)
    value = result.spearman.value
    heading = f"{result.measure.replace('_', ' ')}" + ("" if value is None else f": rho {value:+.2f}")
    parts = [text(44, 16, heading, class_="group")]
    parts += [text(x(at), PANEL_HEIGHT - 26, f"{at:g}", "middle", "tick") for at in x.ticks(3)]
    parts += [text(38, y(at) + 4, f"{at:g}", "end", "tick") for at in y.ticks(4)]
    parts.append(text(PANEL_WIDTH - 12, PANEL_HEIGHT - 8, "better →", "end", "tick"))
    parts.append(text(6, 28, metric, class_="tick"))
    for name, across, up in points:
        words = tag("title", f"{name}: {across:.3g}, {metric} {up:.3f}")
        parts.append(tag("circle", words, cx=f"{x(across):g}", cy=f"{y(up):g}", r="3", class_="dot home"))
    return parts
