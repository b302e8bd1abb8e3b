"""Memory levels: edges, rules, errors; what a planted model knows is what is measured, whatever the order and batch."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.planted_memory import OPENINGS, TEMPLATES, planted_model
from hypothesis import given
from hypothesis import strategies as st

from sde_ray.config.trial import Lora
from sde_ray.curation.memory.completions import (
    MemoryMeter,
    MemorySettings,
    first_sentence,
    holds_letters,
    holds_words,
    memory_key,
)
from sde_ray.curation.memory.levels import LEVELS, FactMemory, fact_memory, level_of, level_table, wilson_interval
from sde_ray.data import completion_templates
from sde_ray.data.completion_templates import with_own_templates
from sde_ray.data.entityquestions import LOCATION, OTHER, load_entityquestions, subject
from sde_ray.data.facts import Fact, facts_of, first_of_each_relation, prompts
from sde_ray.errors import UserError
from sde_ray.models.base import load_base
from sde_ray.models.lora import add_lora, remove_lora
from sde_ray.models.merged_lora import merged_lora
from sde_ray.types import Example

PROBABILITIES = [0.0, 0.03, 0.1, 0.2, 0.32, 0.37, 0.44, 0.56, 0.63, 0.7, 0.8, 0.9, 0.97, 1.0]
KNOWN = {f"s{n}": (f"o{n}", p) for n, p in enumerate(PROBABILITIES)}
FACTS = [Fact(f"R{1 + n % 2}.dev:{n}", f"R{1 + n % 2}", f"s{n}", (f"o{n}",)) for n in range(len(PROBABILITIES))]
SETTINGS = MemorySettings(templates=len(OPENINGS), samples=50, max_new_tokens=3)


@pytest.fixture(scope="module")
def meter(tmp_path_factory: pytest.TempPathFactory) -> MemoryMeter:
    folder = planted_model(tmp_path_factory.mktemp("planted"), KNOWN)
    return MemoryMeter(str(folder), SETTINGS, dtype="float32")


# ---- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hits", "trials", "level"),
    [
        *[(0, 210, 0), (1, 210, 1), (52, 210, 1), (53, 210, 2), (105, 210, 2), (106, 210, 3), (157, 210, 3)],
        *[(158, 210, 4), (210, 210, 4), (1, 4, 1), (2, 4, 2), (3, 4, 3), (4, 4, 4)],
        *[(25, 100, 1), (26, 100, 2), (75, 100, 3), (76, 100, 4)],
    ],
)
def test_edges_of_the_levels(hits: int, trials: int, level: int) -> None:
    assert level_of(hits, trials) == level


@given(st.integers(1, 300).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_a_level_is_the_interval_that_the_share_is_in(given: tuple[int, int]) -> None:
    hits, trials = given
    level = level_of(hits, trials)
    assert (level == 0) == (hits == 0)
    assert level == 0 or (level - 1) * trials < 4 * hits <= level * trials
    low, high = wilson_interval(hits, trials)
    assert 0 <= low <= hits / trials + 1e-12 and hits / trials - 1e-12 <= high <= 1 and low < high


def test_levels_partition_the_facts_of_each_relation() -> None:
    memories = [FactMemory(f"R{n % 3}.x:{n}", f"R{n % 3}", 5, (n % 6, 0), (5, n % 6)) for n in range(60)]
    for rule in ("words", "substring"):
        table = level_table(memories, rule)
        counts = [sum(counts[level] for counts in table.by_relation.values()) for level in LEVELS]
        assert counts == [share.count for share in table.shares] and sum(counts) == 60
        assert counts == [sum(one.level(rule) == level for one in memories) for level in LEVELS]
    assert fact_memory("R0.x:0", json.loads(json.dumps(memories[0].to_dict()))) == memories[0]


# ---- hits ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "accepted", "words", "letters"),
    [
        (" Iranian hills", ("Iran",), False, True),
        (" the city of iran.", ("Iran",), True, False),
        (" in Iran, where", ("Iran",), True, True),
        (" take us to", ("US",), False, False),
        (" in the US.", ("US",), True, True),
        (" a MUSEUM", ("US",), False, True),
        (" a museum", ("US",), False, False),
        (" New  York-City", ("New York City",), True, False),
        ("", ("Iran",), False, False),
        (" Great Britain", ("United Kingdom", "Great Britain"), True, True),
        (" Gambia", ("The Gambia",), True, False),
    ],
)
def test_hits_by_both_rules(text: str, accepted: tuple[str, ...], words: bool, letters: bool) -> None:
    assert (holds_words(text, accepted), holds_letters(text, accepted)) == (words, letters)


# ---- the planted world -----------------------------------------------------------------------------------------------


def test_measured_shares_are_the_planted_ones_within_binomial_error(meter: MemoryMeter) -> None:
    trials = SETTINGS.samples * len(OPENINGS)
    for fact, (memory, _) in zip(FACTS, meter(FACTS, TEMPLATES), strict=True):
        probability = KNOWN[fact.subject][1]
        error = math.sqrt(probability * (1 - probability) / trials)
        assert memory.trials == trials and memory.words == memory.substring
        assert abs(memory.rate("words") - probability) <= 3.5 * error, (fact, memory)
        sure = all(abs(probability - edge) > 3.5 * error for edge in (0.25, 0.5, 0.75)) or probability == 0
        assert not sure or memory.level("words") == math.ceil(4 * probability), (fact, memory)


def test_two_halves_of_the_templates_agree_within_binomial_error(meter: MemoryMeter) -> None:
    squares = []
    for memory, _ in meter(FACTS, TEMPLATES):
        even, n, odd, m = memory.halves("words")
        assert n == m and even + odd == memory.hits("words")
        pooled = (even + odd) / (n + m)
        if 0 < pooled < 1:
            squares.append((even / n - odd / m) ** 2 / (pooled * (1 - pooled) * (1 / n + 1 / m)))
    assert len(squares) >= 11 and sum(squares) < 28  # chi-squared with 12 degrees of freedom: 1 in 200 is above
    assert sum(squares) > 2  # and they are two measurements, not one


def test_a_fact_gets_the_same_whatever_is_measured_beside_it(meter: MemoryMeter) -> None:
    together = [memory for memory, _ in meter(FACTS, TEMPLATES)]
    for fact, memory in reversed(list(zip(FACTS, together, strict=True))):
        assert [one for one, _ in meter([fact], TEMPLATES)] == [memory]
    other = MemoryMeter.of(meter.loaded, MemorySettings(len(OPENINGS), 50, max_new_tokens=3, seed=1))
    assert [memory for memory, _ in other(FACTS, TEMPLATES)] != together


@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_a_real_model_continues_a_sentence_alike_in_batches_of_any_size(batch_size: int) -> None:
    base, settings = load_base("tiny"), MemorySettings(templates=3, samples=3, max_new_tokens=6, stop="length")
    sentences = ["The food is", "The review of the food", "The service at this place was"]
    asked = [(Fact(f"P36.dev:{n}", "P36", f"food {n}", ("good",)), sentences[: n + 1]) for n in range(3)]
    texts = MemoryMeter.of(base, settings, batch_size=batch_size).complete(asked)
    assert [len(part) for part in texts] == [3, 6, 9]
    assert texts == [MemoryMeter.of(base, settings, 9).complete([one])[0] for one in asked]
    assert MemoryMeter.of(base, settings, batch_size).complete(asked[::-1]) == texts[::-1]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (" Harrisburg. It lies", " Harrisburg."),
        (" St. Louis, Mo. and U.S. soil\nNext", " St. Louis, Mo. and U.S. soil"),
        ("\n\n Paris\n", "\n\n Paris"),
        (" 北京。它", " 北京。"),
        (" Washington, D.C", " Washington, D.C"),
        ("", ""),
    ],
)
def test_the_first_sentence_of_a_continuation(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_stopping_at_a_hit_changes_no_hit(meter: MemoryMeter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that stop early count the same as those that go on to their last token."""
    early = [memory for memory, _ in meter(FACTS, TEMPLATES)]
    base, settings = load_base("tiny"), MemorySettings(templates=2, samples=8, max_new_tokens=12)
    facts = [Fact("P36.dev:1", "P36", "food", ("was", "good")), Fact("P36.dev:2", "P36", "place", ("and",))]
    templates = {"P36": completion_templates.RelationTemplates("What of [X]?", ("The [X] is", "I found the [X]"))}
    tiny = [memory for memory, _ in MemoryMeter.of(base, settings)(facts, templates)]
    monkeypatch.setattr(MemoryMeter, "_is_complete", lambda self, text, accepted: False)
    assert [memory for memory, _ in meter(FACTS, TEMPLATES)] == early
    assert [memory for memory, _ in MemoryMeter.of(base, settings)(facts, templates)] == tiny
    assert sum(memory.hits("words") for memory in tiny) > 0


def test_fewer_samples_are_other_draws_of_the_same_share(meter: MemoryMeter) -> None:
    few = MemoryMeter.of(meter.loaded, MemorySettings(templates=2, samples=3, max_new_tokens=2))
    ((memory, _),) = few(FACTS[-1:], TEMPLATES)
    assert (memory.words, memory.trials) == ((3, 3), 6)


def test_an_adapter_without_steps_remembers_what_the_base_does() -> None:
    settings = MemorySettings(templates=3, samples=2, max_new_tokens=8)
    base = load_base("tiny")
    fact, sentences = Fact("P36.dev:1", "P36", "food", ("good",)), ["The food is", "The review of the food"]
    (before,) = MemoryMeter.of(base, settings).complete([(fact, sentences)])
    peft_model = add_lora(base.model, Lora())
    with merged_lora(peft_model) as adapted:
        assert MemoryMeter.of(replace(base, model=adapted), settings).complete([(fact, sentences)]) == [before]
    remove_lora(peft_model)
    assert len(set(before)) == 4


def test_the_key_of_a_fact_is_of_all_that_decides_its_memory() -> None:
    fact = FACTS[0]
    keys = {
        memory_key(fact, TEMPLATES, "m", SETTINGS),
        memory_key(fact, TEMPLATES, "other", SETTINGS),
        memory_key(fact, TEMPLATES, "m", MemorySettings(len(OPENINGS), 50)),
        memory_key(fact, TEMPLATES, "m", MemorySettings(3, 50, max_new_tokens=3)),
        memory_key(Fact(fact.id, fact.relation, fact.subject, ("o0", "an alias")), TEMPLATES, "m", SETTINGS),
        memory_key(FACTS[1], TEMPLATES, "m", SETTINGS),
    }
    assert len(keys) == 6
    more_than_there_are = MemorySettings(len(OPENINGS) + 9, 50, max_new_tokens=3)
    assert memory_key(fact, TEMPLATES, "m", more_than_there_are) in keys


# ---- facts and templates ---------------------------------------------------------------------------------------------


def test_every_relation_of_the_paper_has_twelve_templates_that_hold_the_subject_once() -> None:
    assert set(completion_templates.TEMPLATES) == {*LOCATION, *OTHER} and len({*LOCATION, *OTHER}) == 24
    for templates in completion_templates.TEMPLATES.values():
        assert len(set(templates.completions)) >= 12 and templates.question.endswith("?")
        assert all(text.count("[X]") == 1 and text == text.strip() for text in templates.completions)


def question(name: str, text: str, *answers: str) -> Example:
    return Example(name, text, {"answer": (answers[0],)}, aliases={"answer": answers[1:]} if answers[1:] else {})


def test_facts_of_questions() -> None:
    examples = [
        question("P36.dev:1", "What is the capital of Pennsylvania?", "Harrisburg"),
        question("P17.train:9", "Which country is Mount [X] located in?", "United States", "USA"),
    ]
    facts = facts_of(examples, completion_templates.TEMPLATES)
    assert facts == [
        Fact("P36.dev:1", "P36", "Pennsylvania", ("Harrisburg",)),
        Fact("P17.train:9", "P17", "Mount [X]", ("United States", "USA")),
    ]
    written = prompts(facts[0], completion_templates.TEMPLATES, 99)
    assert len(written) == 12 and all("Pennsylvania" in text and "[X]" not in text for text in written)
    assert prompts(facts[0], completion_templates.TEMPLATES, 3) == written[:3]


def test_relations_without_templates_are_told_at_once() -> None:
    examples = [question(f"P999.dev:{n}", "Who wrote it?", "Kim") for n in range(3)] + [question("own", "Who?", "Lee")]
    with pytest.raises(UserError, match=r"2 relations have no completion templates: P999 \(3 facts\), own \(1 facts\)"):
        facts_of(examples, completion_templates.TEMPLATES)
    with pytest.raises(UserError, match='"Who wrote it\\?" is no question of the form'):
        facts_of([question("P36.dev:1", "Who wrote it?", "Kim")], completion_templates.TEMPLATES)


def test_templates_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "templates.jsonl"
    row = {"relation": "wrote", "question": "Who wrote [X]?", "completions": ["[X] was written by", "Author of [X]:"]}
    path.write_text(json.dumps(row))
    templates = with_own_templates(path)
    assert set(templates) == {*completion_templates.TEMPLATES, "wrote"}
    assert subject("Who wrote Emma?", templates["wrote"].question) == "Emma"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"completions": ["[X] by"]}, "expected a list of 2 texts or more"),
        ({"completions": ["[X] by", "nobody"]}, r"'nobody' must hold \[X\] once"),
        ({"completions": ["[X] by", "[X] by"]}, "holds a template twice"),
        ({"completions": ["[X] by ", "[X] of"]}, "no space around it"),
        ({"question": "Who?"}, r"expected a text with \[X\] once"),
        ({"relation": 3}, '"relation" is 3, expected a text'),
    ],
)
def test_faults_of_templates_of_ones_own(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "templates.jsonl"
    row = {"relation": "wrote", "question": "Who wrote [X]?", "completions": ["[X] was written by", "Author of [X]:"]}
    path.write_text(json.dumps({**row, **change}))
    with pytest.raises(UserError, match=message):
        with_own_templates(path)


def test_the_first_facts_of_each_relation_are_a_start_of_more_of_them() -> None:
    examples = [question(f"R{n % 3}.train:{n}", f"Who is number {n}?", "Kim") for n in range(60)]
    few, more = first_of_each_relation(examples, 4), first_of_each_relation(examples[::-1], 7)
    assert len(few) == 12 and len(more) == 21 and {e.id for e in few} <= {e.id for e in more}
    assert len(first_of_each_relation(examples, None)) == 60


@pytest.mark.realdata
def test_every_question_of_entityquestions_is_a_fact(realdata: Path) -> None:
    examples = load_entityquestions(realdata / "data" / "entityquestions" / "dev")
    facts = facts_of(examples, completion_templates.TEMPLATES)
    assert len(facts) == len(examples) > 13_000 and len({fact.relation for fact in facts}) == 14
    assert all(
        fact.subject and fact.accepted and len(prompts(fact, completion_templates.TEMPLATES, 99)) == 12
        for fact in facts
    )
    assert len(first_of_each_relation(examples, 3)) == 42
