"""Teachers: models that write examples; each answers prompts with texts, and an answer is data whatever it says.

    teacher = open_teacher(settings, preparation)
    teacher.answer(prompts, max_new_tokens=200, temperature=1.0, seed=3)     -> a text a prompt, "" where there is none

`teacher: same` is the trial's base model without its adapter; a name is another model, which every warm worker loads
once and holds beside the base; http(s)://... is an OpenAI-compatible endpoint. Its key comes from an environment
variable, its replies are kept in the trial's folder as they come, so that a trial that fails and runs again asks for
none twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from sde_ray.config.curation import Augment as Settings
from sde_ray.safe_json import content_hash
from sde_ray.storage.jsonl_cache import JsonlCache
from sde_ray.tasks.rationales.chat_client import Endpoint, chat_completion
from sde_ray.types import Segment

if TYPE_CHECKING:
    from sde_ray.training.preparation import Preparation
    from sde_ray.training.worker import Worker

Prompt = tuple[Segment, ...]
REPLIES = "teacher.jsonl"  # in the trial's folder `curation`


class Teacher(Protocol):
    """A model that answers prompts."""

    def answer(self, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        """A text for each prompt, the same for the same seed; "" where there is none.

        Args:
            prompts: segments each.
            max_new_tokens: the longest answer.
            temperature: of sampling; 0: greedily.
            seed: another one gives other answers, where the temperature is above 0.
        """
        ...


def open_teacher(settings: Settings, preparation: Preparation) -> Teacher:
    """The teacher that the settings name."""
    if settings.is_endpoint:
        return EndpointTeacher(settings, preparation)
    return ModelTeacher(settings.teacher, preparation)


class ModelTeacher:
    """A model on the trial's own workers: the base ("same"), or another one by its name.

    The trial must have fitted an adapter before, be it with 0 steps; it is switched off meanwhile.
    """

    def __init__(self, name: str, preparation: Preparation) -> None:
        self.name, self._preparation = name, preparation

    def answer(self, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        """Decoded in batches, by all workers."""
        parts = self._preparation.apply(
            "generate_written", self.name, list(prompts), max_new_tokens, float(temperature), seed
        )
        texts = [""] * len(prompts)
        for rank, (answers, num_tokens) in enumerate(parts):
            texts[rank :: len(parts)] = answers
            self._preparation.count("teacher_tokens", num_tokens)
        return texts


def generate_written(
    worker: Worker, name: str, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int
) -> tuple[list[str], int]:
    """This worker's share of the prompts, answered by the base without its adapter, or by a named model."""
    from sde_ray.models import base
    from sde_ray.models.decoder import LoraDecoder
    from sde_ray.models.generation import Sampling
    from sde_ray.training import deepspeed_engine

    config = worker._config
    share = [(f"prompt {number}", prompt) for number, prompt in enumerate(prompts)][worker.rank :: worker.workers]
    sampling = Sampling(seed, temperature, top_k=0, top_p=1.0) if temperature else None
    with ExitStack() as stack:
        if name == "same":
            engine = worker._trainer.engine if worker._trainer else None
            stack.enter_context(deepspeed_engine.gathered_parameters(engine, worker._peft_model))
            stack.enter_context(worker._peft_model.disable_adapter())
            loaded: Any = worker._loaded
        else:
            loaded = _resident_teacher(name, config.trust_remote_code, base.resolve_dtype(config.train.dtype))
        decoder = LoraDecoder(loaded, max_length=loaded.max_positions, chat_template=config.chat_template)
        return decoder.generate(share, max_new_tokens, batch_size=config.generation.rows, sampling=sampling)


_residents: dict[tuple[str, bool, str], Any] = {}  # the teacher that this process has asked last, and no other


def _resident_teacher(name: str, trust_remote_code: bool, dtype: str) -> Any:
    """A named teacher, loaded once by a warm worker: it stays until another one is asked for."""
    from sde_ray.models import base

    identity = (name, trust_remote_code, dtype)
    if identity not in _residents:
        _residents.clear()  # before the next is loaded: both would need room
        _residents[identity] = base.load_base(name, trust_remote_code, dtype)
    return _residents[identity]


class EndpointTeacher:
    """A model behind an OpenAI-compatible endpoint."""

    def __init__(self, settings: Settings, preparation: Preparation) -> None:
        self._settings, self._preparation = settings, preparation
        self.endpoint = endpoint_of(settings)

    def answer(self, prompts: Sequence[Prompt], max_new_tokens: int, temperature: float, seed: int) -> list[str]:
        """A request a prompt, some at a time. Raises UserError when the endpoint refuses, or stays busy or silent."""
        file = JsonlCache(self._preparation.folder / REPLIES)
        replies = {key: str(value.get("text", "")) for key, value in file.read().items()}
        texts = ["".join(segment.text for segment in prompt) for prompt in prompts]
        request = [self.endpoint.url, self.endpoint.model, max_new_tokens, temperature, seed]
        keys = [content_hash([*request, text]) for text in texts]
        pending = {key: text for key, text in zip(keys, texts, strict=True) if key not in replies}
        with ThreadPoolExecutor(max_workers=self._settings.parallel) as pool:
            futures = {
                pool.submit(
                    chat_completion,
                    self.endpoint,
                    [{"role": "user", "content": text}],
                    max_new_tokens,
                    temperature=temperature,
                    seed=seed,
                ): key
                for key, text in pending.items()
            }
            try:
                for future in as_completed(futures):
                    reply, key = future.result(), futures[future]
                    file.append(key, {"text": reply.text, "fault": reply.fault})
                    replies[key] = reply.text
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [replies[key] for key in keys]


def endpoint_of(settings: Settings) -> Endpoint:
    """The endpoint that the settings name."""
    return Endpoint(settings.teacher, settings.teacher_model, settings.key_variable, timeout=settings.timeout_s)
