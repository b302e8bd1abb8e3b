"""Pipelines: whole procedures, as the commands run them.

run.py                 plan, sweep, effects, strategy, validation, report: `sde-ray run`
context.py             what the steps of a run share
listener.py            PipelineListener, the callbacks of a run
validation_trials.py   which trials the final comparison runs
open_run.py            Run: a run in a notebook, its results as pandas frames
status.py              how a run is doing, from its folder
notification.py        what is told of its end; hooks.py to whom: a program, a webhook
preview.py             samples to read before anything trains
comparison.py          what of a sweep is compared on MLflow's page
mlflow_sync.py         MLflow brought up to date from a run's ledger
robustness/            the strategy over sizes, decoding and wordings
prompting/             what the untuned model makes of each design
memory_study/          how well the untuned model knows the facts of a closed-book sweep
"""
