"""The report's section on data and training axes: what their methods counted, such as what a filter dropped.

One table an axis: a row for each count, a column for each option, the mean over the option's trials in each cell. A
filter's labels have two rows each, before and after, so that a rare label that is filtered away is seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from sde_ray.analysis.report.html import Html, joined, table, tag
from sde_ray.analysis.study import Study
from sde_ray.design.axes import CURATION, find_axis
from sde_ray.types import TrialResult


def write_curation(studies: Sequence[Study]) -> Html | None:
    """The section; None where no trial has counted anything."""
    results = [result for study in studies for result in study.results if result.curation]
    axes = dict.fromkeys(name.rpartition("/")[0].partition("/")[0] for one in results for name in one.curation)
    tables = [part for axis in axes if axis in CURATION for part in _counts(axis, results)]
    if not tables:
        return None
    note = "Counted by the methods of data and training axes, the mean over trials of an option."
    heading = [tag("h2", "What data and training axes did"), tag("p", note, class_="quiet")]
    return joined([*heading, *(tag("p", words) for words in useless_teachers(results)), *tables])


def useless_teachers(results: Sequence[TrialResult]) -> Iterator[str]:
    """Which trials are the plain trial since the teacher gave nothing usable, in a sentence for each option."""
    asked = [one for one in results if one.curation.get("augment/requests")]
    for option in dict.fromkeys(str(one.config["design"].get("augment")) for one in asked):
        trials = [one.curation for one in asked if str(one.config["design"].get("augment")) == option]
        empty = [counts for counts in trials if counts.get("augment/kept", 0) <= counts.get("augment/cut", 0)]
        if empty:
            dropped = Counter[str]()
            for counts in empty:
                names = (name for name in counts if name.startswith("augment/dropped_"))
                dropped.update({name.partition("dropped_")[2].replace("_", " "): int(counts[name]) for name in names})
            reasons = ", ".join(f"{name} {count}" for name, count in dropped.most_common())
            yield (
                f"augment={option}: in {len(empty)} of {len(trials)} trials nothing of what the teacher wrote was "
                f"left ({reasons}), so these are plain trials."
            )


def _counts(axis: str, results: Sequence[TrialResult]) -> Iterator[Html]:
    by_option: dict[str, list[dict[str, float]]] = {}
    for result in results:
        counts = {
            name.partition("/")[2]: number for name, number in result.curation.items() if name.startswith(f"{axis}/")
        }
        if counts:
            by_option.setdefault(str(result.config["design"].get(axis)), []).append(counts)
    options = find_axis(axis).ordered(by_option)
    names = dict.fromkeys(name for trials in by_option.values() for counts in trials for name in counts)
    rows = [_row(name, options, by_option) for name in names]
    columns = {"counted": "counted"} | {f"{axis}={option}": option for option in options}
    if rows:
        yield table(columns, rows)


def _row(name: str, options: Sequence[str], by_option: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """A count by option, with the number of decimals that a mean of whole numbers needs."""
    row: dict[str, Any] = {"counted": name.replace("_", " ").replace("/", " ")}
    for option in options:
        values = [counts[name] for counts in by_option[option] if name in counts]
        mean = fmean(values) if values else None
        row[option] = mean if mean is None or mean != int(mean) else int(mean)
    return row
