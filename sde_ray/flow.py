"""A whole study, top to bottom: plan, sweep, effects, strategy, validation, report. What `sde-ray run` does.

    outcome = run(load_config("sweeps/quickstart.yaml"), Story())

Each step leaves its file in the sweep's folder, and each is safe to repeat: what is finished is not done again.
"""

from __future__ import annotations

from sde_ray.config import SweepConfig, sweep_folder
from sde_ray.ledger import Ledger
from sde_ray.plan import Plan, plan


def ledger_of(config: SweepConfig) -> Ledger:
    return Ledger(sweep_folder(config) / "ledger.jsonl")


def plan_of(config: SweepConfig) -> Plan:
    """What the sweep would run, with what its ledger already has."""
    return plan(config, ledger_of(config).results())


def saved(config: SweepConfig) -> str:
    """What a stopped run leaves behind, in one sentence."""
    results = ledger_of(config).results().values()
    ended = sum(result.status != "failed" for result in results)
    return f"{ended} trials are saved in {ledger_of(config).path}."
