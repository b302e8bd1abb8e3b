"""The vLLM backend asks vLLM's own API for the same: a fake of it answers with the built-in backend's tokens."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from sde_ray.config.load import check
from sde_ray.config.trial import Generation, Lora
from sde_ray.errors import UserError
from sde_ray.models.backends import BACKENDS, vllm
from sde_ray.models.base import LoadedModel, load_base
from sde_ray.models.decoder import LoraDecoder
from sde_ray.models.generation import Sampling, generate
from sde_ray.models.lora import add_lora, load_adapter, remove_lora
from sde_ray.models.merged_lora import merged_lora
from sde_ray.sweep.backend_check import check_backend
from sde_ray.types import Segment

NEW = 12
PROMPTS = [(word, (Segment(f"Rate it: {word}", False, "text"),)) for word in ("good", "bad food", "slow service")]


class FakeSamplingParams:
    """Takes what `vllm.SamplingParams` does, of what is used here."""

    def __init__(
        self,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        stop: Any = (),
        include_stop_str_in_output: bool = False,
        max_tokens: int | None = 16,
        stop_token_ids: list[int] | None = None,
        detokenize: bool = True,
    ) -> None:
        self.temperature, self.seed, self.detokenize = temperature, seed, detokenize
        self.max_tokens, self.stop_token_ids, self.stop = max_tokens, stop_token_ids, stop


class FakeLoRARequest:
    """`vllm.lora.request.LoRARequest`."""

    def __init__(self, lora_name: str, lora_int_id: int, lora_path: str) -> None:
        self.number, self.path = lora_int_id, Path(lora_path)


class FakeLLM:
    """`vllm.LLM`: keeps what it was made for, and decodes with the adapter in the folder that it is given."""

    made: ClassVar[list[FakeLLM]] = []

    def __init__(self, model: str, *, tokenizer: str, **settings: Any) -> None:
        self.model, self.settings = model, settings
        self.calls: list[str] = []
        self.numbers: list[int] = []
        self.base = load_base(model)
        self.made.append(self)

    def generate(self, prompts: Any, params: Any, *, use_tqdm: bool, lora_request: Any) -> list[Any]:
        assert self.calls[-1:] != ["sleep 1"], "asleep"
        assert use_tqdm is False and params.temperature == 0 and params.detokenize is False
        self.calls.append("generate")
        self.numbers.append(lora_request.number)
        peft_model = load_adapter(self.base.model, lora_request.path)
        with merged_lora(peft_model) as model:
            rows = generate(
                model,
                [prompt["prompt_token_ids"] for prompt in prompts],
                eos_token_ids=params.stop_token_ids,
                pad_token_id=0,
                max_new_tokens=params.max_tokens,
            )
        remove_lora(peft_model)
        end = params.stop_token_ids[0]  # vLLM gives the end token with the others
        ended = [row if len(row) == params.max_tokens else [*row, end] for row in rows]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(row))]) for row in ended]

    def sleep(self, level: int = 1) -> None:
        self.calls.append(f"sleep {level}")

    def wake_up(self) -> None:
        self.calls.append("wake up")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeLLM]]:
    """The engines that are made, on a machine that says it has a GPU, half of it free."""
    package, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    package.LLM, package.SamplingParams = FakeLLM, FakeSamplingParams  # type: ignore[attr-defined]
    request.LoRARequest = FakeLoRARequest  # type: ignore[attr-defined]
    for module in (package, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(vllm.torch.cuda, "mem_get_info", lambda: (40 * 2**30, 80 * 2**30))
    monkeypatch.setattr(vllm, "has_gpu", lambda: True)
    FakeLLM.made = []
    yield FakeLLM.made
    vllm._resident.close()


def adapted(loaded: LoadedModel, seed: int, **settings: Any) -> Any:
    torch.manual_seed(seed)
    peft_model = add_lora(loaded.model, Lora(lora_dropout=0.0, **settings)).eval()
    for name, weight in peft_model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return peft_model


def test_the_same_completions_from_one_engine_that_sleeps_between_trials(
    tiny_llama: Path, engines: list[FakeLLM]
) -> None:
    loaded = load_base(str(tiny_llama))
    texts: list[list[str]] = []
    for seed in (1, 2):
        peft_model = adapted(loaded, seed)
        both = [
            LoraDecoder(loaded, peft_model, max_length=300, backend=name).generate(PROMPTS, NEW) for name in BACKENDS
        ]
        remove_lora(peft_model)
        assert both[0] == both[1]
        texts.append(both[0][0])
    assert texts[0] != texts[1]
    (engine,) = engines
    assert engine.calls == ["generate", "sleep 1", "wake up", "generate", "sleep 1"]
    assert engine.numbers[0] != engine.numbers[1], "vLLM keeps an adapter under its number"
    assert engine.model == str(tiny_llama)
    assert engine.settings == {
        "revision": None, "dtype": "float32", "max_model_len": 300, "enable_lora": True, "max_loras": 1,
        "max_lora_rank": 16, "gpu_memory_utilization": 0.425, "enable_sleep_mode": True, "trust_remote_code": False,
        "seed": 0,
    }  # fmt: skip
    peft_model = adapted(loaded, 3, r=20)
    LoraDecoder(loaded, peft_model, max_length=300, backend="vllm").generate(PROMPTS, NEW)
    remove_lora(peft_model)
    assert [one.settings["max_lora_rank"] for one in engines] == [16, 32], "a larger rank needs another engine"


def test_sampled_prompts_have_seeds_of_their_own(engines: list[FakeLLM]) -> None:
    request = vllm.Request(eos_token_ids=(2,), max_new_tokens=5, sampling=Sampling(3))
    params = vllm.sampling_params(request, 4)
    assert vllm.sampling_params(replace(request, stop="\n===\n"), 1)[0].stop == ["\n===\n"]
    assert len({one.seed for one in params}) == 4 and {one.temperature for one in params} == {0.2}


def test_an_engine_that_cannot_be_made_is_told_with_its_reason(
    tiny_llama: Path, engines: list[FakeLLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, *args: Any, **settings: Any) -> None:
        raise ValueError("Free memory on device is less than desired\nmore")

    monkeypatch.setattr(FakeLLM, "__init__", fail)
    decoder = LoraDecoder(load_base(str(tiny_llama)), max_length=300, backend="vllm")
    with pytest.raises(UserError, match=r"with 40.0 of 80.0 GiB free: Free memory on device.*backend: builtin"):
        decoder.generate(PROMPTS, NEW)


def sweep(**changes: Any) -> Any:
    values = {"name": "x", "task": "masa:d1", "generation": {"backend": "vllm"}}
    return check({**values, **changes})


def test_a_plan_refuses_what_vllm_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed, without a GPU, and for settings that it does not read; each in one message."""
    with pytest.raises(UserError, match=r"needs vLLM, which is not installed: .*and a GPU for each trial"):
        check_backend(sweep())
    check_backend(sweep(resources={"address": "ray://elsewhere:10001"}))
    check_backend(sweep(generation={}))
    for changes in (
        {"lora": {"use_dora": True}},
        {"lora": {"rank_pattern": {"q_proj": 2}}},
        {"train": {"quantization": "nf4"}},
        {"resources": {"num_workers": 2}},
        {"resources": {"pack": 4}},
        {"resources": {"resources_per_worker": {"GPU": 0}}},
        {"model": "org/repo/model.Q8_0.gguf"},
    ):
        with pytest.raises(UserError, match="generation.backend: vllm does not go with") as error:
            sweep(**changes)
        assert str(error.value).count("does not go with") == 1
    assert "backend" not in Generation().key_values and Generation(backend="vllm").key_values["backend"] == "vllm"


def test_a_worker_without_it_says_so(tiny_llama: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be imported: .*pip install .sde_ray\[vllm\]"):
        LoraDecoder(load_base(str(tiny_llama)), max_length=300, backend="vllm")
