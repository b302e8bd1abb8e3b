"""A Modelfile for Ollama: a merged model with the prompt that it was trained on, so that a user types the text only.

    FROM .
    TEMPLATE \"\"\"Read the review below ...
    ---
    {{ .Prompt }}
    Output: {{ .Response }}\"\"\"
    PARAMETER stop "</s>"

Instruction, cue and chat template stand in TEMPLATE; the begin token does not, as llama.cpp adds it. What stands in a
template is Go's template language inside three quotes, so braces, runs of quotes and control characters are written as
Go strings. https://docs.ollama.com/modelfile
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from sde_ray.design.designs import paper_label, parse_design
from sde_ray.errors import UserError
from sde_ray.export.model_card import prompt_parts
from sde_ray.export.settings import decoding_notes
from sde_ray.models.predictor import read_card, read_task
from sde_ray.storage.files import write_atomic

MODELFILE = "Modelfile"
USER_TEXT, ANSWER = "{{ .Prompt }}", "{{ .Response }}"
# What would end the three quotes, open an action, or not come through a file of lines as it is.
_SPECIAL = re.compile(r'\{+|"{2,}|^"|"$|[\x00-\x08\x0b-\x1f\x7f\ufeff\u2028\u2029\x85]')


def go_text(text: str) -> str:
    """A literal text in a Go template between three quotes: what it prints is `text`."""
    return _SPECIAL.sub(lambda match: f"{{{{ {go_string(match[0])} }}}}", text)


def go_string(text: str) -> str:
    """A Go string in double quotes; it never holds three quotes in a row."""
    return json.dumps(text)


def modelfile_string(text: str) -> str:
    """A value of a PARAMETER line."""
    return f'"{text}"' if '"' not in text else f'"""{text}"""'


def modelfile(
    before: str, after: str, *, stop: tuple[str, ...], max_new_tokens: int, context: int, notes: tuple[str, ...] = ()
) -> str:
    """The Modelfile of a model whose prompt is `before`, the user's text, `after`; FROM is the folder it lies in."""
    template = f"{go_text(before)}{USER_TEXT}{go_text(after)}{ANSWER}"
    parameters = [
        *(f"stop {modelfile_string(text)}" for text in stop),
        "temperature 0",
        f"num_predict {max_new_tokens}",
        f"num_ctx {context}",
    ]
    lines = [*(f"# {line}" for note in notes for line in note.splitlines()), "FROM .", f'TEMPLATE """{template}"""']
    return "\n".join([*lines, *(f"PARAMETER {one}" for one in parameters)]) + "\n"


def write_modelfile(folder: Path) -> Path:
    """Write the Modelfile of a merged model into its folder, from its card and its tokenizer."""
    from sde_ray.models.base import load_tokenizer
    from sde_ray.models.tokenization import bos_prefix

    card = read_card(folder)
    task, design = read_task(card), parse_design(card.design)
    tokenizer = load_tokenizer(str(folder), card.trust_remote_code)
    begin = "".join(tokenizer.convert_ids_to_tokens(list(bos_prefix(tokenizer))))
    (before, after), *more = prompt_parts(card, task, design)
    if more:
        raise UserError(
            f"{design.slug} asks a text in {len(more) + 1} prompts, and a Modelfile has one. Use `sde-ray serve`, or "
            "merge without --ollama."
        )
    before = before.removeprefix(begin)
    notes = (
        f"{paper_label(design)}: {task.name}, trained on {card.model}.",
        "The user's message is the text alone. Ollama loads the folder itself for the architectures that it knows; for "
        "others convert it with llama.cpp (convert_hf_to_gguf.py) and say FROM ./model.gguf.",
        *decoding_notes(design),
    )
    text = modelfile(
        before,
        after,
        stop=(str(tokenizer.eos_token),),
        max_new_tokens=card.max_new_tokens,
        context=card.max_length,
        notes=notes,
    )
    write_atomic(folder / MODELFILE, text)
    return folder / MODELFILE
