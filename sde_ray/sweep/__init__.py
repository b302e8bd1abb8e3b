"""Sweeps: many trials on Ray Tune.

plan.py  budget.py              which trials a configuration means, how many a search may use
queue.py  adaptive_queue.py     which trial is next
resume.py  stale.py             what a ledger is worth to a plan, what of it no longer fits
run.py                          the trials through Ray Tune
trainable.py  callback.py       Ray Tune's `Trainable` and `Callback`; tune_search.py its searchers and schedulers
progress.py                     what a person sees of it
cluster/                        Ray sessions, jobs, checks of nodes and machines
"""
