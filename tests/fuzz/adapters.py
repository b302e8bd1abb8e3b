"""The family of adapters' folders: weights whose header lies, foreign configurations, cards, links, pickles."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

from fuzz.engine import Random, Room, Try, family, mutated, odd, some, spoiled, twisted

from sde_ray.design import designs, render
from sde_ray.errors import UserError
from sde_ray.models.adapter_files import CONFIG, WEIGHTS, read_adapter
from sde_ray.models.predictor import ADAPTER_CARD, AdapterCard, find_adapter, read_card
from sde_ray.tasks import get_task

NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
PEFT: dict[str, Any] = {
    "peft_type": "LORA", "r": 2, "lora_alpha": 16, "target_modules": ["q_proj"], "bias": "none",
    "fan_in_fan_out": False, "use_dora": False, "modules_to_save": None, "rank_pattern": {}, "auto_mapping": None,
    "task_type": "CAUSAL_LM",
}  # fmt: skip
HOSTILE: list[dict[str, Any]] = [
    {"r": 10**9}, {"r": True}, {"r": 2.0}, {"target_modules": "(a+)+$"}, {"modules_to_save": ["lm_head"]},
    {"auto_mapping": {"parent_library": "os", "base_model_class": "system"}},
    {"init_lora_weights": "pissa_niter_999999"},
    {"layer_replication": [[0, 10**9]]}, {"rank_pattern": {".*": 10**9}}, {"alpha_pattern": {"(a+)+$": 1}},
    {"peft_type": "XLORA", "adapters": {"x": "../.."}}, {"lora_alpha": 1e400}, {"trainable_token_indices": [10**12]},
    {"base_model_name_or_path": "../../etc"}, {"eva_config": {"x": 1}}, {"runtime_config": {"x": "y"}},
]  # fmt: skip
CARDS: dict[str, Any] = {
    "task": "masa:d1", "design": dict(designs.make_design().options), "instruction_variant": 0,
    "model": "tiny", "chat_template": "auto",
    "trust_remote_code": False, "max_length": 256, "max_new_tokens": 20, "trial": "0123456789abcdef",
}  # fmt: skip


def tensors(rng: Random) -> dict[str, Any]:
    """The header of a whole adapter of one module, with 12 and 8 numbers of four bytes."""
    return {
        "__metadata__": {"format": "pt"},
        NAME.format("A"): {"dtype": "F32", "shape": [2, 6], "data_offsets": [0, 48]},
        NAME.format("B"): {"dtype": "F32", "shape": [4, 2], "data_offsets": [48, 80]},
    }


def safetensors(header: Any, rng: Random, rate: float) -> bytes:
    text = json.dumps(header, default=str)
    text = mutated(text, rng, 2) if rng.random() < rate else text
    raw = text.encode("utf-8", "replace")
    length = (
        len(raw) if rng.random() > rate else rng.choice((0, 1, len(raw) - 1, len(raw) + 1, 2**31, 2**63, 2**64 - 1))
    )
    return struct.pack("<Q", length) + raw + bytes(80 if rng.random() > rate else rng.randrange(200))


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self.place,)


@family("adapters", 5_000)
def adapters(room: Room) -> Try:
    """A LoRA adapter that fills its file, or a `UserError`; nothing unpickled, nothing read outside the folder."""
    folder, outside, owned = (room.folder / name for name in ("adapter", "outside", "owned"))
    folder.mkdir()
    outside.mkdir()
    bomb = io.BytesIO()
    pickle.dump(Bomb(owned), bomb)

    def put(path: Path, raw: bytes, rng: Random) -> None:
        """Write the file, now and then as a link to the same bytes outside."""
        path.unlink(missing_ok=True)
        if rng.random() < 0.05:
            (outside / path.name).write_bytes(raw)
            path.symlink_to(rng.choice((outside / path.name, Path("..") / "outside" / path.name)))
        elif rng.random() < 0.02:
            path.symlink_to(path)
        elif rng.random() > 0.02:
            path.write_bytes(raw)

    def attempt(rng: Random) -> None:
        rate = rng.choice((0.0, 0.05, 0.2))
        weights = safetensors(twisted(tensors(rng), rng, rate / 2), rng, rate)
        weights = bomb.getvalue() if rng.random() < 0.05 else spoiled(weights, rng) if rng.random() < rate else weights
        config = {**PEFT, **(rng.choice(HOSTILE) if rng.random() < 0.3 else {})}
        config = twisted(config, rng, rate / 4)
        room.given = (weights, config)
        put(folder / WEIGHTS, weights, rng)
        put(folder / CONFIG, json.dumps(config, default=str).encode(), rng)
        adapter = room.law(lambda: read_adapter(folder))
        if adapter:
            assert not any((folder / name).is_symlink() for name in (WEIGHTS, CONFIG)), "read outside the folder"
            assert adapter.rank == config["r"] and all(
                max(pair) * adapter.rank < 2**20 for pair in adapter.shapes.values()
            )
            assert 0 < adapter.alpha < 1e6
        assert not owned.exists(), "unpickled"

    return attempt


@family("cards", 2_500)
def cards(room: Room) -> Try:
    """`sde.json`: all that a prompt is made of, or a `UserError`."""
    card = room.folder / "adapter" / ADAPTER_CARD
    card.parent.mkdir()

    def prompt(found: AdapterCard) -> Any:
        design = designs.parse_design(found.design)
        return render.prompt_of("a text", get_task(found.task), design, found.instruction_variant)

    def attempt(rng: Random) -> None:
        text = json.dumps(
            twisted(CARDS, rng, rng.choice((0.0, 0.05, 0.15))) if rng.random() < 0.9 else odd(rng), default=str
        )
        text = mutated(text, rng) if rng.random() < 0.2 else text + some(rng, 1)
        room.given = text
        card.write_bytes(text.encode("utf-8", "replace"))
        found = room.law(lambda: read_card(find_adapter(room.folder)))
        if found:
            assert found.max_length >= 8 and found.max_new_tokens >= 1 and isinstance(found.model, str)
            try:
                assert prompt(found)
            except UserError:
                pass  # a task, an option or a wording that there is not

    return attempt
