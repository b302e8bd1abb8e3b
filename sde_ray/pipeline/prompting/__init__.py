"""Prompts against samples: does what an untuned model makes of a design tell how good the design is for tuning?

context.py     zero-shot and in-context prompts that fit the context
perplexity.py  likelihoods of prompts and gold outputs
look.py        one design, measured: what is kept and never measured twice
run.py         all designs of a sweep on one model
tuned.py       the tuned scores of the same designs: from the sweep's ledger, or from a table
correlate.py   rank correlations with intervals, and the verdict in words
conclude.py    what an analysis comes to, and its files in the sweep's folder
figure.py      the scatter plot
logged.py      a run a design in MLflow, beside the trials
"""
