"""Clients of a federated training: which of them has which sample.

    assign(examples, task, clients=3, split="dirichlet 0.5", seed=0)  ─▶  [(0, 3, 4, ...), (1, 7), (2, 5, 6, ...)]

- `iid`             dealt in turn, in the order of the draw
- `field NAME`      by the value of a slot, or (`field id`) by what ids begin with, up to a dot; where there are more
                    values than clients, each value, the commonest first, goes to the client with the fewest samples
- `dirichlet ALPHA` for each label the clients' shares are drawn from a Dirichlet distribution, all of them anew until
                    every client has a sample (FederatedScope-LLM, 2309.00363; Fed-Dolly has ALPHA 0.5)

All is a function of the samples, in their order, and of the seed. A client has its samples in the order of the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from random import Random

from sde_ray.config.curation import parse_split
from sde_ray.errors import UserError, unknown
from sde_ray.types import Example, Task

Client = tuple[int, ...]

ID = "id"  # the field that is no slot
ATTEMPTS = 1000  # draws of a Dirichlet split


def check_field(task: Task, split: str) -> str:
    """Why the task has no such split, or ""."""
    _, _, field = parse_split(split)
    known = [*task.slots, ID]
    return "" if not field or field in known else f'split "{split}": {unknown("field", field, known)}'


def assign(examples: Sequence[Example], task: Task, *, clients: int, split: str, seed: int) -> list[Client]:
    """The indices of each client's examples, ascending.

    Raises:
        UserError: when a client would have none.
    """
    if clients > len(examples):
        raise UserError(
            f"federated: {clients} clients share {len(examples)} samples, and each needs one. Set "
            f"curation.federated.clients to {len(examples)} at most, or train_sizes higher."
        )
    kind, alpha, field = parse_split(split)
    if kind == "iid":
        return [tuple(range(client, len(examples), clients)) for client in range(clients)]
    values = [_value(example, task, field) for example in examples]
    groups = {value: [n for n, other in enumerate(values) if other == value] for value in sorted(set(values))}
    if kind == "field":
        return _by_value(groups, clients, split)
    return _dirichlet(groups, clients, alpha, seed)


def _value(example: Example, task: Task, field: str) -> str:
    """The value of a field; without one the label of the example, with several slots the first that it names."""
    if field == ID:
        return example.id.partition(".")[0]
    if not field and len(task.slots) > 1:
        return next((slot for slot in task.slots if example.answer.get(slot)), "")
    return ", ".join(sorted(example.answer.get(field or task.slots[0], ())))


def _by_value(groups: dict[str, list[int]], clients: int, split: str) -> list[Client]:
    if len(groups) < clients:
        shown = ", ".join(value or "(none)" for value in list(groups)[:10])
        raise UserError(
            f'federated: split "{split}" has {len(groups)} values in these samples ({shown}), so that of {clients} '
            f"clients {clients - len(groups)} would have none. Set curation.federated.clients to {len(groups)} at most."
        )
    parts: list[list[int]] = [[] for _ in range(clients)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(parts, key=len).extend(group)
    return [tuple(sorted(part)) for part in parts]


def _dirichlet(groups: dict[str, list[int]], clients: int, alpha: float, seed: int) -> list[Client]:
    random = Random(f"clients {seed}")
    for _ in range(ATTEMPTS):
        parts: list[list[int]] = [[] for _ in range(clients)]
        for group in groups.values():
            order = random.sample(group, len(group))
            weights = [random.gammavariate(alpha, 1.0) for _ in range(clients)]
            if not any(weights):  # so low an alpha that all are rounded to 0: one client has it all
                weights[random.randrange(clients)] = 1.0
            cuts = [0, *(int(weight / sum(weights) * len(order)) for weight in accumulate(weights))]
            cuts[-1] = len(order)  # whatever rounding has made of it
            for part, first, last in zip(parts, cuts, cuts[1:], strict=False):
                part += order[first:last]
        if all(parts):
            return [tuple(sorted(part)) for part in parts]
    raise UserError(
        f"federated: in {ATTEMPTS} draws of dirichlet {alpha:g} a client was without samples, of {clients} clients and "
        f"{sum(map(len, groups.values()))} samples. Raise alpha, or lower curation.federated.clients."
    )
