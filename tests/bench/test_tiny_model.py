"""The script that pretrains the embedded base: what its text holds back, and that it resumes to the digit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

torch = pytest.importorskip("torch")

from sde_ray.bench.tiny_model import corpus, pretrain  # noqa: E402
from sde_ray.bench.tiny_model.forms import LABEL_WORDS  # noqa: E402
from sde_ray.bench.tiny_model.losses import previous_token_loss  # noqa: E402
from sde_ray.bench.tiny_model.muon import orthogonalise  # noqa: E402
from sde_ray.models.base import PACKAGED  # noqa: E402
from sde_ray.tasks import get_task  # noqa: E402

SMALL = pretrain.Recipe(
    vocabulary=400, width=32, layers=1, heads=1, hidden=64, tokens=6000, batch_tokens=512, tokenizer_pairs=300
)


def test_label_words_of_the_bundled_tasks_are_held_back() -> None:
    task = get_task("masa:d1")
    assert not {*(task.labels or ()), task.placeholder} & {word for words in LABEL_WORDS for word in words}


def test_type_names_of_the_bundled_tasks_are_held_back() -> None:
    random = Random(0)
    answers = [
        pair.answer for pair in (corpus.pair(random, 1.0) for _ in range(1500)) if pair.sort in ("entities", "events")
    ]
    types = {*get_task("nested_ner").slots, *get_task("events").slots}
    assert len(answers) > 100
    assert [t for t in types for a in answers if f"{t}:" in a or f'"{t}"' in a] == []


def test_the_curriculum_goes_from_clauses_to_looking_up_to_everything() -> None:
    def counts(progress: float) -> Counter[str]:
        random = Random(0)
        return Counter(corpus.pair(random, progress).sort for _ in range(400))

    first, second, third = (counts(progress) for progress in (0.0, corpus.STAGES[0], corpus.STAGES[1]))
    assert [stage.most_common(1)[0][0] for stage in (first, second, third)] == ["tagged", "lookup", "rating"]
    assert set(third) == {"tagged", "lookup", "rating", "copying", "entities", "events", "question", "plain"}


def test_marked_labels_come_out_with_their_places() -> None:
    text = f"food: {corpus.OPEN}bad{corpus.CLOSE}, staff: {corpus.OPEN}good{corpus.CLOSE}."
    clean, spans = corpus.unmarked(text)
    assert clean == "food: bad, staff: good."
    assert [clean[start:end] for start, end in spans] == ["bad", "good"]


def test_no_mark_reaches_the_tokenizer() -> None:
    random = Random(0)
    pairs = [corpus.pair(random, 1.0) for _ in range(500)]
    assert [p for p in pairs if corpus.OPEN in p.prompt + corpus.unmarked(p.answer)[0]] == []
    assert [p for p in pairs if "\\ue000" in p.answer] == []


def test_batches_go_on_where_they_stopped() -> None:
    tokenizer = pretrain.train_tokenizer(SMALL)
    whole = pretrain.batches(tokenizer, SMALL, pretrain.DataPosition())
    seen = [next(whole) for _ in range(6)]
    later = pretrain.batches(tokenizer, SMALL, seen[2][0])
    assert [next(later) for _ in range(3)] == seen[3:]


def test_a_run_that_was_stopped_ends_like_one_that_was_not(tmp_path: Path) -> None:
    def run(out: Path, stops: tuple[int, ...]) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        for steps in stops:
            current = pretrain.PretrainingRun(SMALL, out)
            data = pretrain.batches(current.tokenizer, SMALL, current.position)
            for _ in range(steps):
                place, seen, rows = next(data)
                loss = current.learn(rows)
                current.position, current.seen = place, seen
            current.report([loss], 0.0)
        return current.model.state_dict()

    whole, parts = run(tmp_path / "a", (5,)), run(tmp_path / "b", (2, 3))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_every_character_comes_back_from_the_tokenizer() -> None:
    tokenizer = pretrain.train_tokenizer(SMALL)
    text = 'naïve 食品评价：中性 {"a": [1]} \t\n\x00 𝔘 \u2028'
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_orthogonalised_matrices_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 16, 16), (2, 32, 8), (2, 8, 32)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert values.min() > 0.5 and values.max() < 1.3


def test_repetitions_count_only_what_can_be_known() -> None:
    whole = pieces = 0
    for seed in range(40):
        ids, weights, _ = pretrain.repeating(Random(seed), 400, 7)
        middle = (len(ids) - 2) // 2
        first, again = ids[1 : 1 + middle], ids[2 + middle :]
        assert ids[0] == 1 and ids[1 + middle] == 7 and sorted(first) == sorted(again) and min(first) > 2
        assert len(weights) == len(ids) and not any(weights[: middle + 2])
        whole += all(weights[middle + 2 :])
        pieces += weights[middle + 2] == 0  # which piece comes first cannot be known
        assert again == first or not all(weights[middle + 2 :])
    assert whole + pieces == 40 and min(whole, pieces) > 5


def test_the_help_of_the_first_layer_rewards_the_previous_token() -> None:
    model, same = pretrain.build_model(SMALL), torch.nn.Identity()
    ids = torch.randint(3, SMALL.vocabulary, (4, 30))
    embedded = model.model.embed_tokens(ids)
    right = torch.roll(embedded, 1, 1)
    losses = [
        [previous_token_loss(model, same, first, ids, turn).item() for turn in range(4)] for first in (right, embedded)
    ]
    assert max(losses[0]) < min(losses[1])


def test_the_base_lies_in_the_package_as_its_recipe_says() -> None:
    from transformers import AutoConfig

    made, recipe = AutoConfig.from_pretrained(PACKAGED["tiny"]), pretrain.Recipe()
    shape = (made.vocab_size, made.hidden_size, made.num_hidden_layers, made.intermediate_size)
    assert shape == (recipe.vocabulary, recipe.width, recipe.layers, recipe.hidden)
    card = PACKAGED["tiny"] / "README.md"
    assert f'"tokens": {recipe.tokens}' in card.read_text()
