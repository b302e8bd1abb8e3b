"""Folders of adapters: weights whose header lies, foreign configurations, cards, links, pickles."""

from __future__ import annotations

import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
from fuzz.hostile import Outcomes, encoded, hostile, mutated, odd_texts, odd_values, one_in, spoiled, twisted
from fuzz.samples import HEADER, PEFT
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from sde_ray.design import designs, render
from sde_ray.errors import UserError
from sde_ray.models.adapter_files import CONFIG, WEIGHTS, read_adapter
from sde_ray.models.predictor import ADAPTER_CARD, Predictor, find_adapter, read_card
from sde_ray.tasks import get_task

HOSTILE: list[dict[str, Any]] = [
    {"r": 10**9}, {"r": True}, {"r": 2.0}, {"target_modules": "(a+)+$"}, {"modules_to_save": ["lm_head"]},
    {"auto_mapping": {"parent_library": "os", "base_model_class": "system"}},
    {"init_lora_weights": "pissa_niter_999999"},
    {"layer_replication": [[0, 10**9]]}, {"rank_pattern": {".*": 10**9}}, {"alpha_pattern": {"(a+)+$": 1}},
    {"peft_type": "XLORA", "adapters": {"x": "../.."}}, {"lora_alpha": 1e400}, {"trainable_token_indices": [10**12]},
    {"base_model_name_or_path": "../../etc"}, {"eva_config": {"x": 1}}, {"runtime_config": {"x": "y"}},
]  # fmt: skip
CARD: dict[str, Any] = {
    "task": "masa:d1", "design": dict(designs.make_design().options), "instruction_variant": 0,
    "model": "tiny", "chat_template": "auto",
    "trust_remote_code": False, "max_length": 256, "max_new_tokens": 20, "trial": "0123456789abcdef",
}  # fmt: skip
PLACES = ("file", "link", "relative link", "link to itself", "missing")


class Bomb:
    """Unpickling it makes a file in the working folder."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path("unpickled"),)


def a_pickle() -> bytes:
    file = io.BytesIO()
    pickle.dump(Bomb(), file)
    return file.getvalue()


@st.composite
def safetensors(draw: DrawFn) -> bytes:
    """A file of weights, whole or with one or several lies in it."""
    header = json.dumps(draw(twisted(HEADER, 2)), default=str)
    raw = (draw(mutated(header, 2)) if one_in(draw, 6) else header).encode("utf-8", "replace")
    lies = (0, 1, len(raw) - 1, len(raw) + 1, 2**31, 2**63, 2**64 - 1)
    length = draw(st.sampled_from(lies)) if one_in(draw, 6) else len(raw)
    body = bytes(draw(st.integers(0, 200)) if one_in(draw, 6) else 80)
    return struct.pack("<Q", length) + raw + body


@st.composite
def adapters(draw: DrawFn) -> dict[str, tuple[str, bytes]]:
    """The files of an adapter by name: where each lies, and its bytes."""
    weights = draw(safetensors())
    weights = a_pickle() if one_in(draw, 20) else draw(spoiled(weights)) if one_in(draw, 6) else weights
    odd = draw(st.sampled_from(HOSTILE)) if one_in(draw, 3) else {}
    config = json.dumps(draw(twisted({**PEFT, **odd}, 2)), default=str).encode()
    places = st.sampled_from(PLACES)
    return {name: (draw(places) if one_in(draw, 10) else "file", raw) for name, raw in
            ((WEIGHTS, weights), (CONFIG, config))}  # fmt: skip


def put(path: Path, place: str, raw: bytes, outside: Path) -> None:
    """Write the file, or a link to the same bytes outside of its folder."""
    path.unlink(missing_ok=True)
    if place == "file":
        path.write_bytes(raw)
    elif place == "link to itself":
        path.symlink_to(path)
    elif place != "missing":
        (outside / path.name).write_bytes(raw)
        path.symlink_to(outside / path.name if place == "link" else Path("..", outside.name, path.name))


@hostile(5_000, files=adapters())
def test_adapters(outcomes: Outcomes, tmp_path: Path, files: dict[str, tuple[str, bytes]]) -> None:
    """A LoRA adapter that fills its file, or a `UserError`; nothing unpickled, nothing read outside the folder."""
    folder, outside = tmp_path / "adapter", tmp_path / "outside"
    folder.mkdir(exist_ok=True)
    outside.mkdir(exist_ok=True)
    for name, (place, raw) in files.items():
        put(folder / name, place, raw, outside)
    adapter = outcomes.value_of(lambda: read_adapter(folder))
    if adapter:
        assert not any((folder / name).is_symlink() for name in files), "read outside the folder"
        assert adapter.rank == json.loads(files[CONFIG][1])["r"]
        assert all(max(pair) * adapter.rank < 2**20 for pair in adapter.shapes.values())
        assert 0 < adapter.alpha < 1e6
    assert not (tmp_path / "unpickled").exists()


@st.composite
def cards(draw: DrawFn) -> bytes:
    """The bytes of a card: a good one twisted, or any JSON; spoiled as text now and then."""
    plain = draw(twisted(CARD)) if not one_in(draw, 10) else draw(odd_values())
    text = json.dumps(plain, default=str)
    text = draw(mutated(text)) if one_in(draw, 5) else text + (draw(odd_texts(1)) if one_in(draw, 5) else "")
    return draw(encoded(text))


@hostile(2_500, raw=cards())
def test_cards(outcomes: Outcomes, tmp_path: Path, raw: bytes) -> None:
    """`sde.json`: all that a prompt is made of, or a `UserError`."""
    path = tmp_path / "adapter" / ADAPTER_CARD
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    card = outcomes.value_of(lambda: read_card(find_adapter(tmp_path)))
    if card:
        assert card.max_length >= 8 and card.max_new_tokens >= 1 and isinstance(card.model, str)
        try:
            design = designs.parse_design(card.design)
            assert render.prompt_of("a text", get_task(card.task), design, card.instruction_variant)
        except UserError:
            pass  # a task, an option or a wording that there is not


SLOT = get_task("masa:d1").slots[0]
SHOWN = {"id": "a", "text": "Great food.", "answer": {SLOT: ["positive"]}}


@pytest.mark.parametrize(
    "demonstrations",
    [[], [SHOWN], [{**SHOWN, "answer": {SLOT: ["nonsense"]}}] * 2, [{**SHOWN, "answer": {SLOT: "x"}}] * 2, [{}], 7],
)
def test_a_card_without_its_demonstrations_is_refused(tmp_path: Path, demonstrations: Any) -> None:
    design = designs.make_design(demonstrations=1, labels="number")
    card = {**CARD, "task": "masa:d1", "design": dict(design.options), "demonstrations": demonstrations}
    (tmp_path / ADAPTER_CARD).write_text(json.dumps(card))
    predictor = Predictor.__new__(Predictor)
    with pytest.raises(UserError, match=ADAPTER_CARD):
        predictor.card, predictor.task, predictor.design = read_card(tmp_path), get_task("masa:d1"), design
        predictor._check_demonstrations(tmp_path)
