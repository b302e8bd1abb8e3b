"""Datasets: published formats and the user's own files as examples, in splits that share no text.

    load_genia("genia/train.jsonl")                      -> [Example, ...]       one file of a published set
    open_dataset({"format": "genia", "path": "genia"}, base)("dev")              a task's `load`
    draw(examples, n, seed)                              -> the examples of a trial

`FORMATS` lists the formats, `synthetic` makes the bundled data.
"""

from sde_ray.data.asap import load_asap
from sde_ray.data.entityquestions import load_entityquestions
from sde_ray.data.format import Format
from sde_ray.data.formats import FORMATS
from sde_ray.data.genia import load_genia
from sde_ray.data.jsonl import load_jsonl
from sde_ray.data.mams import load_mams
from sde_ray.data.maven import load_maven
from sde_ray.data.phee import load_phee
from sde_ray.data.sampling import draw, eval_items, fingerprint
from sde_ray.data.schema import Schema, schema_of
from sde_ray.data.source import DatasetSource, open_dataset
from sde_ray.data.splits import Splits, separate

__all__ = [
    "FORMATS",
    "DatasetSource",
    "Format",
    "Schema",
    "Splits",
    "draw",
    "eval_items",
    "fingerprint",
    "load_asap",
    "load_entityquestions",
    "load_genia",
    "load_jsonl",
    "load_mams",
    "load_maven",
    "load_phee",
    "open_dataset",
    "schema_of",
    "separate",
]
