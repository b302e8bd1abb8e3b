"""Quantised bases, attention and compilation: refused where a machine cannot, trained and decoded where it can."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from helpers.one_worker import runner_on
from helpers.run_trial import run_trial

from sde_ray.config.trial import Generation, Train, TrialConfig
from sde_ray.design.designs import make_design
from sde_ray.errors import UserError
from sde_ray.models import base_settings
from sde_ray.models.base_settings import check_base_settings
from sde_ray.models.predictor import Predictor
from sde_ray.training.device_memory import Sizes, estimate_memory
from sde_ray.training.worker import Worker

NEUTRAL = ("quantization", "attn_implementation", "torch_compile")


@pytest.fixture(scope="module")
def worker() -> Worker:
    one = Worker()
    one.join(*one.address())
    return one


def trial(**train: Any) -> TrialConfig:
    settings = {"learning_rate": 5e-3, "train_batch_size": 8, **train}
    generation = Generation(max_new_tokens=40)
    return TrialConfig("masa:d1", make_design(), "tiny", 1, 64, 8, train=Train(**settings), generation=generation)


REFUSED: list[tuple[dict[str, Any], int, bool, str]] = [
    ({"quantization": "nf4"}, 3, True, "cannot be sharded by ZeRO-3"),
    ({"quantization": "int8"}, 0, False, r"not installed here: pip install \"sde_ray\[quant\]\""),
    ({"attn_implementation": "flash_attention_2"}, 0, False, "runs on a GPU only. Use sdpa"),
    ({"attn_implementation": "flash_attention_2", "dtype": "float32"}, 0, True, "has no float32. Set train.dtype"),
    ({"attn_implementation": "flash_attention_2"}, 0, True, "pip install flash-attn. Or use sdpa"),
    ({"torch_compile": True}, 3, True, "does not go with ZeRO-3"),
    ({"torch_compile": True}, 0, False, r"needs a C\+\+ compiler on a CPU"),
    ({"torch_compile": True}, 0, True, "needs triton on a GPU"),
]


@pytest.mark.parametrize(("train", "stage", "gpu", "message"), REFUSED)
def test_what_a_machine_cannot_do_is_refused_with_the_remedy(
    train: dict[str, Any], stage: int, gpu: bool, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_settings, "find_spec", lambda name: None)
    monkeypatch.setattr(base_settings.shutil, "which", lambda name: None)
    with pytest.raises(UserError, match=message):
        check_base_settings("tiny", Train(**train), stage, gpu)
    check_base_settings("tiny", Train(), stage, gpu)


def test_a_trial_is_refused_too_and_the_worker_goes_on(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan may have been made on another machine."""
    monkeypatch.setattr(base_settings, "find_spec", lambda name: None)
    result = run_trial(runner_on(worker), trial(quantization="nf4"), tmp_path / "nf4")
    assert result.status == "failed" and "sde_ray[quant]" in result.error
    assert run_trial(runner_on(worker), replace(trial(), train_size=8), tmp_path / "plain").status == "finished"


def test_they_are_in_the_key_only_where_they_are_set() -> None:
    plain = trial()
    assert not set(NEUTRAL) & set(plain.resolved()["train"])
    others = [trial(quantization="nf4"), trial(attn_implementation="eager"), trial(torch_compile=True)]
    assert len({one.key for one in (plain, *others)}) == 4


def test_memory_is_that_of_the_quantised_weights() -> None:
    sizes = Sizes(2, 64, 8, new_tokens=4)
    whole, eight, four = (
        estimate_memory(trial(quantization=kind), sizes, gpu=True) for kind in ("none", "int8", "nf4")
    )
    linear = whole.merged  # in bfloat16: all of them are adapted
    assert whole.weights - eight.weights == pytest.approx(linear / 2, rel=0.01)
    assert whole.weights - four.weights == pytest.approx(linear * (1 - 0.516 / 2), rel=0.01)
    assert four.merged == 0, "the adapter stays beside them"


def test_eager_attention_keeps_the_scores_of_all_pairs() -> None:
    fused, eager = (
        estimate_memory(trial(attn_implementation=kind), Sizes(2, 256, 20), gpu=True) for kind in ("sdpa", "eager")
    )
    scores = 4 * 2 * 6 * 256 * 256  # layers, rows, heads, pairs
    assert fused.activations is not None and eager.activations is not None
    assert 2 * scores <= eager.activations - fused.activations <= 10 * scores


def test_eager_attention_gives_the_same_losses(worker: Worker, tmp_path: Path) -> None:
    short = replace(trial(), train_size=24)
    plain = run_trial(runner_on(worker), short, tmp_path / "sdpa")
    eager = replace(short, train=short.train.model_copy(update={"attn_implementation": "eager"}))
    result = run_trial(runner_on(worker), eager, tmp_path / "eager")
    assert worker._loaded.model.config._attn_implementation == "eager"
    assert result.losses == pytest.approx(plain.losses, abs=1e-5) and len(result.losses) == 3


@pytest.mark.slow
@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (sde_ray[quant])")
@pytest.mark.parametrize(("kind", "dtype"), [("int8", "float32"), ("nf4", "float32"), ("nf4", "bfloat16")])
def test_a_quantised_base_learns_answers_and_predicts(kind: str, dtype: str, worker: Worker, tmp_path: Path) -> None:
    config = trial(quantization=kind, dtype=dtype)
    result = run_trial(runner_on(worker), config, tmp_path / "one")
    assert result.status == "finished", result.error
    assert result.losses[-1] < result.losses[0]
    weight = worker._loaded.model.model.layers[0].mlp.up_proj.weight
    assert str(weight.dtype) == {"int8": "torch.int8", "nf4": "torch.uint8"}[kind]
    again = run_trial(runner_on(worker), config, tmp_path / "two")
    assert again.losses == result.losses, "the base is as it was"
    predictor = Predictor.load(tmp_path / "one")
    assert predictor.card.quantization == kind
    assert predictor.predict(["The soup was cold."])[0][1]


@pytest.mark.long
def test_compiled_layers_give_the_losses_of_plain_ones(worker: Worker, tmp_path: Path) -> None:
    """With dropout and samples of many lengths; decoding is plain."""
    plain = run_trial(runner_on(worker), trial(), tmp_path / "plain")
    compiled = run_trial(runner_on(worker), trial(torch_compile=True), tmp_path / "compiled")
    assert compiled.status == "finished", compiled.error
    assert compiled.losses == pytest.approx(plain.losses, abs=1e-5)
    after = run_trial(runner_on(worker), trial(), tmp_path / "after")
    assert after.losses == plain.losses
