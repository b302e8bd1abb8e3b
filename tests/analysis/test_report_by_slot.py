"""The report's page on where a design is right: scores by slot, matrices counted again, and what is muted as noise."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.planted import result

from sde_ray.analysis.effects import Group, Interaction
from sde_ray.analysis.report import figures
from sde_ray.analysis.report.by_slot import answers_of, write_by_slot
from sde_ray.analysis.study import Study
from sde_ray.design.designs import NAMED, make_design
from sde_ray.design.render import render_sample
from sde_ray.evaluation.predictions import Prediction, write_predictions
from sde_ray.tasks import get_task
from sde_ray.types import Design, Example, TrialResult

METRIC = "weighted_kappa"
TASK = get_task("masa:d1")
LINES = make_design(format="lines")


def trial(folder: Path, design: Design, split: str, seed: int, answer: str = "gold") -> TrialResult:
    """A finished trial with kept completions: the gold ones, or one label for every slot of every item."""
    by_slot = {f"{METRIC}/{slot}": 0.1 * n for n, slot in enumerate(TASK.slots)}
    one = result(design, 0.5, seed, splits=(split,))
    one = replace(one, scores={split: {METRIC: 0.5, **by_slot}})
    rows = []
    for example in TASK.load(split)[:40]:  # type: ignore[arg-type]
        said = example.answer if answer == "gold" else dict.fromkeys(TASK.slots, (answer,))
        written = render_sample(Example(example.id, example.text, said), TASK, design).completion.text
        rows.append(Prediction(example.id, split, written))  # type: ignore[arg-type]
    (folder / "trials" / one.key).mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "trials" / one.key / "predictions.jsonl", rows)
    return one


def study_of(folder: Path, *results: TrialResult) -> Study:
    return Study(Group("masa:d1", "tiny", 100), METRIC, "dev", results, folder)


def plain(html: str | None) -> str:
    return re.sub(r"<[^>]+>", " ", html or "")


def test_matrices_are_those_of_the_completions(tmp_path: Path) -> None:
    right = [trial(tmp_path, LINES, "dev", seed) for seed in (0, 1)]
    study = study_of(tmp_path, *right, trial(tmp_path, NAMED["baseline"], "dev", 0, "positive"))
    gold = answers_of(study, TASK, "assembled", LINES, ())
    always = answers_of(study, TASK, "baseline", NAMED["baseline"], ())
    assert gold.cells is not None and always.cells is not None
    labels = [*(TASK.labels or ()), ""]
    for n, slot in enumerate(TASK.slots):
        by_hand = Counter(next(iter(e.answer.get(slot, ())), "") for e in TASK.load("dev")[:40])
        for row, label in enumerate(labels):
            assert gold.cells[n, row, row] == 2 * by_hand[label] and gold.cells[n, row].sum() == 2 * by_hand[label]
            assert always.cells[n, row, labels.index("positive")] == by_hand[label]
    assert (gold.items, gold.split) == (40, "dev")


def test_the_page_has_slots_and_both_designs(tmp_path: Path) -> None:
    study = study_of(
        tmp_path, trial(tmp_path, LINES, "dev", 0), trial(tmp_path, NAMED["baseline"], "dev", 0, "positive")
    )
    html = write_by_slot(study, "assembled", LINES, ())
    text = plain(html)
    assert "On 40 dev items, over 1 trial" in text and "weighted_kappa of each slot" in text
    for slot in TASK.slots:
        assert slot in text
    assert "assembled, all slots together" in text and "baseline, all slots together" in text
    assert "The baseline design always answers “positive” for food" in text
    assert "The assembled design always" not in text
    assert html is not None and "shade5" in html


def test_a_task_of_records_has_a_row_a_field(tmp_path: Path) -> None:
    task, rows = get_task("relations:d1"), []
    one = replace(result(LINES, 0.5, 0, splits=("dev",)), scores={"dev": {"record_f1": 0.5}})
    one = replace(one, config={**one.config, "task": task.name})
    examples = task.load("dev")[:40]
    for example in examples:  # the years are left out
        texts = [re.sub(r', "year": \d+', "", text) for text in example.answer.get("relation", ())]
        said = Example(example.id, example.text, {"relation": tuple(texts)} if texts else {})
        rows.append(Prediction(example.id, "dev", render_sample(said, task, LINES).completion.text))
    (tmp_path / "trials" / one.key).mkdir(parents=True)
    write_predictions(tmp_path / "trials" / one.key / "predictions.jsonl", rows)
    study = Study(Group(task.name, "tiny", 100), "record_f1", "dev", (one,), tmp_path)
    text = plain(write_by_slot(study, "assembled", LINES, ()))
    values = [text for example in examples for text in example.answer.get("relation", ())]
    years = sum('"year"' in text for text in values)
    assert "F1 of each field" in text and years > 5
    assert re.search(rf"head\s+{len(values)}\s+1\b", text) and re.search(rf"year\s+{years}\s+0\b", text), text


def test_the_final_comparison_goes_before_the_dev_items(tmp_path: Path) -> None:
    study = study_of(tmp_path, trial(tmp_path, LINES, "dev", 0))
    final = [trial(tmp_path, LINES, "test", seed) for seed in (101, 102)]
    text = plain(write_by_slot(study, "assembled", LINES, final))
    assert "On 40 test items of the final comparison, over 2 trials" in text


def test_what_is_not_there_costs_the_section_only(tmp_path: Path) -> None:
    one = trial(tmp_path, LINES, "dev", 0)
    study = study_of(tmp_path, one)
    path = tmp_path / "trials" / one.key / "predictions.jsonl"
    path.write_text("{broken\n")
    assert write_by_slot(study, "assembled", LINES, ()) is None
    path.unlink()
    text = plain(write_by_slot(study, "assembled", LINES, ()))
    assert "weighted_kappa of each slot" in text and "Confusion" not in text
    assert write_by_slot(study, "assembled", make_design(format="json"), ()) is None


def test_labels_by_slot_have_a_matrix_each(tmp_path: Path) -> None:
    import json

    from sde_ray.analysis.report.by_slot import DesignAnswers, _matrices
    from sde_ray.metrics import confusion
    from sde_ray.tasks.custom import task_from_yaml
    from sde_ray.types import Parsed

    (tmp_path / "t.jsonl").write_text(json.dumps({"text": "x", "answer": {"urgency": "low", "product": "app"}}) + "\n")
    labels = {"urgency": ["low", "high"], "product": ["app", "router", "bill"]}
    section = {"name": "t", "kind": "label", "slots": list(labels), "labels": labels, "data": {"path": "t.jsonl"}}
    task = task_from_yaml(section, tmp_path)
    examples = [Example("1", "x", {"urgency": ("high",), "product": ("bill",)}), Example("2", "y", {})]
    cells = confusion(task, examples, [Parsed({"urgency": ("high",), "product": ("app",)}), Parsed({})])
    text = plain(_matrices(task, [DesignAnswers("assembled", [result(LINES, 0.5)], "dev", 2, cells)]))
    assert "assembled, urgency" in text and "assembled, product" in text and "all slots together" not in text
    first, second = text.split("assembled, product")
    assert "router" not in first and "bill" in second


@pytest.mark.parametrize(("low", "high", "kind"), [(0.1, 0.3, "gain"), (-0.1, 0.5, "noise"), (None, None, "noise")])
def test_colours_claim_no_more_than_the_interval(low: float | None, high: float | None, kind: str) -> None:
    pair = Interaction(("format", "labels"), ("lines", "number"), ("natural", "text"), 0.2, low, high)
    svg = figures.interactions([pair], METRIC)
    assert svg is not None
    boxes = re.findall(r'class="cell (\w+)" fill-opacity="([\d.]+)"', svg)
    assert {name for name, _ in boxes} == {kind}
    assert all((float(opacity) > 0.9) == (kind == "gain") for _, opacity in boxes)
