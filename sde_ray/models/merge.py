"""Merging an adapter into its base model on disk: one plain Hugging Face folder that any program loads.

    report = merge_adapter(find_adapter("runs/quickstart"), Path("merged"))
    report.difference                          0.00003: the largest of a logit of a prompt, before and after

The folder has the weights (safetensors), the tokenizer, a generation configuration that decodes greedily and stops
where the trial stops, and the adapter's card, so that `Predictor` and `sde-ray predict` take it like an adapter.
Its chat template frames a user's message as the training did: the model's own where that does so, else the frame
written out.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from sde_ray.config.names import trust_own_run_of
from sde_ray.design.asking import ask_in
from sde_ray.design.designs import parse_design
from sde_ray.errors import UserError
from sde_ray.models import merged_lora
from sde_ray.models.base import LoadedModel, load_base
from sde_ray.models.lora import load_adapter, remove_lora
from sde_ray.models.predictor import ADAPTER_CARD, AdapterCard, read_card, read_task, wants_trust
from sde_ray.models.tokenization import PLACEHOLDER, Encoder, Frame, bos_prefix
from sde_ray.safe_json import read_json
from sde_ray.storage.files import write_atomic

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.05}
"""How far the merged model's logits may be from the adapter's, by the weights' number format: the root mean square of
the differences, in standard deviations of the logits.

In half precision each merged weight is rounded once; a merge that went wrong is off by about 1.
"""
TEXT = "Great soup, but the waiter was rude; the price was fair."


@dataclass(frozen=True)
class MergeReport:
    """What a merge has come to, over the positions of a prompt.

    `difference`: the largest of a logit from the adapter's; `deviation`, `tolerance`: see `TOLERANCE`; `same_tokens`:
    at how many of the `positions` the likeliest token is the same.
    """

    folder: Path
    difference: float
    deviation: float
    tolerance: float
    same_tokens: int
    positions: int
    dtype: str


def merge_adapter(adapter: Path, out: Path, dtype: str = "auto", trust_remote_code: bool = False) -> MergeReport:
    """Merge an adapter into its base and write the sum as a folder of its own, whole or not at all.

    Args:
        adapter: a folder with its card.
        out: where the model goes; must not be there, or be empty.
        dtype: number format of the weights, as in `train.dtype`.
        trust_remote_code: run the base model's own code, if the adapter's card says that it needs it.

    Raises:
        UserError: for a quantised base, weights that are not finite, or a sum that does not answer as the adapter does.
    """
    card = read_card(adapter)
    trust_own_run_of(adapter)
    _refuse(card, adapter, out, trust_remote_code)
    loaded = load_base(card.model, card.trust_remote_code, dtype)
    encoder = Encoder(loaded.tokenizer, min(card.max_length, loaded.max_positions), card.chat_template, card.chat_frame)
    asking = ask_in(read_task(card), parse_design(card.design), card.demonstrations, card.instruction_variant)
    (ids,) = encoder.prompts(asking.prompts("merge", TEXT)[:1], card.max_new_tokens)
    peft_model = load_adapter(loaded.model, adapter)
    with torch.no_grad():
        expected = _logits(peft_model, ids)
        model = _merged(peft_model)
    _check_finite(model, adapter)
    new = out.with_name(out.name + ".new")
    shutil.rmtree(new, ignore_errors=True)
    try:
        _save(model, loaded, card, encoder.frame, adapter, new)
        del model, peft_model
        weights = str(next(loaded.model.parameters()).dtype).removeprefix("torch.")
        loaded.model.to("meta")  # not twice in memory
        gc.collect()
        report = _compare(new, out, ids, expected, weights, card)
        if out.is_dir():
            out.rmdir()
        os.replace(new, out)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return report


def _refuse(card: AdapterCard, adapter: Path, out: Path, trust_remote_code: bool) -> None:
    if card.merged:
        raise UserError(f"{adapter} is merged already: use it as it is.")
    if card.quantization != "none":
        raise UserError(
            f"The adapter in {adapter} was trained on a base in {card.quantization}, and answers beside that one; its "
            "sum with the weights in full precision is another model. Keep it as an adapter (`sde-ray predict`), or "
            "train with train.quantization: none."
        )
    wants_trust(card, adapter, trust_remote_code)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already. Give a new folder: --out DIR.")
    if not out.absolute().parent.is_dir():
        raise UserError(f"{out.absolute().parent} is no folder. Make it, or give another --out.")


def _merged(peft_model: PeftModel) -> Any:
    """The base with the adapter in its weights: as decoding merges it, else as peft does (DoRA, modules to save)."""
    layers = merged_lora.mergeable_layers(peft_model)
    if not layers:
        try:
            return peft_model.merge_and_unload(safe_merge=True)
        except (ValueError, NotImplementedError) as error:
            raise UserError(f"peft cannot merge this adapter: {error} Keep it as an adapter.") from error
    for layer in layers:
        weight = layer.get_base_layer().weight
        weight.data = merged_lora.merged_weight(weight.data, layer)
    return remove_lora(peft_model)


def _check_finite(model: Any, adapter: Path) -> None:
    bad = next((name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())), None)
    if bad is not None:
        raise UserError(
            f"The sum of {adapter} and its base is not finite ({bad}): the training has diverged, or the number format "
            "is too small. Merge in --dtype float32, or take another adapter."
        )


def _save(model: Any, loaded: LoadedModel, card: AdapterCard, frame: Frame | None, adapter: Path, folder: Path) -> None:
    tokenizer = loaded.tokenizer
    settings = model.generation_config
    ids = list(loaded.eos_token_ids)
    settings.eos_token_id = ids if len(ids) > 1 else ids[0]
    settings.pad_token_id = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    settings.do_sample, settings.temperature, settings.top_p, settings.top_k = False, None, None, None
    if next(model.parameters()).device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # saving imports DeepSpeed, which would warn that it found none
    model.save_pretrained(str(folder), safe_serialization=True)
    if not _frames_so(tokenizer, frame):
        tokenizer.chat_template = frame_template(tokenizer, frame)
    tokenizer.save_pretrained(str(folder))
    values = {**read_json((adapter / ADAPTER_CARD).read_bytes()), "merged": True}
    if frame is None:  # the template that is there now is for others
        values["chat_template"] = "off"
    write_atomic(folder / ADAPTER_CARD, json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def _frames_so(tokenizer: Any, frame: Frame | None) -> bool:
    """Whether the tokenizer's own chat template, as any program uses it on any day, frames a message like this."""
    from jinja2 import TemplateError

    template = getattr(tokenizer, "chat_template", None)
    if frame is None or not template or "strftime_now" in str(template):
        return False
    message = [{"role": "user", "content": PLACEHOLDER}]
    try:
        rendered = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    except (TemplateError, ValueError):
        return False
    return bool(rendered == frame[0] + PLACEHOLDER + frame[1])


def frame_template(tokenizer: Any, frame: Frame | None) -> str:
    """A chat template that frames the last message as the training did; without a frame it begins as plain texts do."""
    begin = "".join(tokenizer.convert_ids_to_tokens(list(bos_prefix(tokenizer))))
    before, after = frame or (begin, "")
    quoted = [json.dumps(text, ensure_ascii=False) for text in (before, after)]
    return f"{{{{ {quoted[0]} + messages[-1]['content'] + {quoted[1]} }}}}"


def _compare(
    new: Path, out: Path, ids: tuple[int, ...], expected: torch.Tensor, dtype: str, card: AdapterCard
) -> MergeReport:
    """What the folder answers, loaded as anybody would, against the adapter."""
    again = load_base(str(new), card.trust_remote_code, dtype)
    with torch.no_grad():
        logits = _logits(again.model, ids)
    difference = float((logits - expected).abs().max())
    deviation = float((logits - expected).square().mean().sqrt() / expected.std())
    tolerance = TOLERANCE[next(again.model.parameters()).dtype]
    same = int((logits.argmax(-1) == expected.argmax(-1)).sum())
    if not deviation <= tolerance:
        raise UserError(
            f"The merged model does not answer as the adapter does: its logits are off by {deviation:.3g} standard "
            f"deviations, one by {difference:.3g}; {tolerance:g} is allowed in {dtype}. Nothing was written. Merge in "
            "--dtype float32, or keep the adapter."
        )
    return MergeReport(out, difference, deviation, tolerance, same, len(ids), dtype)


def _logits(model: Any, ids: tuple[int, ...]) -> torch.Tensor:
    """[positions, vocabulary] in float32, on the CPU."""
    where = next(model.parameters()).device
    logits: torch.Tensor = model(input_ids=torch.tensor([ids], device=where), use_cache=False).logits[0]
    return logits.float().cpu()
