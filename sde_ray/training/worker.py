"""Worker: a process that holds the base model and runs one trial after another on it.

    start_trial (fresh adapter, samples as ids, engine) ─▶ train ─▶ generate ─▶ save_state ─▶ ... ─▶ save ─▶ end_trial
                           load_state, restore_state ─▶ (a trial that was interrupted resumes from its saved state)

Everything that goes in or comes out is plain Python, so that a worker is the same object inside a Ray actor, in a group
of actors that share a trial (ZeRO), or in the calling process. With several workers every call goes to all of them.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sde_ray.config.trial import TrialConfig
from sde_ray.design.answer_end import AnswerEnd
from sde_ray.types import Sample, Segment

Prompts = Sequence[tuple[str, tuple[Segment, ...]]]


@dataclass(frozen=True)
class TrialInfo:
    """A trial after tokenization. `tokens`: means a sample by part, for the report; `seconds`: by phase;
    `learning_rates`: of each step; `environment`: as in `TrialResult`; `chat_frame`: what is around each
    prompt.
    """

    steps: int
    max_new_tokens: int
    tokens: dict[str, float]
    seconds: dict[str, float]
    learning_rates: tuple[float, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    chat_frame: tuple[str, str] | None = None


class Worker:
    """The resident process of one worker of a trial. `rank` counts from 0 to `workers` - 1.

    `gpus`: its share of GPUs; None: what the process sees, for a worker inside of somebody's own process.
    """

    def __init__(self, rank: int = 0, workers: int = 1, cpus: float = 1.0, gpus: float | None = None) -> None:
        _quiet()
        if gpus == 0:
            hide_gpus()
        import torch

        torch.set_num_threads(max(1, round(cpus)))  # fixed, since the order of a sum decides its last digit
        self.rank, self.workers = rank, workers
        self._loaded: Any = None
        self._loaded_for: tuple[Any, ...] = ()
        self._decoder: Any = None
        self._peft_model: Any = None
        self._trainer: Any = None
        self._loaded_state: Any = None
        self._store: Any = None
        self._general: tuple[Any, list[float]] = (None, [])  # of the base, for one set

    def address(self) -> tuple[str, int]:
        """Where the workers of a trial meet, on this worker's host; it listens there from now on."""
        from sde_ray.training import deepspeed_engine

        host = "127.0.0.1"
        if self.workers > 1:
            import ray

            host = ray.util.get_node_ip_address()
        self._store = deepspeed_engine.open_store(host, self.workers)
        return host, int(self._store.port)

    def node(self) -> str:
        """The id of the Ray node that this worker is on."""
        from sde_ray.training.nodes import node_id

        return node_id()

    def join(self, address: str, port: int) -> None:
        """Join the process group; once in a process' life, before any model is loaded."""
        from torch import distributed

        from sde_ray.training import deepspeed_engine

        if not distributed.is_initialized():
            deepspeed_engine.init_group(self.rank, self.workers, address, port, self._store)

    def start_trial(
        self,
        config: TrialConfig,
        samples: Sequence[Sample],
        drawn: Sequence[Sample] = (),
        prepared: Mapping[str, Any] | None = None,
    ) -> TrialInfo:
        """Prepare a trial: load its base model unless it is resident, tokenize, add an adapter, make the engine.

        Args:
            config: the trial.
            samples: what it trains on.
            drawn: the samples that it would train on without its data and training axes, if it has some: completions
                may be as long as with these.
            prepared: by axis, what its methods have left for the workers.
        """
        from sde_ray.training.curation import methods_of

        return self._start(config, samples, drawn or samples, methods_of(config, prepared))

    def start_plain(self, config: TrialConfig, samples: Sequence[Sample], drawn: Sequence[Sample]) -> TrialInfo:
        """Prepare a trial on these samples as if it had no data or training axis."""
        return self._start(config, samples, drawn, ())

    def _start(
        self, config: TrialConfig, samples: Sequence[Sample], drawn: Sequence[Sample], methods: Sequence[Any]
    ) -> TrialInfo:
        from sde_ray import __version__
        from sde_ray.models import base
        from sde_ray.models.decoder import LoraDecoder, completion_budget
        from sde_ray.models.lora import add_lora
        from sde_ray.models.tokenization import pad_token_id
        from sde_ray.training import deepspeed_engine, trainer

        self.end_trial()
        reset_peak_memory()
        clock = _Clock()
        dtype = base.resolve_dtype(config.train.dtype)
        self._load(config, dtype)
        clock.lap("load")
        self._config = config
        self._decoder = LoraDecoder(
            self._loaded,
            max_length=config.train.max_length,
            chat_template=config.chat_template,
            thinks=config.design["reasoning"] == "think",
            backend=config.generation.backend,
            merge_adapter=config.generation.merge_adapter and deepspeed_engine.stage(config) != 3,  # no shard can be
            trust_remote_code=config.trust_remote_code,
        )
        encoder = self._decoder.encoder
        self._max_new_tokens = completion_budget(config.generation.max_new_tokens, encoder, drawn)
        encoded = encoder.samples(samples, self._max_new_tokens)
        clock.lap("tokenize")
        trainer.seed_everything(config.seed)
        try:
            self._peft_model = self._decoder.peft_model = add_lora(self._loaded.model, config.lora)
        except Exception:
            self._loaded, self._loaded_for, self._decoder = None, (), None  # it may have part of an adapter in it
            raise
        self._trainer = self._make_trainer(
            self._peft_model,
            encoded,
            config,
            dtype=dtype,
            pad_token_id=pad_token_id(self._loaded.tokenizer),
            rank=self.rank,
            methods=methods,
        )
        clock.lap("engine")
        steps = len(self._trainer.steps)
        rates = trainer.learning_rates(config.train, steps)
        environment = {**self._loaded.environment(), "sde_ray": __version__, **self._trainer.environment}
        return TrialInfo(steps, self._max_new_tokens, _sizes(encoded), clock.seconds, rates, environment, encoder.frame)

    def _make_trainer(self, *arguments: Any, **options: Any) -> Any:
        from sde_ray.training import trainer

        return trainer.make_trainer(*arguments, **options)

    def train(self, until: int, seconds: float = math.inf) -> list[float]:
        """Train up to step `until`, or for so long. Returns the losses of these steps, this worker's part of each."""
        losses: list[float] = self._trainer.run(until, seconds)
        return losses

    def generate(self, prompts: Prompts, ends: Sequence[AnswerEnd | None] = ()) -> tuple[list[str], int]:
        """The completion of each (id, prompt), greedily, and how many tokens they have in all.

        `ends`: when the answer of each is settled.
        """
        from sde_ray.training import deepspeed_engine

        engine = self._trainer.engine if self._trainer else None
        batch_size = self._config.generation.rows
        with deepspeed_engine.decoding(engine, self._peft_model):
            texts, num_tokens = self._decoder.generate(prompts, self._max_new_tokens, batch_size=batch_size, ends=ends)
        return texts, num_tokens

    def general_values(self, name: str) -> tuple[list[float], list[float]]:
        """Values of a general set by the base and by the trained model; the base's are kept as long as it is."""
        from sde_ray.evaluation.general_set import open_general_set
        from sde_ray.models.general_values import base_values, general_values
        from sde_ray.models.merged_lora import merged_lora
        from sde_ray.training import deepspeed_engine

        engine, loaded = self._trainer.engine if self._trainer else None, self._loaded
        items, longest = open_general_set(name), min(self._config.train.max_length, loaded.max_positions)
        kept = (loaded.name, self._config.train.dtype, self._config.train.base_options, name, longest)
        merge = self._decoder.backend_settings.merge_adapter
        with deepspeed_engine.decoding(engine, self._peft_model):
            if self._general[0] != kept:
                self._general = kept, base_values(self._peft_model, loaded.tokenizer, items, longest)
            with merged_lora(self._peft_model, merge) as model:
                return self._general[1], general_values(model, loaded.tokenizer, items, longest)

    def count_tokens(self, config: TrialConfig, samples: Sequence[Sample]) -> list[int]:
        """The tokens of each sample, prompt and completion, as a trial would train on it."""
        from sde_ray.models import base
        from sde_ray.models.decoder import LoraDecoder

        self.end_trial()
        self._load(config, base.resolve_dtype(config.train.dtype))
        decoder = LoraDecoder(
            self._loaded,
            max_length=config.train.max_length,
            chat_template=config.chat_template,
            thinks=config.design["reasoning"] == "think",
        )
        return [len(row.input_ids) for row in decoder.encoder.samples(samples)]

    def counts(self) -> dict[str, float]:
        """What a method has counted while it trained, by "axis/name"."""
        return dict(self._trainer.counts)

    def out_of_memory(self) -> int:
        """How many times memory was short in training, so that a step was cut into smaller parts."""
        return int(self._trainer.out_of_memory)

    def skipped_steps(self) -> int:
        """How many steps of the trial changed nothing, as gradients overflowed in float16."""
        return int(self._trainer.skipped_steps)

    def apply(self, function: str, *arguments: Any) -> Any:
        """Call a function by its import path with this worker and plain values."""
        from types import FunctionType

        from sde_ray.plugins import load_object

        return load_object(function, FunctionType, "a function of a method")(self, *arguments)

    def save(self, folder: Path) -> None:
        """Write the adapter; under ZeRO every worker takes part, the first one writes."""
        from sde_ray.models.lora import save_adapter
        from sde_ray.training import deepspeed_engine

        engine = self._trainer.engine if self._trainer else None
        with deepspeed_engine.gathered_adapter(engine, self._peft_model):
            if self.rank == 0:
                save_adapter(self._peft_model, folder)

    def save_state(self, path: Path) -> tuple[str, str]:
        """Write this worker's part of the trial's state. Returns (sha256, ""), or ("", why it cannot be saved)."""
        from sde_ray.training import checkpoint, engine_state

        try:
            return engine_state.write(self._trainer, path), ""
        except checkpoint.CheckpointError as error:
            return "", str(error)
        except OSError as error:
            return "", f"{path}: {error.strerror or error}"

    def load_state(self, path: Path, digest: str) -> str:
        """Read what `save_state` wrote, without applying it. Returns why it cannot be used, or an empty string."""
        from sde_ray.training import checkpoint, engine_state

        try:
            self._loaded_state = engine_state.read(path, digest)
            engine_state.check_compatible(self._trainer, self._loaded_state)
        except checkpoint.CheckpointError as error:
            return str(error)
        return ""

    def restore_state(self) -> None:
        """Apply the state that `load_state` has read."""
        from sde_ray.training import engine_state

        engine_state.restore(self._trainer, self._loaded_state)
        self._loaded_state = None

    def end_trial(self) -> float:
        """End the trial, whatever state it is in; the base stays. Returns the trial's peak memory in MB."""
        import torch

        from sde_ray.models.lora import remove_lora

        if self._trainer is not None:
            self._trainer.destroy()
        if self._peft_model is not None:
            remove_lora(self._peft_model)
        self._trainer = self._peft_model = self._decoder = self._loaded_state = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return peak_memory_mb()

    def _load(self, config: TrialConfig, dtype: str) -> None:
        """Load the trial's base model, unless it is resident. One that ZeRO-3 has sharded serves no other stage."""
        if base_identity(config, dtype) != self._loaded_for:
            self._loaded, self._loaded_for = None, ()
            self._loaded = load_base_of(config, dtype)
            self._loaded_for = base_identity(config, dtype)
            gc.freeze()  # modules and base are here to stay: the collection after each trial need not walk them


def base_identity(config: TrialConfig, dtype: str) -> tuple[Any, ...]:
    """Trials for which it is the same may have the same base, one after another or together."""
    from sde_ray.training import deepspeed_engine

    sharded = deepspeed_engine.stage(config) == 3
    return (config.model, config.trust_remote_code, dtype, sharded, *config.train.base_options.values())


def load_base_of(config: TrialConfig, dtype: str) -> Any:
    """A trial's base model, on the device of this process. Raises UserError where it cannot be had as it is set."""
    from sde_ray.models import base, gguf
    from sde_ray.models.base_settings import check_base_settings
    from sde_ray.training import deepspeed_engine, zero3

    gpu = base.device().type == "cuda"
    check_base_settings(config.model, config.train, deepspeed_engine.stage(config, dtype), gpu)
    in_shards = deepspeed_engine.stage(config) == 3 and gguf.split(config.model) is None  # that is read as a whole
    section = deepspeed_engine.deepspeed_config(config, dtype) if in_shards else None
    with zero3.sharded_loading(section) if section else nullcontext():
        return base.load_base(config.model, config.trust_remote_code, dtype, **config.train.base_options)


def hide_gpus() -> None:
    """Let this process see no GPU; before its first look at them. Ray hides those of others only from who has some."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


class _Clock:
    """Seconds by phase."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[phase], self._last = now - self._last, now


def _sizes(encoded: Sequence[Any]) -> dict[str, float]:
    """Mean tokens a sample, by part, and the share of samples whose text was truncated."""
    count = len(encoded)
    return {
        "train": sum(len(row.input_ids) for row in encoded) / count,
        "prompt": sum(len(row.prompt) for row in encoded) / count,
        "output_gold": sum(len(row.completion) for row in encoded) / count,
        "supervised": sum(row.num_loss_tokens for row in encoded) / count,
        "share_cut": sum(row.num_truncated > 0 for row in encoded) / count,
    }


def _quiet() -> None:
    """Keep progress bars and notices to library authors out of a sweep's output; faults still speak."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for library in ("torch", "transformers", "deepspeed", "peft"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=library)


def reset_peak_memory() -> None:
    """Begin anew what `peak_memory_mb` tells."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        try:
            Path("/proc/self/clear_refs").write_text("5")  # Linux: start the process' high-water mark anew
        except OSError:
            pass


def peak_memory_mb() -> float:
    """Peak memory since the last reset: of the GPU if there is one, else of the process."""
    import torch

    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated()) / 2**20
    try:
        fields = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
        return next(float(field[1]) / 1024 for field in fields if field and field[0] == "VmHWM:")
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
