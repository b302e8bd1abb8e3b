"""Pretraining loss of the embedded base: weighted cross-entropy of the answers, with two auxiliary losses.

pretraining_loss(model, rows, "cpu")                                 cross-entropy alone, for held-out pairs
pretraining_loss(model, rows, "cpu", early=True, previous=linear, turn=step)      with both auxiliary losses
"""

from __future__ import annotations

import torch
from transformers import LlamaForCausalLM

# Token ids, the loss weight of each, and whether it is predicted from the middle layer, too.
WeightedTokens = tuple[list[int], list[float], bool]


def previous_token_loss(
    model: LlamaForCausalLM, previous: torch.nn.Module, first: torch.Tensor, ids: torch.Tensor, turn: int
) -> torch.Tensor:
    """Auxiliary loss: the first layer predicts the previous token (at a quarter of the positions, in turns).

    Copying needs the token that came before (induction heads): where it is available after one layer, the layers above
    learn to copy within a million tokens; without it, six million were not enough.
    """
    positions = torch.arange(1, ids.size(1), device=ids.device) % 4 == turn % 4
    tokens = ids[:, 1:][:, positions]
    preceding = ids[:, :-1][:, positions]
    mask = (tokens > 0) & (preceding > 2)
    logits = model.lm_head(previous(model.model.norm(first[:, 1:][:, positions][mask])))
    return torch.nn.functional.cross_entropy(logits.float(), preceding[mask])


def pretraining_loss(
    model: LlamaForCausalLM,
    rows: list[WeightedTokens],
    device: str,
    early: bool = False,
    previous: torch.nn.Module | None = None,
    turn: int = 0,
) -> torch.Tensor:
    """Weighted mean negative log-likelihood; logits are computed only where a prediction counts.

    `early`: tagged clauses are predicted from the middle layer as well (deep supervision). So the meaning of a clause
    is available half-way up, and the upper layers are free to look it up; without this, looking up was not learnt in
    the time.
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
        loss = loss + 0.5 * previous_token_loss(model, previous, states.hidden_states[1], ids.to(device), turn)
    return loss


def _weighted(
    head: torch.nn.Module, hidden: torch.Tensor, following: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    mask = weight > 0
    losses = torch.nn.functional.cross_entropy(head(hidden[mask]).float(), following[mask], reduction="none")
    return (losses * weight[mask]).sum() / weight[mask].sum()
