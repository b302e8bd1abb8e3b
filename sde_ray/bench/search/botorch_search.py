"""Contestant from outside: Bayesian optimisation by BoTorch with the defaults of Ax, where `botorch` is installed.

As Ax 1.3 does for unordered choice parameters: one-hot coding, `SingleTaskGP` with its own priors on standardised
scores, and the noisy expected improvement `qLogNoisyExpectedImprovement` (Ament et al. 2023); six random designs first;
no design twice; the recommendation is the tried design with the best posterior mean. Ax maximises the acquisition
function over a relaxed space and rounds; here it is maximised exactly, over all designs that were not tried, which is
better and, over 216 designs, far faster.

Not a dependency: python -m pip install botorch
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from sde_ray.bench.search.truth import Array, Truth
from sde_ray.errors import UserError
from sde_ray.search.kernel import DesignKernel
from sde_ray.types import Design

STARTUP_TRIALS = 6  # Ax: the centre of the space, then Sobol's points
REFIT_GROWTH = 1.25  # hyperparameters are estimated again when there are so many times as many scores, from the last
MAX_ITERATIONS = 40  # of L-BFGS-B for an estimate


def check_installed() -> None:
    """Raises UserError where botorch is not installed."""
    try:
        import botorch  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"The contestant botorch needs the package of that name, which is no dependency ({error}). "
            "Install it (python -m pip install botorch), or leave this method out."
        ) from None


def botorch_search(truth: Truth, costs: Sequence[int], seed: int, points: Sequence[Design] = ()) -> dict[int, Design]:
    """Search a truth; returns the design recommended at each cost."""
    check_installed()
    import torch

    warnings.filterwarnings("ignore", module="botorch|linear_operator|gpytorch")
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    codes = _one_hot(DesignKernel(truth.designs))
    tried: list[int] = []
    scores: list[float] = []
    chosen: dict[int, Design] = {}
    order = np.random.default_rng(seed).permutation(len(truth.designs))
    first = list(dict.fromkeys([*(truth.number[point] for point in points), *map(int, order)]))
    model: Any = None
    fitted = 0
    while len(tried) < min(max(costs), len(truth.designs)):
        number = first[len(tried)] if len(tried) < STARTUP_TRIALS else _best_untried(codes, tried, model)
        tried.append(number)
        scores.append(truth.report(truth.designs[number]))
        if len(tried) < STARTUP_TRIALS and len(tried) not in costs:
            continue
        is_due = len(tried) >= fitted * REFIT_GROWTH
        model = _model(codes[tried], scores, model, is_due)
        fitted = len(tried) if is_due else fitted
        if len(tried) in costs:
            mean = model.posterior(_tensor(codes[tried])).mean.detach().numpy()[:, 0]
            chosen[len(tried)] = truth.designs[tried[int(mean.argmax())]]
    return chosen


def _one_hot(kernel: DesignKernel) -> Array:
    """Designs in one-hot coding, [design, option of an axis]."""
    blocks = [np.eye(int(size))[kernel.codes[:, axis]] for axis, size in enumerate(kernel.sizes)]
    return np.concatenate(blocks, axis=1)


def _tensor(values: Any) -> Any:
    import torch

    return torch.tensor(np.asarray(values), dtype=torch.double)


def _model(codes: Array, scores: Sequence[float], earlier: Any, estimate: bool) -> Any:
    """Gaussian process of the scores. Its hyperparameters are those of an earlier one, or estimated from there on."""
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from gpytorch.mlls import ExactMarginalLogLikelihood

    model = SingleTaskGP(_tensor(codes), _tensor(scores)[:, None])
    if earlier is not None:
        own = model.outcome_transform.state_dict()  # the standardisation is that of these scores
        model.load_state_dict(earlier.state_dict(), strict=False)
        model.outcome_transform.load_state_dict(own)
    if estimate:
        options = {"options": {"maxiter": MAX_ITERATIONS}}
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model), optimizer_kwargs=options)
    return model.eval()


def _best_untried(codes: Array, tried: Sequence[int], model: Any) -> int:
    """Number of the untried design with the highest noisy expected improvement."""
    import torch
    from botorch.acquisition.logei import qLogNoisyExpectedImprovement
    from botorch.sampling.normal import SobolQMCNormalSampler

    untried = np.setdiff1d(np.arange(len(codes)), tried)
    sampler = SobolQMCNormalSampler(torch.Size([128]), seed=len(tried))
    acquisition = qLogNoisyExpectedImprovement(model, _tensor(codes[tried]), sampler=sampler, prune_baseline=True)
    with torch.no_grad():
        values = acquisition(_tensor(codes[untried])[:, None])
    return int(untried[int(values.argmax())])
