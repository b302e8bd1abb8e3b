"""Evaluation: completions on disk become scores, item by item; no model is loaded here.

predictions.py        a trial's completions on disk: the writer and the reader
per_item.py           counts by item, bootstrap weights, jackknife influence
item_cache.py         counts that were made once, kept in the run's folder
batch_retries.py      numbers that a batch left out, asked again alone
racing.py             futility stopping of a trial on its first items
completion_lines.py   completions that another tool has written
general_set.py        plain texts, scored before and after training: what a model forgets
rescore.py            every metric again from the raw completions
reference_scorers/    the paper's own file forms, and its scorers' numbers
"""
