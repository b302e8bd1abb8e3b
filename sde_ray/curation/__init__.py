"""Curation: what the axes of the stages data and training do to a trial, a file for each method.

filter.py    samples of the best texts only; filter_rules.py what is dropped beside the worst
balance.py   each label equally often
mix.py       a share of another task's samples
augment/     examples that a teacher model writes, for what the student gets wrong
repeat.py    fewer samples, more often, at the same number of steps
mixup.py     pairs of confident and unconfident samples, mixed in the last layer as a regulariser
memory/      memory levels of facts: how well the untuned model knows them
federated.py federated averaging of clients' adapters, and clients that train alone
clients.py   which client has which sample
pairs.py     pairs of axes that one trial cannot have

An axis is declared in `design/data.py` or `design/training.py`, its settings in `config/curation.py`; the interface is
`Method` in `training/curation.py`. Nothing here imports a heavy library at module level.
"""
