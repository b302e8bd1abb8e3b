"""The paper's own forms: read right by our rules, and scored as the published scorers do where --compat asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from sde_ray.cli.app import app
from sde_ray.design import designs, render
from sde_ray.errors import UserError
from sde_ray.evaluation import reference_scorers
from sde_ray.evaluation.reference_scorers import genia, masa, maven
from sde_ray.evaluation.reference_scorers.literals import MAX_CHARS, python_literal, quoted_groups
from sde_ray.tasks import get_task
from sde_ray.types import Example, Parsed

D1 = get_task("masa_zh:d1")
NER = get_task("nested_ner")
EVENTS = get_task("events")
TASK_OF = {"masa_zh": D1, "nested_ner": NER, "events": EVENTS}
EVERY = [(TASK_OF[name], form) for name, family in reference_scorers.PUBLISHED_FORMS.items() for form in family.forms]
MATRIX = [[92, 1, 2, 5], [12, 3, 4, 3], [5, 0, 7, 3], [4, 0, 1, 158]]  # PAPER.md 1.11: 50 reviews, six aspects


def natural(labels: list[str]) -> str:
    return "，".join(f"{slot}：{label}" for slot, label in zip(D1.slots, labels, strict=True)) + "。"


def reviews() -> list[tuple[str, str]]:
    """Fifty targets and predictions whose confusion matrix is the published one."""
    cells = [
        (masa.CLASSES[gold], masa.CLASSES[said])
        for gold, row in enumerate(MATRIX)
        for said, count in enumerate(row)
        for _ in range(count)
    ]
    pages = [cells[start : start + 6] for start in range(0, len(cells), 6)]
    return [(natural([gold for gold, _ in page]), natural([said for _, said in page])) for page in pages]


def file(path: Path, lines: list[tuple[str, str]]) -> Path:
    rows = [json.dumps({"prompt": "x", "target": t, "prediction": p}, ensure_ascii=False) for t, p in lines]
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def call(*words: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


class TestMasa:
    def test_the_published_matrix_has_the_published_kappa(self) -> None:
        assert masa.weighted_kappa(MATRIX) == pytest.approx(0.7639, abs=5e-5)
        assert masa.weighted_kappa(np.diag([3, 1, 2, 9])) == pytest.approx(1.0)
        assert masa.weighted_kappa(np.diag([0, 0, 0, 9])) == 0.0  # chance alone agrees: the published 0
        assert masa.weighted_kappa(np.zeros((4, 4))) is None

    def test_the_published_demo_through_the_command(self, tmp_path: Path) -> None:
        path = file(tmp_path / "p.jsonl", reviews())
        words = ("score", path, "--task", "masa_zh:d1", "--form", "natural", "--json")
        theirs, ours = json.loads(call(*words, "--compat").stdout), json.loads(call(*words).stdout)
        assert theirs["weighted_kappa"] == pytest.approx(0.7639, abs=5e-5)
        assert theirs["accuracy"] == pytest.approx(0.8667, abs=5e-5)
        assert (theirs["items"], theirs["wrong_format"], theirs["crashes"]) == (50, 0, [])
        assert ours["weighted_kappa"] == pytest.approx(theirs["weighted_kappa"])
        assert ours["format_adherence"] == 1.0

    @pytest.mark.parametrize("form", reference_scorers.PUBLISHED_FORMS["masa_zh"].forms)
    def test_what_our_designs_write_is_the_published_form(self, form: str) -> None:
        """Valid outputs score the same under both readings."""
        written = {
            "ou": "unmentioned=omit",
            "numlabel": "labels=number",
            "lines": "format=lines",
            "json": "format=json",
        }
        written |= {"cot": "format=json,reasoning=cot", "rcot": "format=json,reasoning=rcot"}
        design = written.get(form, "baseline")
        answer = {"食品评价": ("正面",), "停车方便程度": ("负面",), "价格水平": ("中性",)}
        other = {"食品评价": ("负面",), "停车方便程度": ("负面",)}
        gold, said = (
            render.completion_of(Example("1", "", a), D1, designs.parse_design(design)) for a in (answer, other)
        )
        assert reference_scorers.read_published_form(gold, D1, form) == Parsed(answer)
        found = masa.score(form, D1, [(gold, gold), (gold, said)])
        assert (found.wrong_format, found.crashes) == (0, ())
        assert found.scores["accuracy"] == pytest.approx(10 / 12)
        assert found.scores["sentence_accuracy"] == pytest.approx(1 / 2)

    def test_defects_that_decide_a_number_are_kept_in_compat_only(self) -> None:
        """ "Not positive" is positive there, and what could not be read is unmentioned; here both are faults."""
        gold = natural(["负面", *["未提及"] * 5])
        slip = natural(["不积极", *["未提及"] * 5])
        assert masa.soften(masa.parse("natural", slip, D1)[0], D1)["食品评价"] == "正面"
        assert masa.score("natural", D1, [(gold, slip)]).wrong_format == 0
        assert [fault.kind for fault in reference_scorers.read_published_form(slip, D1, "natural").faults] == [
            "unknown_label"
        ]
        empty = masa.score("natural", D1, [(gold, ""), (gold, gold)])
        assert (empty.wrong_format, empty.scores["accuracy"]) == (1, pytest.approx(11 / 12))
        assert reference_scorers.read_published_form(
            "", D1, "natural"
        ).faults and reference_scorers.read_published_form("", D1, "ou") == Parsed({})

    def test_a_stem_names_an_aspect_and_the_first_hit_wins(self) -> None:
        said, fault = masa.parse("natural", "食品的口味：很正面，食品：负面，没有冒号", D1)
        assert fault and masa.soften(said, D1)["食品评价"] == "正面"
        assert masa.soften({"服务和停车": "消极"}, D1) == {
            slot: "负面" if slot in ("服务人员态度", "停车方便程度") else "未提及" for slot in D1.slots
        }

    def test_punctuation_is_repaired_for_the_score_and_counted_as_wrong(self) -> None:
        rows = [
            '{"方面": "食品评价", "描述": "好", "情感": "正面"}',
            '{"方面": "价格水平", "描述": "贵", "情感": "负面"}',
        ]
        said, fault = masa.parse("cot", ", ".join(rows), D1)
        assert said == {"食品评价": "正面", "价格水平": "负面"} and not fault
        gold = "\n".join(rows)
        found = masa.score("cot", D1, [(gold, ", ".join(rows)), (gold, gold)])
        assert found.wrong_format == 1 and found.scores["accuracy"] == 1.0

    def test_a_line_that_ends_the_published_scorer_is_told(self) -> None:
        gold = '{"方面": "食品评价", "情感": "正面"}'
        found = masa.score("json", D1, [(gold, '{"方面": "食品评价", "情感": 1}'), (gold, gold)])
        assert (found.crashes, found.wrong_format, found.scores["accuracy"]) == ((1,), 1, 0.5)

    def test_all_wrong_has_no_score(self) -> None:
        assert masa.score("natural", D1, [(natural(["正面"] * 6), "x")]).scores["weighted_kappa"] is None


class TestGenia:
    def test_the_three_forms_are_read_whole(self) -> None:
        answer = {"protein": ("IL-2", "alpha, beta chain"), "DNA": ("5'-flank",)}
        heuristic = '["protein","IL-2"]\n["protein", "alpha, beta chain"]\n["DNA","5\'-flank"]'
        ew = "'DNA': \"5'-flank\"; 'protein': 'IL-2', 'alpha, beta chain'"
        es = "'DNA': \"5'-flank\"\n'RNA': ''\n'protein': 'IL-2', 'alpha, beta chain'\n'cell_type': ''\n'cell_line': ''"
        for form, text in {"heuristic": heuristic, "ew": ew, "es": es}.items():
            assert reference_scorers.read_published_form(text, NER, form) == Parsed(answer), form

    def test_a_bare_quote_within_a_name_is_part_of_it(self) -> None:
        assert reference_scorers.read_published_form('["protein","the "big" one"]', NER, "heuristic").answer == {
            "protein": ('the "big" one',)
        }

    def test_compat_cuts_at_commas_and_keeps_stray_quotes(self) -> None:
        assert genia.parse("heuristic", '["protein","alpha, beta chain"]') == [("protein", "alph")]
        assert genia.parse("heuristic", '["protein", "IL-2"]') == [("protein", '"IL-2')]
        assert genia.parse("ew", "'DNA': ''") == [("DNA", "")] and genia.parse("es", "'DNA': ''") == []

    def test_hard_and_soft_counts(self) -> None:
        gold = "'DNA': 'IL-2 gene', 'kappa B'"
        found = genia.score("ew", NER, [(gold, "'DNA': 'IL-2', 'kappa B', 'kappa B'"), (gold, "'XX': 'q'")]).scores
        assert (found["tp"], found["fp"], found["fn"]) == (1, 3, 3)
        assert (found["tp_soft"], found["fp_soft"], found["fn_soft"]) == (2, 2, 2)
        assert genia.score("ew", NER, [(gold, "'XX': 'q'")]).wrong_format == 1

    @pytest.mark.parametrize(
        ("form", "text", "kinds"),
        [
            ("heuristic", '["protein"]', ["syntax"]),
            ("heuristic", "[]", []),
            ("heuristic", "", []),
            ("ew", "'DNA': 'a'; 'DNA': 'b'; protein: c; 'X': 'y'; 'RNA': ''",
             ["syntax", "unexpected_placeholder", "repeated_slot", "unknown_slot"]),
            ("es", "'DNA': 'a'\n'RNA': ''\n'protein': ''\n'cell_type': ''", ["missing_slot"]),
            ("es", "", ["empty"]),
        ],
    )  # fmt: skip
    def test_slips_are_faults(self, form: str, text: str, kinds: list[str]) -> None:
        assert [fault.kind for fault in reference_scorers.read_published_form(text, NER, form).faults] == kinds


class TestMaven:
    def test_every_form_is_read(self) -> None:
        answer = {"Motion": ("flew", "came"), "Attack": ("raided",)}
        forms = {
            "heuristic": '["Motion", "flew"]\n["Motion", "came"]\n["Attack", "raided"]',
            "ou": "Motion: flew, came; Attack: raided",
            "lines": "Attack: raided\nMotion: flew, came\nKilling: NONE",
            "numerical": "1: raided; 6: flew, came; 8: NONE",
            "json": '{"event_type": "Motion", "trigger word": ["flew", "came"]}\n'
            '{"event_type": "Attack", "trigger word": "raided"}\n{"event_type": "Killing", "trigger word": []}',
        }
        assert list(forms) == list(reference_scorers.PUBLISHED_FORMS["events"].forms)
        for form, text in forms.items():
            assert reference_scorers.read_published_form(text, EVENTS, form) == Parsed(answer), form
            assert sorted(maven.parse(form, text, EVENTS)[0]) == [
                ("attack", "raided"), ("motion", "came"), ("motion", "flew")], form  # fmt: skip

    def test_the_published_counts_give_the_published_scores(self) -> None:
        """67 hits, 35 false positives and 80 misses (PAPER.md 1.11), as 147 gold events."""
        rows = [f'["Motion", "word{n}"]' for n in range(147)]
        said = rows[:67] + [f'["Attack", "word{n}"]' for n in range(35)]
        lines = [(rows[n], said[n] if n < len(said) else "[]") for n in range(147)]
        found = maven.score("heuristic", EVENTS, lines).scores
        assert (found["tp"], found["fp"], found["fn"]) == (67, 35, 80)
        expected = {"precision": 0.6569, "recall": 0.4558, "f1": 0.5382}
        assert {name: round(found[name] or 0.0, 4) for name in expected} == expected
        assert {name: round(found[name + "_soft"] or 0.0, 4) for name in expected} == expected

    def test_duplicates_and_near_copies_count_as_published(self) -> None:
        gold = '["Motion", "flew"]'
        twice = maven.score("heuristic", EVENTS, [(gold, f"{gold}\n{gold}")]).scores
        assert (twice["tp"], twice["fp"], twice["fn"]) == (1, 1, 0)
        near = maven.score("heuristic", EVENTS, [(gold, '["Motion", "flew"]\n["Motion", "flow"]\n["Motion", "flaw"]')])
        assert (near.scores["tp_soft"], near.scores["fp_soft"], near.scores["fn_soft"]) == (3, 0, -2)

    def test_lines_that_end_the_published_scorer_are_told(self) -> None:
        gold = "1: raided"
        said = ["12: raided", "1", "1: raided"]
        found = maven.score("numerical", EVENTS, [(gold, one) for one in said])
        assert found.crashes == (1, 2) and found.wrong_format == 2 and found.scores["tp"] == 1


class TestHostile:
    @settings(max_examples=150, deadline=None)
    @given(text=st.text(max_size=60) | st.text(alphabet="[]{}\"':,;\\\n。，：方面情感DNAMotion 0-9", max_size=80))
    def test_every_reader_and_scorer_is_total(self, text: str) -> None:
        for task, form in EVERY:
            parsed = reference_scorers.read_published_form(text, task, form)
            assert set(parsed.answer) <= set(task.slots) and all(parsed.answer.values())
            found = reference_scorers.PUBLISHED_FORMS[task.name.partition(":")[0]].scorer(
                form, task, [(text, text), ("", text)]
            )
            assert found.items == 2 and 0 <= found.wrong_format <= 2

    @pytest.mark.parametrize(
        "text", ["[" * 5000, "{" * 30_000, "'" + "\\'" * 30_000, '{"a":' * 3000, "9" * 6000, "\x00"]
    )
    def test_deep_long_and_odd_texts_end_soon(self, text: str) -> None:
        for task, form in EVERY:
            assert reference_scorers.read_published_form(text, task, form).faults
            reference_scorers.PUBLISHED_FORMS[task.name.partition(":")[0]].scorer(form, task, [("", text)])

    def test_no_text_is_ever_run(self, tmp_path: Path) -> None:
        mark = tmp_path / "ran"
        text = f'__import__("pathlib").Path({str(mark)!r}).touch()'
        for task, form in EVERY:
            reference_scorers.read_published_form(text, task, form)
            reference_scorers.PUBLISHED_FORMS[task.name.partition(":")[0]].scorer(form, task, [(text, text)])
        assert not mark.exists()
        for one in (text, "x" * (MAX_CHARS + 1), "(", "1 if True else 2"):
            with pytest.raises(ValueError, match="literal"):
                python_literal(one)

    def test_quoted_groups_know_python_strings(self) -> None:
        groups, faults = quoted_groups("'a': 'x; y', \"it's\"; b: 'c';; 'd': '\\n'")
        assert groups == [("a", ("x; y", "it's")), ("d", ())] and [fault.kind for fault in faults] == ["syntax"]


class TestErrors:
    def test_the_form_must_be_one_of_the_task(self, tmp_path: Path) -> None:
        path = file(tmp_path / "p.jsonl", [("a", "b")])
        assert 'Did you mean "lines"' in call("score", path, "--task", "masa_zh", "--form", "line", code=2).stderr
        assert (
            "no forms for the task masa:d1" in call("score", path, "--task", "masa:d1", "--form", "ou", code=2).stderr
        )
        assert "--compat needs the form" in call("score", path, "--task", "masa_zh", "--compat", code=2).stderr
        with pytest.raises(UserError, match="no forms"):
            reference_scorers.forms_of(get_task("events:phee"), "ou")

    def test_a_target_in_another_form_is_told(self, tmp_path: Path) -> None:
        path = file(tmp_path / "p.jsonl", [("x", "y")])
        assert "--form right?" in call("score", path, "--task", "masa_zh", "--form", "natural").stderr
