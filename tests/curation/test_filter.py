"""Filter: every example that goes in is kept or dropped for one reason; a second pass drops nothing."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers.plans import plan_of

from sde_ray.analysis.effects import Group
from sde_ray.analysis.report import Report, render_page
from sde_ray.analysis.report.chapter import Chapter
from sde_ray.analysis.study import Study
from sde_ray.config.curation import Curation, Filter
from sde_ray.config.load import check
from sde_ray.config.trial import TrialConfig
from sde_ray.curation import filter as filters
from sde_ray.curation.filter import lengths, select, threshold
from sde_ray.curation.filter_rules import RULES, apply_rules, label_counts, runs_of, similarity
from sde_ray.data import draw
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.sweep.curation import carried_out
from sde_ray.tasks import get_task
from sde_ray.training.curation import methods_of
from sde_ray.training.preparation import Preparation
from sde_ray.types import Example, TrialResult

WORDS = "the soup was cold and waiter rude but prices fair we came back on monday with friends from town".split()
INSTALLED = [name for name, rule in RULES.items() if not rule.needs or find_spec(rule.needs)]
PINNED = {"instruction": "last", "input_modeling": "off", "format": "lines", "unmentioned": "omit", "labels": "text"}
FEW = {**PINNED, "reasoning": "none"}


def example(text: str, id: str = "x", label: str = "positive") -> Example:
    return Example(id, text, {"food": (label,)})


def planted(seed: int, count: int = 60) -> list[Example]:
    """Good texts, and some of each sort that a rule is for."""
    one = random.Random(seed)
    texts = [" ".join(one.choices(WORDS, k=one.randint(4, 30))) for _ in range(count)]
    texts += [one.choice(texts) for _ in range(5)] + [one.choice(texts) + " too" for _ in range(5)]
    texts += [
        "#### 12 %% 99 @@ 7",
        "все хорошо было",
        "ok",
        "",
        "a\x00b and then c",
        "same line\n" * 6,
        "汤很好喝，服务也好",
    ]
    one.shuffle(texts)
    return [example(text, str(n), one.choice(["positive", "negative"])) for n, text in enumerate(texts)]


def drawn_by(config: TrialConfig, folder: Path, scores: Sequence[float] | None = None) -> tuple[list[str], Preparation]:
    """The ids that the trial's filter draws; its model is planted."""

    class Workers:
        resources = None

        def call(self, method: str, *arguments: Any) -> list[Any]:
            if method == "start_plain":
                return [type("Info", (), {"steps": 9})()]
            assert method == "apply" and arguments[0] == "sde_ray.curation.filter:perplexities" and scores is not None
            return [[[n, scores[n]] for n in range(len(arguments[1])) if n % 2 == part] for part in (0, 1)]

    drawn = draw(get_task("masa:d1").load("train"), config.train_size, config.seed)
    (method,) = methods_of(config)
    preparation = Preparation(config, folder, Workers(), drawn, [method])  # type: ignore[arg-type]
    return [one.id for one in method.examples(drawn, preparation)], preparation


def trial(share: float, size: int = 40, **settings: Any) -> TrialConfig:
    config = TrialConfig("masa:d1", make_design(filter=share), "tiny", 3, size, 20)
    return carried_out(replace(config, curation=Curation(filter=Filter(**settings))))


# ---- laws ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_what_goes_in_is_kept_or_dropped_once_and_a_second_pass_drops_nothing(seed: int, share: float) -> None:
    settings = Filter(score="length", rules=tuple(INSTALLED), near_duplicate_similarity=0.7)
    pool = planted(seed)
    kept, dropped = select(pool, lengths(pool), share, settings, "en")
    assert sorted([*(one.id for one in kept), *(drop.example.id for drop in dropped)]) == sorted(one.id for one in pool)
    assert [one for one in pool if one in kept] == kept
    assert Counter(drop.rule for drop in dropped)["score"] == len(pool) - sum(
        score <= threshold(lengths(pool), share) for score in lengths(pool)
    )
    assert apply_rules(kept, settings, "en") == (kept, [])
    limit = threshold(lengths(pool), share)  # the thresholds of the train split stay, whatever they are applied to
    assert all(score <= limit for score in lengths(kept))


def test_each_rule_drops_what_it_is_for() -> None:
    bad = {
        "language": ["#### 12 %% 99 @@ 7", "все хорошо было", "汤很好喝"],
        "length": ["soup", "x" * 200],
        "repeated_lines": ["same line\nsame line\nsame line\nother"],
        "control_characters": ["a good\x00 soup", "a good \ufffd soup"],
    }
    settings = Filter(max_characters=150)
    good = [example("the soup was cold,\tbut cheap.\nwe came back"), example("crème brûlée: 10 of 10", "y")]
    assert apply_rules(good, settings, "en") == (good, [])
    for rule, texts in bad.items():
        kept, dropped = apply_rules([*good, *(example(text, text) for text in texts)], settings, "en")
        assert kept == good and [drop.rule for drop in dropped] == [rule] * len(texts), rule
        off = settings.model_copy(update={"rules": tuple(other for other in settings.rules if other != rule)})
        assert len(apply_rules([example(texts[0])], off, "en")[0]) == 1, rule
    chinese, dropped = apply_rules([example("汤很好喝，服务也好！"), example("the soup was cold")], settings, "zh")
    assert len(chinese) == 1 and dropped[0].rule == "language"


def test_of_exact_duplicates_the_first_stays_and_other_answers_are_said() -> None:
    rows = [example("a good  soup", "1"), example("a good soup\n", "2"), example("a good soup", "3", "negative")]
    kept, dropped = apply_rules(rows, Filter(), "en")
    assert kept == rows[:1]
    assert [drop.why for drop in dropped] == ["the text of 1", "the text of 1, with another answer"]


def test_near_duplicates_are_told_by_their_similarity() -> None:
    pytest.importorskip("datasketch")
    text = "the soup was cold and the waiter was rude to all of us on monday"
    rows = [example(text, "1"), example(text + "s", "2"), example("we read books in the garden until nine", "3")]
    settings = Filter(rules=("near_duplicates",))
    kept, dropped = apply_rules(rows, settings, "en")
    assert [one.id for one in kept] == ["1", "3"] and dropped[0].why == "98% like 1"
    exact = settings.model_copy(update={"near_duplicate_similarity": 1.0})
    assert apply_rules(rows, exact, "en") == (rows, [])
    assert similarity(runs_of(text, "en"), runs_of(text.upper(), "en")) == 1


def test_the_rule_of_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sde_ray.curation.filter_rules", "sde_ray.curation.filter"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'pip install "sde_ray\[filter\]"'):
        apply_rules([], Filter(rules=("near_duplicates",)), "en")
    with pytest.raises(UserError, match=r'pip install "sde_ray\[filter\]"'):
        plan_of(axes={**FEW, "filter": [1]}, curation={"filter": {"rules": ["near_duplicates"]}})
    assert apply_rules(planted(0), Filter(), "en")[1]


@pytest.mark.parametrize(("share", "kept"), [(0.25, 2), (0.5, 4), (0.01, 1), (1.0, 8)])
def test_texts_as_good_as_the_last_of_the_best_are_kept(share: float, kept: int) -> None:
    limit = threshold([1.0, 1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0], share)
    scores = [6.0, 5.0, 4.0, 3.0, 2.0, 2.0, 1.0, 1.0]
    assert sum(score <= limit for score in scores) == max(kept, 2 * (kept == 1))


# ---- in a trial ------------------------------------------------------------------------------------------------------


def test_all_texts_and_no_rules_are_the_plain_draw(tmp_path: Path) -> None:
    ids, preparation = drawn_by(trial(1, rules=()), tmp_path)
    train = get_task("masa:d1").load("train")
    assert ids == [one.id for one in draw(train, 40, 3)]
    assert preparation.counts["filter/kept"] == preparation.counts["filter/in"] == len(train)


def test_samples_are_drawn_from_the_likeliest_texts_and_all_is_counted(tmp_path: Path) -> None:
    train = get_task("masa:d1").load("train")
    scores = [float(n + 2) for n in range(len(train))]
    scores[0] = -1.0  # a text without a token that could be predicted: the worst
    ids, preparation = drawn_by(trial(0.1), tmp_path, scores)
    best = train[1 : 1 + round(0.1 * len(train))]
    assert ids == [one.id for one in draw(best, 40, 3)]
    counts = preparation.counts
    reasons = [number for name, number in counts.items() if name.startswith("filter/dropped_")]
    assert counts["filter/in"] == len(train) == counts["filter/kept"] + sum(reasons) and len(reasons) == 6
    before, after = label_counts(train, True), label_counts(best, True)
    assert {name: number for name, number in counts.items() if "/before/" in name} == {
        f"filter/before/{label}": number for label, number in before.items()
    }
    assert all(counts[f"filter/after/{label}"] == after[label] for label in before)
    assert [one.id for one in preparation.pool()] == [one.id for one in best], "what follows draws from what is kept"
    rows = [json.loads(row) for row in (tmp_path / "curation" / "filter_audit.jsonl").read_text().splitlines()]
    assert Counter(row["rule"] for row in rows) == {"": 20, "score": 20}
    kept_ids = {one.id for one in best}
    assert all(row["kept"] == (row["id"] in kept_ids) and row["text"] for row in rows)
    again, other = drawn_by(trial(0.1), tmp_path, None)  # a trial that is resumed does not measure again
    assert again == ids and other.counts == counts


def test_a_rare_label_in_unlikely_texts_is_seen_to_go(tmp_path: Path) -> None:
    train = get_task("masa:d1").load("train")
    rare = ("neutral",)
    scores = [5.0 + (one.answer.get("parking") == rare) for one in train]
    _, preparation = drawn_by(trial(0.5), tmp_path, scores)
    assert preparation.counts["filter/before/parking: neutral"] > 0
    assert preparation.counts["filter/after/parking: neutral"] == 0


def test_too_few_are_told_before_and_in_the_trial(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        plan_of(axes={**FEW, "filter": ["off", 0.01]}, curation={"filter": {"score": "length"}})
    size = len(get_task("masa:d1").load("train"))
    assert f"filter=0.01 keeps {round(0.01 * size)} of the {size} train examples of masa:d1, fewer" in str(error.value)
    assert "than the train size 40. Raise the share" in str(error.value)
    with pytest.raises(UserError, match="keeps at most 20 of"):
        plan_of(axes={**FEW, "filter": [0.01]})
    with pytest.raises(UserError, match="keeps 20 of the 2000 train examples of masa:d1, fewer"):
        drawn_by(trial(0.01), tmp_path, [float(n) for n in range(size)])


@pytest.mark.parametrize("share", [0, 1.5, -0.3, "best"])
def test_a_share_is_above_0_and_at_most_1(share: Any) -> None:
    with pytest.raises(UserError, match="is no option of filter. Expected a number above 0, at most 1, or off"):
        check({"name": "x", "task": "masa:d1", "axes": {"filter": [share]}})


def test_the_plan_says_what_is_known_without_a_model() -> None:
    notes = "\n".join(plan_of(axes={**FEW, "filter": ["off", 0.5]}, curation={"filter": {"score": "length"}}).curation)
    assert "filter=0.5: keeps 10" in notes and "score 9" in notes and "rarest labels, before and after: " in notes
    scored = "\n".join(plan_of(axes={**FEW, "filter": [0.5]}).curation)
    assert "filter=0.5: keeps at most 1000 of the 2000 train examples of masa:d1" in scored
    assert "rarest" not in scored


def test_the_report_shows_what_was_dropped_and_the_labels_before_and_after(tmp_path: Path) -> None:
    results = []
    for share, kept in ((0.5, 2), (1, 7)):
        config = trial(share)
        counts = {"filter/dropped_score": 9 - kept, "filter/before/food: <b>": 9, "filter/after/food: <b>": kept}
        scores = {"dev": {"weighted_kappa": 0.5}}
        results.append(TrialResult(config.key, config.resolved(), "finished", scores, curation=counts))
    study = Study(Group("masa:d1", "tiny", 40), "weighted_kappa", "dev", tuple(results), tmp_path)
    text = render_page(Report("x", [Chapter(study)]))
    part = re.sub(r"<[^>]+>", " ", text.partition("What data and training axes did")[2].partition("<h2>")[0]).split()
    assert " ".join(part[part.index("counted") :]) == (
        "counted filter=0.5 filter=1 dropped score 7 2 before food: &lt;b&gt; 9 9 after food: &lt;b&gt; 2 7"
    )
    plain = replace(results[0], curation={})
    lone = Study(study.group, study.objective, "dev", (plain,), tmp_path)
    assert "What data and training axes did" not in render_page(Report("x", [Chapter(lone)]))


def test_thresholds_are_of_the_train_split_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    splits: list[str] = []

    def examples(name: str, split: str, definition: Any = None) -> list[Example]:
        splits.append(split)
        return get_task(name).load(split)  # type: ignore[arg-type]

    monkeypatch.setattr("sde_ray.training.preparation.trial_examples", examples)
    monkeypatch.setattr(filters, "trial_examples", examples)
    filters._foresee.cache_clear()
    drawn_by(trial(0.5, score="length"), tmp_path)
    (method,) = methods_of(trial(0.5, score="length"))
    assert list(method.faults()) == [] and list(method.notes())
    assert set(splits) == {"train"}
