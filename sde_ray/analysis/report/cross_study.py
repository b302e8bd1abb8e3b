"""The report's section on what several models, tasks or training sizes show together."""

from __future__ import annotations

from sde_ray.analysis.cross_study import CrossStudy, short_names
from sde_ray.analysis.estimate import format_interval, format_signed
from sde_ray.analysis.report import figures
from sde_ray.analysis.report.html import Html, joined, table, tag


def write_cross_study(family: CrossStudy) -> Html:
    """The section: ranks, signs, shared effects."""
    title = tag("h2", f"Consistency over {family.kind}")
    return joined([title, tag("p", family.within, class_="quiet"), _ranks(family), _effects(family)])


def _ranks(family: CrossStudy) -> Html:
    if not family.agreements:
        return tag("p", "No two of them have tried enough of the same designs to compare their rankings.")
    names = short_names(family.groups)
    rows = [
        {"pair": f"{names[agreement.first]} and {names[agreement.second]}", "designs": agreement.designs,
         "spearman": format_signed(agreement.spearman.value),
         "its": format_interval(agreement.spearman.low, agreement.spearman.high),
         "kendall": format_signed(agreement.kendall.value),
         "its_": format_interval(agreement.kendall.low, agreement.kendall.high)}
        for agreement in family.agreements
    ]  # fmt: skip
    columns = {
        "": "pair", "designs": "designs", "Spearman": "spearman", "95% interval": "its", "Kendall": "kendall",
        "95% interval ": "its_",
    }  # fmt: skip
    note = "How alike they rank the designs that both have tried: 1 the same order, 0 unrelated, −1 the reverse."
    return joined([tag("h3", "Rankings"), tag("p", note, class_="quiet"), table(columns, rows)])


def _effects(family: CrossStudy) -> Html | None:
    if not family.rows:
        return None
    rows = [
        {"axis": row.axis, "option": f"{row.option} (against {row.reference})", **row.signs,
         "shared": format_signed(row.shared.value) if row.shared else None,
         "interval": format_interval(row.shared.low, row.shared.high) if row.shared else None, "says": row.verdict}
        for row in family.rows
    ]  # fmt: skip
    columns = {
        "axis": "axis",
        "option": "option",
        **{title: name for name, title in short_names(family.groups).items()},
    }
    columns |= {"shared effect": "shared", "95% interval": "interval", "": "says"}
    words = (
        f"What the {family.kind} share, with its interval; small dots: each of them alone. "
        + (f"They differ by {family.group_sd:.3f} (standard deviation)." if family.group_sd is not None else "")
    )  # fmt: skip
    note = "In brackets: the interval holds 0, so the sign is not shown."
    figure = figures.caption(words, figures.shared(family.rows, family.kind))
    return joined([tag("h3", "Effects by sign"), tag("p", note, class_="quiet"), table(columns, rows), figure])
