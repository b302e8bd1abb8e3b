"""Learning curves as SVG: a line a contender over training sizes, with bars for 95% confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence

from sde_ray.analysis.report.figures import WIDTH, Scale, line, standalone, svg, text
from sde_ray.analysis.report.html import Html, tag
from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.pipeline.robustness.conditions import ConditionVerdict

HEIGHT = 260.0
STROKES = ("var(--home)", "var(--away)", "var(--good)", "var(--bad)", "var(--faint)", "var(--ink)")


def curves(sizes: Sequence[int], conditions: Sequence[ConditionVerdict], metric: str) -> str:
    """One condition a size, in the order of the sizes; an empty text where there is no curve."""
    points: dict[str, list[tuple[int, float, float | None, float | None]]] = {}
    for size, condition in zip(sizes, conditions, strict=True):
        for row in condition.rows:
            points.setdefault(row.name, []).append((size, row.score, row.low, row.high))
    values = [value for rows in points.values() for _, *several in rows for value in several if value is not None]
    if len(sizes) < 2 or not values:
        return ""
    x = Scale(0, len(sizes) - 1, 46, WIDTH - 110)
    y = Scale(min(values), max(values), HEIGHT - 38, 14)
    parts: list[Html] = [text(x(n), HEIGHT - 22, str(size), "middle", "tick") for n, size in enumerate(sizes)]
    parts += [text(40, y(at) + 4, f"{at:g}", "end", "tick") for at in y.ticks()]
    parts += [line(44, y(at), WIDTH - 108, y(at), "grid") for at in y.ticks()]
    parts += [text(WIDTH - 110, HEIGHT - 4, "training examples", "end", "tick"), text(4, 10, metric, class_="tick")]
    for n, (name, rows) in enumerate(points.items()):
        parts += _curve(name, rows, sizes, x, y, STROKES[n % len(STROKES)], 22 + 16 * n)
    return standalone(svg(HEIGHT, f"{metric} by training examples", parts))


def _curve(
    name: str,
    points: Sequence[tuple[int, float, float | None, float | None]],
    sizes: Sequence[int],
    x: Scale,
    y: Scale,
    stroke: str,
    legend: float,
) -> list[Html]:
    pixels = [(x(sizes.index(size)), y(score)) for size, score, _, _ in points]
    path = " ".join(f"{'L' if n else 'M'}{a} {b}" for n, (a, b) in enumerate(pixels))
    width = "2.5" if name == ASSEMBLED else "1.5"
    parts = [tag("path", tag("title", name), d=path, fill="none", stroke=stroke, stroke_width=width)]
    for (a, _), (_, _, low, high) in zip(pixels, points, strict=True):
        if low is not None and high is not None:
            parts.append(tag("line", x1=f"{a:g}", x2=f"{a:g}", y1=f"{y(low):g}", y2=f"{y(high):g}", stroke=stroke))
    parts.append(tag("line", x1=str(WIDTH - 100), x2=str(WIDTH - 84), y1=str(legend), y2=str(legend), stroke=stroke,
                     stroke_width=width))  # fmt: skip
    return [*parts, text(WIDTH - 80, legend + 4, name, class_="tick")]
