"""Names of the files and folders in a run's directory; `RunDirectory` makes paths of them.

runs/<sweep>/  sweep.yaml · resolved.json · ledger.jsonl · strategy.yaml · validation.json · report.html
               trials/<key>/  config.json · predictions.jsonl · scores.json · result.json · adapter/
"""

from __future__ import annotations

# Of the run.
SWEEP, RESOLVED = "sweep.yaml", "resolved.json"  # the configuration, sparse and complete
LEDGER = "ledger.jsonl"
LEDGER_OBJECTS = "ledger"  # in a remote storage: one object a result, of which the file is the index
TRIALS = "trials"
STRATEGY, VALIDATION, ADAPTER = "strategy", "validation", "adapter"  # with what tells several tasks and models apart
REPORT = "report.html"
PHASE = "phase.json"  # how far the run's driver has come
ANALYSIS, ROBUSTNESS = "analysis", "robustness"  # .json, .svg, and .jsonl for what is measured once
MEMORY = "memory"  # .json, and .jsonl for what is measured once
TUNE = ".tune"  # Ray Tune's own files, deleted when it ends
ITEMS = ".items"  # counts by item that were made once; of this machine

# Of a trial.
CONFIG, SCORES, ERROR = "config.json", "scores.json", "error.txt"
RESULT, PARTIAL = "result.json", "partial.json"
CHECKPOINT = "checkpoint.json"
TRAIN_LOG = "train_log.jsonl"  # loss and learning rate by step
PREDICTIONS = "predictions.jsonl"  # of the last rung


def predictions_name(rung: int | None = None) -> str:
    """The file with the completions of a rung; `None`: of the last one."""
    return PREDICTIONS if rung is None else f"predictions.{rung}.jsonl"
