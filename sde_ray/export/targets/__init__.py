"""The tools that an export is written for: a file each, and the table of them.

    openai.py         chat messages; a fine-tuning job of OpenAI's API, and of those that read its format
    sharegpt.py       conversations
    alpaca.py         instruction and output
    trl.py            token ids and loss mask; TRL's `trl sft`
    axolotl.py        segments with their loss flags; axolotl
    llama_factory.py  prompts as they are; LLaMA-Factory's `llamafactory-cli train`
    neutral.py        what the targets without a program of their own share
    framed.py         what those share that get whole prompts

A target is one function: the source in, files, notes and commands out. Those that write token ids or a model's own
begin and end tokens read its tokenizer; the others need nothing of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sde_ray.export.files import Export
from sde_ray.export.source import ExportSource
from sde_ray.export.targets import alpaca, axolotl, llama_factory, openai, sharegpt, trl

TARGETS: Mapping[str, Callable[[ExportSource], Export]] = {
    "openai": openai.export,
    "sharegpt": sharegpt.export,
    "alpaca": alpaca.export,
    "trl": trl.export,
    "axolotl": axolotl.export,
    "llama-factory": llama_factory.export,
}
