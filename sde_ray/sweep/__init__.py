"""Sweeps: many trials on Ray Tune.

sweep_run.py                    SweepRun: configuration, directory, plan, results and queue of one run
plan.py  contest.py  budget.py  which trials a configuration means, how many a search may use
points_to_evaluate.py           the designs that every search tries first, and the second seed of the first one
curation.py  train_size.py      what data and training axes mean for a plan
blocks.py  block_progress.py    a design's trials at every nuisance value, which a search takes as one
cost_estimate.py                characters, seconds and GPU hours of a plan
data_summary.py                 items, metric, over-long texts and odd labels of each task
device_memory.py                what trials need of a device's memory, told or refused
backend_check.py                whether vLLM can decode here
decoding_check.py               whether designs can be asked and decoded as they say
tokenizer_check.py              designs that a model's tokenizer cannot write
queue.py  adaptive_queue.py     which trial is next
resume.py  stale.py             which results of a ledger count for a plan, and which no longer do
run.py  tune_job.py             the trials through Ray Tune; signals.py stops them in order
opponents.py                    whom a trial races
trainable.py  callback.py       Ray Tune's `Trainable` and `Callback`; tune_search.py its searcher and schedulers;
                                failure_policy.py whether a trial whose process died goes on; tune_patches.py what
                                Tune does by it
progress.py  ray_metrics.py     what a person sees of it, and what Prometheus does
phase.py                        how far a run's driver has come
cluster/                        Ray sessions, jobs, checks of nodes and machines
"""
