"""Table of data formats: a reader of files, a converter of records, and what the published set holds.

    FORMATS["genia"](path) -> [Example(...), ...]        FORMATS["jsonl"](path, schema) -> [Example(...), ...]

A new format is one file with a `Format` and its row here. Records from the hub pass through the same converter.
`recognition.py` tells which format a file has.
"""

from __future__ import annotations

from sde_ray.data.alpaca import ALPACA, PROMPT_COMPLETION
from sde_ray.data.asap import ASAP
from sde_ray.data.bio import BIO
from sde_ray.data.entityquestions import ENTITYQUESTIONS
from sde_ray.data.format import Format
from sde_ray.data.genia import GENIA
from sde_ray.data.jsonl import CSV, JSONL
from sde_ray.data.label_studio import LABEL_STUDIO
from sde_ray.data.magellan import MAGELLAN
from sde_ray.data.mams import MAMS
from sde_ray.data.maven import MAVEN
from sde_ray.data.messages import MESSAGES
from sde_ray.data.offsets import OFFSETS
from sde_ray.data.phee import PHEE
from sde_ray.data.table_rows import CELLS, ROWS

FORMATS: dict[str, Format] = {
    # the user's own
    "jsonl": JSONL,
    "csv": CSV,
    "parquet": JSONL,
    "table": JSONL,
    "messages": MESSAGES,
    "sharegpt": MESSAGES,
    "alpaca": ALPACA,
    "prompt_completion": PROMPT_COMPLETION,
    "label_studio": LABEL_STUDIO,
    "offsets": OFFSETS,
    "bio": BIO,
    # published sets
    "mams": MAMS,
    "asap": ASAP,
    "genia": GENIA,
    "phee": PHEE,
    "maven": MAVEN,
    "entityquestions": ENTITYQUESTIONS,
    # tables
    "magellan": MAGELLAN,
    "cells": CELLS,
    "rows": ROWS,
}
OTHER_NAMES: dict[str, str] = {
    "json": "jsonl",
    "tsv": "csv",
    "arrow": "parquet",
    "openai": "messages",
    "chat": "messages",
    "chatml": "messages",
    "conversation": "messages",
    "conversational": "messages",
    "vicuna": "sharegpt",
    "dolly": "alpaca",
    "instruction": "alpaca",
    "trl": "prompt_completion",
    "completion": "prompt_completion",
    "labelstudio": "label_studio",
    "conll": "bio",
    "iob": "bio",
    "bioes": "bio",
    "ner": "bio",
    "spacy": "offsets",
    "doccano": "offsets",
    "prodigy": "offsets",
    "entities": "offsets",
    "ditto": "magellan",
    "deepmatcher": "magellan",
    "entity_matching": "magellan",
}
"""Names that other tools give to these formats."""
