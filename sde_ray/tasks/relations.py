"""Relations between people, places, firms and works: records of head, relation, tail, and the year where one is told.

    Ada Kern wrote The Old Mill in 1912.   ->   {"head": "Ada Kern", "relation": "wrote", "tail": "The Old Mill", ...}
Bundled data are made by this package; `relations:d2` has other relations and is out-of-domain for `relations:d1`.
"""

from __future__ import annotations

from sde_ray.data.synthetic.relations import D1, D2
from sde_ray.tasks.bundled import bundled
from sde_ray.types import PromptNouns, RecordField, Task

METRICS = ("record_f1", "field_f1", "precision", "recall", "exact_match")


def _task(domain: str, sibling: str, relations: tuple[str, ...]) -> Task:
    return Task(
        name=f"relations:{domain}",
        kind="record",
        language="en",
        slots=("relation",),
        nouns=PromptNouns(text="sentence", slot="type", value="record", rationale="evidence"),
        instructions=(
            "Read the {text} {where} and list every {slots} that it tells of.",
            "Which {slots}s between people, places, firms and works does the {text} {where} tell of?",
            "This is extraction of each {slots}; the {text} is {where}.",
        ),
        metrics=METRICS,
        objective="record_f1",
        load=bundled("relations", domain),
        domains=(f"relations:{sibling}",),
        wordings={
            "placeholder": "If there is none, write: {entry}",
            "omit": "If there is none, write: {marker}",
            "no_rationale": "none told",
        },
        fields={
            "relation": (
                RecordField("head", "span"),
                RecordField("relation", "label", relations),
                RecordField("tail", "span"),
                RecordField("year", "integer", optional=True),
            )
        },
    )


TASKS = (_task("d1", "d2", D1), _task("d2", "d1", D2))
