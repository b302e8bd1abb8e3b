"""What the tests of hostile input spoil, in good order: the files of a sweep, and a bomb for readers of YAML."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

from sde_ray.safe_json import content_hash
from sde_ray.types import RungResult, TrialResult

BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

DESIGN = {"instruction": "last", "input_modeling": "off", "format": "lines", "unmentioned": "omit", "labels": "text",
          "reasoning": "none"}  # fmt: skip
CONFIG = {"task": "masa:d1", "design": DESIGN, "model": "tiny", "seed": 0, "train": {"rungs": [1.0]}, "train_size": 9}
RESULT = TrialResult(
    key=content_hash(CONFIG),
    config=CONFIG,
    status="finished",
    scores={"dev": {"weighted_kappa": 0.5, "f1": math.nan}},
    faults={"dev": {"syntax": 3}},
    rungs=(RungResult(0, 50, {"dev": {"weighted_kappa": 0.5}}),),
    seconds={"total": 3.5},
    tokens={"output": 20.0},
    losses=(1.5, 0.25),
)
PREDICTIONS = [
    {"id": f"masa-d1-dev-{n}", "split": "dev", "task": "masa:d1", "prediction": "food: positive"} for n in range(3)
]
KEY = "0123456789abcdef"
TRIAL: dict[str, Any] = {
    "config.json": {**CONFIG, "key": KEY},
    "scores.json": {"scores": {"dev": {"weighted_kappa": 0.5}}},
}


def write_trial(folder: Path) -> Path:
    """The folder of a trial in that of a sweep, with all but its completions."""
    trial = folder / "trials" / KEY
    trial.mkdir(parents=True, exist_ok=True)
    for name, plain in TRIAL.items():
        (trial / name).write_text(json.dumps(plain))
    return trial


STRATEGY = {
    "kind": "sde_ray strategy", "task": "masa:d1", "model": "tiny", "design": DESIGN, "sweep": "x", "objective": "f1",
    "predicted": 0.5, "reasons": {"format": "lines: better"}, "verdict": "",
    "effects": [{"axis": "format", "option": "lines", "reference": "natural", "difference": 0.1, "low": None,
                 "high": 0.2, "replicates": 3}],
}  # fmt: skip
VERDICT = {
    "strategy_design": DESIGN, "objective": "f1", "summary": "It is as good.", "recommended": "baseline",
    "rows": [{"control": "baseline", "design": DESIGN, "split": "test", "train_size": None, "assembled": 0.5,
              "score": 0.4, "seeds": 3, "items": 9, "claim": "better",
              "paired": {"difference": 0.1, "low": 0.0, "high": 0.2, "p_value": 0.5, "adjusted_p_value": 0.5}}],
}  # fmt: skip

# ---- an adapter's folder ---------------------------------------------------------------------------------------------

NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
HEADER: dict[str, Any] = {  # a whole adapter of one module, with 12 and 8 numbers of four bytes
    "__metadata__": {"format": "pt"},
    NAME.format("A"): {"dtype": "F32", "shape": [2, 6], "data_offsets": [0, 48]},
    NAME.format("B"): {"dtype": "F32", "shape": [4, 2], "data_offsets": [48, 80]},
}
PEFT: dict[str, Any] = {
    "peft_type": "LORA", "r": 2, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none",
    "fan_in_fan_out": False, "use_dora": False, "modules_to_save": None, "rank_pattern": {}, "auto_mapping": None,
    "task_type": "CAUSAL_LM",
}  # fmt: skip


def safetensors(header: dict[str, Any]) -> bytes:
    """A file of weights with this header, and eighty bytes of zeros."""
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(80)
