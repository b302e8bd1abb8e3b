"""What the pretraining of the embedded base minimises: answers, and two helps on the way for the layers below.

loss_of(model, rows, "cpu")                                   what counts at the end: used on held-out pairs
loss_of(model, rows, "cpu", early=True, previous=linear, turn=step)      with both helps: used in training
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

Row = tuple[list[int], list[float], bool]  # ids, how much the prediction of each counts, whether half-way too


def previous_loss(
    model: LlamaForCausalLM, previous: torch.nn.Module, first: torch.Tensor, ids: torch.Tensor, turn: int
) -> torch.Tensor:
    """How well the first layer tells the token before each (a quarter of the places, in turns).

    Copying goes by the token that came before: with that at hand after one layer, the layers above learn to copy within
    a million tokens; without it, six million were not enough.
    """
    places = torch.arange(1, ids.size(1), device=ids.device) % 4 == turn % 4
    behind = ids[:, 1:][:, places]
    before = ids[:, :-1][:, places]
    kept = (behind > 0) & (before > 2)
    told = model.lm_head(previous(model.model.norm(first[:, 1:][:, places][kept])))
    return torch.nn.functional.cross_entropy(told.float(), before[kept])


def loss_of(
    model: LlamaForCausalLM,
    rows: list[Row],
    device: str,
    early: bool = False,
    previous: torch.nn.Module | None = None,
    turn: int = 0,
) -> torch.Tensor:
    """Weighted mean negative log-likelihood; logits are computed only where a prediction counts.

    `early`: tagged clauses are predicted from the middle layer as well. So the meaning of a clause is there half-way
    up, and the upper layers are free to look it up; without this, looking up was not learnt in the time.
    """
    longest = max(len(row[0]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    weight, halfway = torch.zeros(len(rows), longest), torch.zeros(len(rows), longest)
    for i, (row, weights, tagged) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        weight[i, : len(row) - 1] = torch.tensor(weights[1:])
        if tagged:
            halfway[i, : len(row) - 1] = (weight[i, : len(row) - 1] > 1) * weight[i, : len(row) - 1]
    following = torch.roll(ids, -1, 1).to(device)
    states = model.model(
        input_ids=ids.to(device), use_cache=False, output_hidden_states=early
    )  # causal: no mask needed
    loss = _weighted(model.lm_head, states.last_hidden_state, following, weight.to(device))
    if early and halfway.any():
        middle = model.model.norm(states.hidden_states[model.config.num_hidden_layers // 2])
        loss = loss + 0.5 * _weighted(model.lm_head, middle, following, halfway.to(device))
    if previous is not None:
        loss = loss + 0.5 * previous_loss(model, previous, states.hidden_states[1], ids.to(device), turn)
    return loss


def _weighted(
    head: torch.nn.Module, hidden: torch.Tensor, following: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    kept = weight > 0
    losses = torch.nn.functional.cross_entropy(head(hidden[kept]).float(), following[kept], reduction="none")
    return (losses * weight[kept]).sum() / weight[kept].sum()
