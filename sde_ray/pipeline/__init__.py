"""Pipelines: whole procedures, as the commands run them.

run.py                 plan, sweep, effects, strategy, validation, report: `sde-ray run`
context.py             what the steps of a run share, and who listens
preview.py             samples to read before anything trains
mlflow_sync.py         MLflow caught up with a run's ledger
robustness/            the strategy over sizes, decoding and wordings
prompting/             what the untuned model makes of each design
"""
