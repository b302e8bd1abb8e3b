"""Micro-batches: into how many parts a worker's share of a step is cut, chosen by the memory that is free.

    micro_batch = MicroBatch(config, samples, dtype="bfloat16", device=device, workers=1)
    parts = micro_batch.choose()        1: the whole share fits; else the least number of parts that does
    micro_batch.remember(4)             after an out-of-memory step: the next trial like this one begins with 4

`train_batch_size` stays what the optimiser sees. What a part needs is computed from the model's shapes
(`device_memory.py`); what has been chosen is kept on the node, by model, adapter, sizes and device, so that the next
process need not compute it, and what was cut too coarsely is not tried again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from sde_ray.config.trial import TrialConfig
from sde_ray.errors import UserError
from sde_ray.models.memory import free_memory
from sde_ray.models.tokenization import TokenizedSample
from sde_ray.safe_json import content_hash, read_json
from sde_ray.storage.files import write_atomic
from sde_ray.training.device_memory import Sizes, estimate_memory

CACHE = "SDE_MICRO_BATCHES"  # the folder that remembers, by this variable; else in the user's cache
LONGEST_FILE = 4096  # bytes; more is none of ours
SHARE = {"cuda": 0.9, "cpu": 0.3}  # of the free memory: fragmentation; on a CPU the C allocator keeps twice as much
ROUNDED_TO = 32  # tokens: trials whose longest samples differ by less remember together


@dataclass(frozen=True)
class MicroBatch:
    """The choice for one trial. `workers`: how many share its batches."""

    config: TrialConfig
    samples: Sequence[TokenizedSample]
    dtype: str
    device: torch.device
    workers: int

    def choose(self) -> int:
        """The number of parts; of several workers all have the same."""
        parts = self._remembered()
        if not parts:
            parts = next((count for count in self.candidates if self._fits(count)), self.candidates[-1])
            self.remember(parts)
        if self.workers > 1:
            together = torch.tensor(parts, device=self.device)
            torch.distributed.all_reduce(together, torch.distributed.ReduceOp.MAX)
            parts = int(together.item())
        return parts

    @property
    def candidates(self) -> list[int]:
        """Numbers of parts that divide a worker's share of a step, the least first."""
        share = max(1, self.config.train.train_batch_size // self.workers)
        return [count for count in range(1, share + 1) if share % count == 0]

    def remember(self, parts: int) -> None:
        """Keep a number of parts for trials like this one; where the folder cannot be written, nothing is kept."""
        path = self._path()
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, json.dumps({"parts": parts, "free": free_memory(self.device)}))
        except (OSError, UserError):
            pass

    def _remembered(self) -> int:
        """What was kept, while about as much memory is free as then; 0: nothing, or nothing that can be true."""
        path = self._path()
        try:
            if path is None or path.stat().st_size > LONGEST_FILE:
                return 0
            kept = read_json(path.read_bytes())
            parts, free = kept["parts"], kept["free"]
        except (OSError, ValueError, TypeError, LookupError):
            return 0
        if type(parts) is not int or type(free) is not int or parts not in self.candidates:
            return 0
        return parts if 0.8 * free <= free_memory(self.device) <= 1.25 * free else 0

    def _fits(self, parts: int) -> bool:
        """Whether a part fits into what is free beside the model, which is on its device."""
        try:
            estimate = estimate_memory(self.config, self._sizes(parts), self.device.type == "cuda", self.dtype)
        except UserError:
            return True
        if estimate.activations is None or estimate.workspace is None:
            return True  # not known: a step that does not fit is cut when it comes to it
        needed = estimate.optimizer + estimate.activations + estimate.workspace
        return needed <= SHARE[self.device.type] * free_memory(self.device)

    def _sizes(self, parts: int) -> Sizes:
        rows = max(1, self.config.train.train_batch_size // (self.workers * parts))
        length = max(len(sample.input_ids) for sample in self.samples)
        counted = max(sample.num_loss_tokens for sample in self.samples)
        return Sizes(rows, length, min(length, rows * counted))

    def _path(self) -> Path | None:
        """The file of trials like this one; None without a home."""
        config, sizes = self.config, self._sizes(1)
        gpu = self.device.type == "cuda"
        like = {
            "model": config.model,
            "lora": config.lora.model_dump(mode="json"),
            "rows": sizes.rows,
            "length": -(-sizes.length // ROUNDED_TO),
            "loss_positions": -(-sizes.loss_positions // ROUNDED_TO),
            "checkpointing": config.train.gradient_checkpointing,
            "base": config.train.base_options,
            "dtype": self.dtype,
            "deepspeed": json.loads(json.dumps(dict(config.deepspeed))),
            "device": torch.cuda.get_device_name(self.device) if gpu else self.device.type,
        }
        folder = os.environ.get(CACHE)
        cache = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "sde_ray" / "micro_batches"
        path = Path(folder) if folder else cache
        return path / f"{content_hash(like)}.json" if path.is_absolute() else None
