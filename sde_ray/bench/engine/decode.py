"""Tokens a second of our decoding and of transformers' `generate`, each at its best batch size, same adapter and items.

    compare(items=128, model="tiny", dtypes=["float32"]) ─▶ {"settings", "rows", "equality", "by_batch_size"}

The adapter is trained first, by the plain script, so that answers have the length that a trial's have. Each way is
measured at every batch size and then repeated at its own best one. Without Ray and DeepSpeed, so also on a bare GPU.
A model whose answers are all of the full length (an untrained base) is measured as such: `mean_new_tokens` says so.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sde_ray.bench.engine import plain_script
from sde_ray.bench.engine.measurement import Measurement, batch_sizes_for, best_batch_size, ratio, timed
from sde_ray.bench.engine.settings import keep_quiet, settings
from sde_ray.bench.engine.work import LORA, TASK, Job, Size, make_job, make_trials

BATCH_SIZES = (1, 8, 32, 64, 128)
DTYPES = ("float32", "bfloat16")
DESIGN = 1  # es-sde, one line an aspect: a usual length of answers
Tokens = list[list[int]]
Generate = Callable[[int], Tokens]  # the new tokens of all prompts, in batches of a size
Say = Callable[[str], None]


@dataclass(frozen=True)
class Decoded:
    """One way, measured: tokens a second by batch size, repeats at the best one, and its tokens."""

    by_batch_size: dict[int, float]
    rate: Measurement
    tokens: Tokens

    @property
    def best(self) -> int:
        return best_batch_size(self.by_batch_size)


def compare(
    *,
    items: int = 128,
    train_size: int = 80,
    model: str = "tiny",
    dtypes: Sequence[str] = DTYPES,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    repeats: int = 3,
    threads: int = 1,
    say: Say = lambda line: None,
) -> dict[str, Any]:
    """Measure every number format, with the adapter merged into the weights and beside them."""
    import torch

    torch.set_num_threads(threads)
    keep_quiet()
    sizes = batch_sizes_for(batch_sizes, items)
    rows: list[Measurement] = []
    equality: list[dict[str, Any]] = []
    scans: dict[str, dict[int, float]] = {}
    for dtype in dtypes:
        trial = make_trials(Size(DESIGN + 1, train_size, items), model, 0, dtype)[DESIGN]
        job = make_job(trial, threads=threads)
        decoded = measure(ways(job), sizes, repeats, _prefixed(say, dtype))
        rows += [replace(row, name=f"{dtype}: {row.name}") for row in summary(decoded)]
        equality += [{"ways": f"{dtype}: {one}, {two}", **equal_rows(decoded[one], decoded[two])} for one, two in EQUAL]
        scans |= {f"{dtype}: {way}": one.by_batch_size for way, one in decoded.items()}
    return {
        "settings": settings(
            task=TASK,
            model=model,
            items=items,
            train_size=train_size,
            mean_prompt_tokens=job.work.prompt_tokens / items,
            max_new_tokens=job.data["max_new_tokens"],
            lora_r=LORA.r,
            target_modules=LORA.target_modules,
            threads=threads,
            repeats=repeats,
            batch_sizes=sizes,
        ),
        "rows": [row.to_dict() for row in rows],
        "equality": equality,
        "by_batch_size": scans,
    }


def _prefixed(say: Say, dtype: str) -> Say:
    return lambda line: say(f"{dtype}, {line}")


TRIAL = "ours as in a trial"
GENERATE = ("generate merged", "generate unmerged")
OWN = ("ours merged", "ours unmerged")
EQUAL = (*zip(OWN, GENERATE, strict=True), (TRIAL, "generate unmerged"))  # pairs that must give the same tokens


def ways(job: Job) -> dict[str, Generate]:
    """Each way to decode the items of a job with an adapter that is trained here first."""
    data = dict(job.data)
    base, tokenizer = plain_script.load(data)
    peft_model, _ = plain_script.train(base, tokenizer, plain_script.tokenize(data["train"], tokenizer), data)
    begin = plain_script.begin(tokenizer)
    prompts = [[*begin, *plain_script.encode(item["prompt"], tokenizer)] for item in data["items"]]
    rest = (tokenizer, prompts, data["max_new_tokens"])
    merged = copy.deepcopy(peft_model).merge_and_unload()
    return {
        "generate merged": partial(plain_script.generate, merged, *rest),
        "generate unmerged": partial(plain_script.generate, peft_model, *rest),
        "ours merged": partial(_own_generate, merged, *rest),
        "ours unmerged": partial(_own_generate, peft_model.get_base_model(), *rest),  # its layers carry the adapter
        TRIAL: partial(_trial_generate, peft_model, *rest),
    }


def _own_generate(
    model: Any, tokenizer: Any, prompts: Tokens, max_new_tokens: int, batch_size: int, *, share_prefix: bool = False
) -> Tokens:
    from sde_ray.models import generation
    from sde_ray.models.tokenization import pad_token_id

    return generation.generate(
        model,
        prompts,
        eos_token_ids=plain_script.end_tokens(model, tokenizer),
        pad_token_id=pad_token_id(tokenizer),
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        share_prefix=share_prefix,
    )


def _trial_generate(peft_model: Any, *rest: Any) -> Tokens:
    """Merged where the adapter allows it, and common beginnings read once, as in a trial."""
    from sde_ray.models.merged_lora import merged_lora

    with merged_lora(peft_model) as model:
        return _own_generate(model, *rest, share_prefix=True)  # type: ignore[misc] # it is none of the rest


def measure(
    generators: Mapping[str, Generate], batch_sizes: Sequence[int], repeats: int, say: Say
) -> dict[str, Decoded]:
    """Tokens a second of each way: once at every batch size; then at the best one, the ways by turns."""
    scans: dict[str, dict[int, float]] = {}
    for way, generate in generators.items():
        generate(max(batch_sizes))  # the first one sets up the libraries
        scans[way] = {size: _rate(generate, size)[0] for size in batch_sizes}
        say(f"{way}: {max(scans[way].values()):.0f} tokens/s in batches of {best_batch_size(scans[way])}.")
    runs = [{way: _rate(one, best_batch_size(scans[way])) for way, one in generators.items()} for _ in range(repeats)]
    return {
        way: Decoded(scan, Measurement(way, "tokens/s", tuple(run[way][0] for run in runs)), runs[0][way][1])
        for way, scan in scans.items()
    }


def _rate(generate: Generate, batch_size: int) -> tuple[float, Tokens]:
    seconds, tokens = timed(lambda: generate(batch_size))
    return sum(map(len, tokens)) / seconds, tokens


def summary(decoded: Mapping[str, Decoded]) -> list[Measurement]:
    """Rates and their ratios; a trial of ours against the faster one of `generate` merged and unmerged."""
    rates = {way: one.rate for way, one in decoded.items()}
    faster = max(GENERATE, key=lambda way: rates[way].median)
    pairs = [*zip(OWN, GENERATE, strict=True), (TRIAL, faster)]
    return [*rates.values(), *(ratio(f"{one} / {two}", rates[one], rates[two]) for one, two in pairs)]


def equal_rows(ours: Decoded, theirs: Decoded) -> dict[str, Any]:
    """How many items have the same tokens, all of them; and how long they are."""
    equal = sum(one == other for one, other in zip(ours.tokens, theirs.tokens, strict=True))
    count = len(ours.tokens)
    return {
        "equal_items": equal,
        "items": count,
        "mean_new_tokens": sum(map(len, ours.tokens)) / count,
        "batch_size_ours": ours.best,
        "batch_size_generate": theirs.best,
    }
