"""The settings of one trial: everything that decides its outcome, and the key that names it.

TrialConfig ──resolved()──▶ plain JSON ──sha256──▶ key: "5f0c..."
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sde_ray.safe_json import content_hash
from sde_ray.types import Design


@dataclass(frozen=True)
class LoraSettings:
    r: int = 8
    alpha: int = 16
    dropout: float = 0.1
    targets: str | tuple[str, ...] = "all-linear"


@dataclass(frozen=True)
class TrainSettings:
    """`rungs`: shares of the training examples at which the trial is scored, ascending, ending with 1.0."""

    epochs: float = 1.0
    batch_size: int = 4
    gradient_accumulation: int = 1
    lr: float = 1e-4
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.0
    weight_decay: float = 0.0
    max_length: int = 1024
    max_grad_norm: float = 1.0
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    rungs: tuple[float, ...] = (1.0,)
    workers: int = 1
    deepspeed: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DecodeSettings:
    """`max_new_tokens` 0: 1.5 times the longest gold completion of the training samples.

    `looks`: shares of the dev items after which a trial that is clearly behind its rival is given up.
    """

    batch_size: int = 32
    max_new_tokens: int = 0
    looks: tuple[float, ...] = ()


@dataclass(frozen=True)
class TrialConfig:
    """Everything that decides a trial's outcome. `data` fingerprints the examples and the task's definition.

    `definition` is the section of the YAML of a task that is written out there, so that any process can build the task
    from a trial's configuration; empty where the task's name says all.
    """

    task: str
    design: Design
    model: str
    seed: int
    train_size: int
    eval_size: int
    splits: tuple[str, ...] = ("dev",)
    out_of_domain: tuple[str, ...] = ()
    wording: int = 0
    chat: Literal["auto", "off"] = "auto"
    trust_remote_code: bool = False
    lora: LoraSettings = field(default_factory=LoraSettings)
    train: TrainSettings = field(default_factory=TrainSettings)
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    data: str = ""
    definition: Mapping[str, Any] = field(default_factory=dict)

    def resolved(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        plain["design"] = dict(self.design.options)
        return plain

    @property
    def key(self) -> str:
        """sha256 of the sorted resolved JSON, 16 hex digits.

        Without `definition`: `data` has its fingerprint, and where its files are does not make another trial.
        """
        return content_hash({name: value for name, value in self.resolved().items() if name != "definition"})
