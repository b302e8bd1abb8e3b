"""Facts behind closed-book questions: (subject, relation, object), and the sentences that the object completes.

    Example("P36.dev:1", "What is the capital of Pennsylvania?", {"answer": ("Harrisburg",)})
    Fact("P36.dev:1", relation="P36", subject="Pennsylvania", accepted=("Harrisburg",))
    prompts(fact, TEMPLATES, 2)   ["The capital of Pennsylvania is", "The capital city of Pennsylvania is called"]

The relation is what stands before the first dot of an example's id: in EntityQuestions the file (P36.dev.json), in data
of one's own whatever the ids begin with. The subject is what stands for `[X]` in the relation's question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sde_ray.data.completion_templates import SUBJECT, RelationTemplates
from sde_ray.data.entityquestions import subject
from sde_ray.data.sampling import shuffle
from sde_ray.errors import UserError
from sde_ray.types import Example

DRAW_SEED = 0  # of the facts that are measured where not all are


@dataclass(frozen=True)
class Fact:
    """A fact: `id` is that of its example; `accepted` is its object and the object's aliases."""

    id: str
    relation: str
    subject: str
    accepted: tuple[str, ...]


def relation_of(example_id: str) -> str:
    """The relation of an example: what its id begins with."""
    return example_id.split(".", 1)[0]


def facts_of(examples: Sequence[Example], templates: Mapping[str, RelationTemplates]) -> list[Fact]:
    """The facts that questions ask for, in their order.

    Raises UserError: for relations without templates, all at once; for a question that is not its relation's; for an
    example that is no question with one answer.
    """
    missing = Counter(relation_of(example.id) for example in examples)
    missing = Counter({relation: count for relation, count in missing.items() if relation not in templates})
    if missing:
        counts = ", ".join(f"{relation} ({count} facts)" for relation, count in missing.most_common(5))
        raise UserError(
            f"{len(missing)} relations have no completion templates: {counts}. A fact's relation is what its id begins "
            'with, up to a dot. Leave them out (the data option "relations"), or give templates of your own: a line '
            '{"relation": ..., "question": "Who wrote [X]?", "completions": ["[X] was written by", ...]} for each.'
        )
    return [_fact(example, templates[relation_of(example.id)]) for example in examples]


def with_aliases(examples: Sequence[Example], aliases: Mapping[str, Sequence[str]]) -> list[Example]:
    """Examples with further names of their answers, which `aliases` lists by the answer as the data write it."""
    return [_with_aliases(example, aliases) for example in examples] if aliases else list(examples)


def _with_aliases(example: Example, aliases: Mapping[str, Sequence[str]]) -> Example:
    more = {
        slot: tuple(dict.fromkeys([*example.aliases.get(slot, ()), *(n for v in values for n in aliases.get(v, ()))]))
        for slot, values in example.answer.items()
    }
    return replace(example, aliases={**example.aliases, **{slot: names for slot, names in more.items() if names}})


def _fact(example: Example, templates: RelationTemplates) -> Fact:
    if len(example.answer) != 1:
        raise UserError(f"{example.id} has {len(example.answer)} answers. A fact is a question with one answer.")
    ((slot, values),) = example.answer.items()
    accepted = tuple(dict.fromkeys((*values, *example.aliases.get(slot, ()))))
    return Fact(example.id, relation_of(example.id), subject(example.text, templates.question), accepted)


def prompts(fact: Fact, templates: Mapping[str, RelationTemplates], count: int) -> list[str]:
    """The first `count` templates of its relation, or all that there are, filled with the fact's subject."""
    return [template.replace(SUBJECT, fact.subject) for template in templates[fact.relation].completions[:count]]


def by_relation(examples: Sequence[Example], seed: int) -> dict[str, list[Example]]:
    """Examples by relation, in the order in which that seed draws them."""
    groups: dict[str, list[Example]] = {}
    for example in shuffle(examples, seed):
        groups.setdefault(relation_of(example.id), []).append(example)
    return dict(sorted(groups.items()))


def first_of_each_relation(examples: Sequence[Example], limit: int | None) -> list[Example]:
    """At most `limit` examples of each relation, the same for every model; None: all."""
    return [example for group in by_relation(examples, DRAW_SEED).values() for example in group[:limit]]
