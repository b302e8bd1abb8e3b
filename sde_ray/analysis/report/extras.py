"""The report's sections on studies beside the sweep: `memory`, `analyze` and `robustness`, from their files.

    read_extras(folder) -> one section a file: memory*.json, analysis*.json (and .svg), robustness*.json (and .svg)

A figure is put in as an image, so that nothing in its file can be markup of the page. A file that cannot be read, or is
of another version, has no section.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sde_ray.analysis.estimate import format_interval, format_signed
from sde_ray.analysis.report.html import Html, joined, table, tag

Found = Mapping[str, Any]


def read_extras(folder: Path) -> list[Html]:
    """The sections of all files in a run's folder, those of memory first; unreadable files have none."""
    sections = []
    for kind, write in (("memory", _memory), ("analysis", _analysis), ("robustness", _robustness)):
        for path in sorted(folder.glob(f"{kind}*.json")):
            try:
                sections.append(write(json.loads(path.read_text(encoding="utf-8")), _figure(path.with_suffix(".svg"))))
            except (OSError, ValueError, LookupError, TypeError, AttributeError):
                continue
    return sections


def _figure(path: Path) -> Html | None:
    if not path.is_file():
        return None
    data = base64.b64encode(path.read_bytes()).decode()
    image = tag("img", src=f"data:image/svg+xml;base64,{data}", alt=f"figure of {path.stem}", class_="figure")
    return tag("figure", image, class_="wide" if path.stem.startswith("analysis") else None)  # panels side by side


def _said(words: str) -> Html:
    headline, _, rest = words.partition(". ")
    return tag("div", tag("strong", f"{headline.rstrip('.')}."), rest, class_="verdict")


def _memory(found: Found, figure: Html | None) -> Html:
    rows = [
        {"facts": facts, "relation": relation, "of": sum(counts), **{f"D{n}": count for n, count in enumerate(counts)}}
        for facts, split in found["splits"].items()
        for relation, counts in split["tables"][0]["relations"].items()
    ]
    levels = {f"D{n}": f"D{n}" for n in range(5)}
    parts = [
        tag("h2", f"What does the untuned {found['model']} know?"),
        tag("p", f"Facts of {found['task']} by memory level, as whole words, in each relation.", class_="quiet"),
        table({"facts": "facts", "relation": "relation", "all": "of", **levels}, rows),
    ]
    columns = {
        "over": "stratum", "first": "first", "second": "second", "difference": "difference", "95% interval": "interval",
        "it is": "claim",
    }  # fmt: skip
    for split, answers in found["findings"].items():
        accuracy = {"model": "model", "trained on": "trained_on", "size": "train_size", **levels, "mean": "mean"}
        parts += [tag("h3", f"Accuracy by level after training ({split})"), table(accuracy, found["accuracy"][split])]
        for answer in answers:
            comparisons = [
                {"stratum": row["stratum"], "first": row["first"], "second": row["second"],
                 "difference": format_signed(row["difference"]), "interval": format_interval(row["low"], row["high"]),
                 "claim": _claim(row["claim"])}
                for row in answer["rows"]
            ]  # fmt: skip
            parts += [tag("h3", f"{answer['question']} ({split})"), tag("p", answer["verdict"])]
            parts += [table(columns, comparisons)] if comparisons else []
    return joined(parts)


def _analysis(found: Found, figure: Html | None) -> Html:
    rows = [
        {"measure": str(row["measure"]).replace("_", " "),
         "spearman": format_signed(row["spearman"]), "its": format_interval(row["spearman_low"], row["spearman_high"]),
         "kendall": format_signed(row["kendall"]), "its_": format_interval(row["kendall_low"], row["kendall_high"]),
         "place": f"{row['pick_rank']} of {row['designs']}" if row.get("pick") else None}
        for row in found["correlations"]
    ]  # fmt: skip
    columns = {
        "measure (more is better)": "measure", "Spearman": "spearman", "95% interval": "its", "Kendall": "kendall",
        "95% interval ": "its_", "its pick's place": "place",
    }  # fmt: skip
    note = f"Measures of the untuned {found['model']} on {found['task']}, against {found['metric']} after tuning."
    return joined(
        [
            tag("h2", "Would good prompting have told?"),
            tag("p", note, class_="quiet"),
            _said(found["verdict"]),
            *(tag("p", note) for note in found["notes"]),
            figure,
            table(columns, rows),
        ]
    )


def _claim(claim: str) -> object:
    return tag("span", claim, class_=claim) if claim in ("better", "worse") else claim


def _robustness(found: Found, figure: Html | None) -> Html:
    rows, last = [], None
    for row in found["rows"]:
        condition = row["condition"] if row["condition"] != last else ""
        last = row["condition"]
        rows.append(
            {"condition": condition, "design": row["design"], "score": row["score"],
             "interval": None if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]",
             "lead": format_signed(row["lead"]),
             "of_it": format_interval(row["lead_low"], row["lead_high"]),
             "claim": _claim(row["claim"])}
        )  # fmt: skip
    columns = {
        "condition": "condition", "design": "design", "score": "score", "95% interval": "interval",
        "lead of the assembled": "lead", "95% interval ": "of_it", "it is": "claim",
    }  # fmt: skip
    saved = [tag("li", saving["summary"]) for saving in found["savings"]]
    return joined(
        [
            tag("h2", "Does the assembled design hold elsewhere?"),
            _said(found["summary"]),
            tag("ul", *saved) if saved else None,
            figure,
            table(columns, rows),
        ]
    )
