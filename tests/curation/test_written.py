"""Written examples: reading a teacher's reply is total, and near-copies are those of ROUGE-L."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sde_ray.curation.augment.written import NearCopies, read_written, rouge_l, words, write_example
from sde_ray.tasks import get_task
from sde_ray.types import Example

MASA, NER = get_task("masa:d1"), get_task("nested_ner")
SHORT_WORDS = st.lists(st.sampled_from("abc"), max_size=7)


def test_what_is_written_is_read_back() -> None:
    for task in (MASA, NER, get_task("qa")):
        for example in task.load("train")[:20]:
            read = read_written(write_example(example, task), task, example.id, 1000)
            assert read.dropped == "" and read.example is not None
            assert (read.example.text, read.example.answer) == (example.text, dict(example.answer))


def test_words_around_an_example_are_left_out() -> None:
    example = MASA.load("train")[0]
    whole = write_example(example, MASA)
    for reply in (
        whole.partition("Text: ")[2],  # the prompt ends with "Text:"
        f"Sure! Here is one.\n\n{whole}",
        f"{whole}\n\nText: another\nAnswer: {{}}",
        whole.replace("Answer: ", "Answer:\n```json\n") + "\n```\nAnything else?",
    ):
        read = read_written(reply, MASA, "x", 1000)
        assert read.example == Example("x", example.text, dict(example.answer)), reply


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "no_reply"),
        ("  \n", "no_reply"),
        ("I am sorry, but I cannot help with that.", "unreadable"),
        ("Text: nice soup\nAnswer: positive", "faulty_answer"),
        ('Text: nice soup\nAnswer: {"food": "positive"}', "faulty_answer"),  # the other slots are missing
        ('Text: nice soup\nAnswer: {"weather": "positive"}', "faulty_answer"),
        ("Text: nice soup\nAnswer: " + "{" * 100_000, "faulty_answer"),
        ('Text:\nAnswer: {"food": "positive"}', "no_text"),
        ("Text: " + "soup " * 100 + "\nAnswer: {}", "too_long"),
        ("Text: half \ud83d\nAnswer: {}", "unreadable"),
    ],
)
def test_a_reply_that_is_no_example_is_dropped_with_a_reason(reply: str, reason: str) -> None:
    read = read_written(reply, MASA, "x", 300)
    assert read.example is None and read.dropped == reason


def test_a_span_must_stand_in_the_text() -> None:
    example = next(one for one in NER.load("train") if one.answer)
    reply = write_example(example, NER)
    assert read_written(reply, NER, "x", 1000).example is not None
    moved = reply.replace(example.text, "a text about other things")
    assert read_written(moved, NER, "x", 1000).dropped == "span_not_in_text"


@given(st.text(max_size=200) | st.text(alphabet='Text: Answr{}"[],\n', max_size=200))
def test_reading_is_total(reply: str) -> None:
    read = read_written(reply, MASA, "x", 100)
    assert (read.example is None) == bool(read.dropped)


# ---- near-copies -----------------------------------------------------------------------------------------------------


def longest_common(one: list[str], other: list[str]) -> int:
    """By trying every subsequence."""

    def is_within(part: tuple[str, ...]) -> bool:
        rest = iter(other)
        return all(word in rest for word in part)

    return max(length for length in range(len(one) + 1) if any(map(is_within, combinations(one, length))))


@given(SHORT_WORDS, SHORT_WORDS)
def test_rouge_l_is_twice_the_longest_common_subsequence_by_both_lengths(one: list[str], other: list[str]) -> None:
    expected = 2 * longest_common(one, other) / (len(one) + len(other)) if one and other else 0.0
    assert rouge_l(one, other) == rouge_l(other, one) == pytest.approx(expected)


def test_rouge_l_of_the_publication() -> None:
    """Lin (2004), section 3.1: both candidates share two or three words with the reference, in another order."""
    reference = words("police killed the gunman")
    assert rouge_l(words("police kill the gunman"), reference) == 3 / 4
    assert rouge_l(words("the gunman kill police"), reference) == 2 / 4


def test_words_have_no_case_and_no_punctuation_and_a_chinese_character_is_one() -> None:
    assert words("The soup, COLD!") == ["the", "soup", "cold"]
    assert words("汤很冷。Wi-Fi 好") == ["汤", "很", "冷", "wi", "fi", "好"]


@given(st.lists(SHORT_WORDS, max_size=5), SHORT_WORDS, st.sampled_from([0.3, 0.5, 0.8, 1.0]))
def test_the_fast_bound_changes_no_decision(texts: list[list[str]], new: list[str], limit: float) -> None:
    copies = NearCopies([" ".join(one) for one in texts], limit)
    expected = any(one == new if not one or not new else rouge_l(one, new) > limit for one in texts)
    assert copies.has(" ".join(new)) == expected


def test_a_near_copy_is_more_than_95_of_100() -> None:
    seed = [f"w{number}" for number in range(40)]
    copies = NearCopies([" ".join(seed)], 0.95)
    assert copies.has(" ".join([*seed[:39], "other"]))  # 39 / 40 = 0.975
    assert not copies.has(" ".join([*seed[:38], "other", "words"]))  # 38 / 40 = 0.95
    copies.add("quite another text")
    assert copies.has("Quite another text.")
