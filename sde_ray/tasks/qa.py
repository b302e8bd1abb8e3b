"""Questions with one short answer: the text is the question, with or without a passage before it.

Bundled data are made passages, each with a question; the user's own are read in the format of EntityQuestions (closed
book) or as JSONL. An answer is right where it matches the gold answer or one of its aliases.

qa:location@PATH     of EntityQuestions the ten relations of places, as the second paper trains on (PAPER.md 2.3)
qa:other@PATH        its other relations, which are out-of-domain for the first
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sde_ray.data.entityquestions import LOCATION, OTHER
from sde_ray.tasks.bundled import bundled, user_data_only
from sde_ray.types import PromptNouns, Task

SLOTS = ("answer",)


TASK = Task(
    name="qa",
    kind="free",
    language="en",
    slots=SLOTS,
    nouns=PromptNouns(text="question", slot="field", value="value", rationale="reason"),
    instructions=(
        "Answer the {text} {where}.",
        "What is the answer to the {text} {where}? Give it in few words.",
        "You see a {text} {where}; reply with its answer only.",
    ),
    metrics=("accuracy", "exact_match"),
    objective="accuracy",
    load=bundled("qa", "all"),
    placeholder="unknown",
    wordings={
        "placeholder": "If there is no answer, write: {entry}",
        "omit": "If there is no answer, write: {marker}",
        "no_rationale": "the text does not tell",
    },
)

RELATIONS: Mapping[str, tuple[str, ...]] = {"qa:location": LOCATION, "qa:other": OTHER}
"""Relations of EntityQuestions by the task that asks for them."""


def _closed_book(name: str, sibling: str) -> Task:
    return replace(TASK, name=name, load=user_data_only(name, "entityquestions"), domains=(sibling,))


TASKS = (TASK, _closed_book("qa:location", "qa:other"), _closed_book("qa:other", "qa:location"))
