"""Training: one trial on one group of workers that keep the base model.

runner.py            what a sweep needs of whatever runs its trials (a protocol)
trial_runner.py      one trial: write the samples, train rung by rung, decode, score; trial_state.py its state
evaluated_items.py   what a trial is scored on
curation.py          what a data or training axis does to a trial; preparation.py what it may use for that
worker_group.py      the processes of a trial; worker.py one of them
pack.py              a process that several trials share; seat_group.py a trial's seat in it, turns.py who computes
packed_training.py   their steps in common passes; local_engine.py the optimiser of each, random_state.py its draws
trainer.py           the loop over optimiser steps; batching.py which samples are in which step
federated_trainer.py  the loop of clients that share their adapters after each round
optimizer.py, neftune.py, gradient_checkpointing.py, compiled.py   what the settings of `train` of these names do
device_memory.py     what a trial needs of its device, computed from the model's configuration
micro_batch.py       into how many parts a step is cut, by the memory that is free
nodes.py             which of Ray's nodes are gone or will be taken away
deepspeed_engine.py  DeepSpeed's configuration, process group and gathered parameters
zero3.py             parameters that stay in shards while a model loads and decodes, and between trials
checkpoint.py        from which an interrupted trial resumes; engine_state.py what of the engine is in it
"""
