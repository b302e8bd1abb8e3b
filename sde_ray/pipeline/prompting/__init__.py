"""Prompting study: do zero-shot and few-shot scores of an untuned model predict how good a design is for tuning?

few_shot.py      zero-shot and few-shot prompts that fit the context
measurement.py   one design's measurements and their cache keys
analyze.py       what `sde-ray analyze` does: prepare, measure, publish
run.py           all designs of a sweep on one model
tuned_scores.py  the tuned scores of the same designs: from the sweep's ledger, or from a table
correlation.py   rank correlations with intervals, and the verdict in words
result.py        the study's result, and its files in the sweep's folder
figure.py        the scatter plot
"""
