"""Event detection: the trigger words of a sentence by event type. MAVEN's ten types of the paper, or PHEE's two.

    rebels raided the harbour   ->   {"Attack": ("raided",)}
Bundled data (MAVEN's types) are made by this package; `events:phee` needs the user's copy of PHEE, and so does
`events:phee_arguments`, which asks for whole events: records of a trigger and who, what and to which effect.
"""

from __future__ import annotations

from sde_ray.tasks.bundled import Load, bundled, user_data_only
from sde_ray.tasks.nested_ner import METRICS
from sde_ray.tasks.relations import METRICS as RECORD_METRICS
from sde_ray.types import PromptNouns, RecordField, Task

MAVEN = (
    "Catastrophe", "Attack", "Hostile_encounter", "Causation", "Process_start",
    "Competition", "Motion", "Social_event", "Killing", "Conquering",
)  # fmt: skip
PHEE = ("Adverse_event", "Potential_therapeutic_event")


def _task(name: str, slots: tuple[str, ...], load: Load) -> Task:
    return Task(
        name=name,
        kind="span",
        language="en",
        slots=slots,
        nouns=PromptNouns(text="sentence", slot="type", value="trigger", rationale="reason"),
        instructions=(
            "Read the {text} {where} and list the trigger words of these event {slot}s: {slots}.",
            "Which words of the {text} {where} tell of an event of the {slot}s {slots}?",
            "This is event detection. The event {slot}s are {slots}; the {text} is {where}.",
        ),
        metrics=METRICS,
        objective="f1",
        load=load,
        wordings={"no_rationale": "none found"},
        span_match="near",
    )


PHEE_ARGUMENTS = Task(
    name="events:phee_arguments",
    kind="record",
    language="en",
    slots=PHEE,
    nouns=PromptNouns(text="sentence", slot="type", value="event", rationale="reason"),
    instructions=(
        "Read the {text} {where} and list its {value}s of the {slot}s {slots}.",
        "Which {value}s of the {slot}s {slots} does the {text} {where} tell of, and with whom?",
        "This is extraction of {value}s with their arguments. The {slot}s are {slots}; the {text} is {where}.",
    ),
    metrics=RECORD_METRICS,
    objective="field_f1",
    load=user_data_only("events:phee_arguments", "phee"),
    wordings={"no_rationale": "none found"},
    fields=dict.fromkeys(
        PHEE,
        (
            RecordField("trigger", "span"),
            *(RecordField(role, "span", optional=True, many=True) for role in ("subject", "treatment", "effect")),
        ),
    ),
)

TASKS = (
    _task("events", MAVEN, bundled("events", "all")),
    _task("events:phee", PHEE, user_data_only("events:phee", "phee")),
    PHEE_ARGUMENTS,
)
