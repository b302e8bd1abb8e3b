"""Robustness of the assembled design: training sizes, sampled decoding, other instruction wordings.

    run.py              what is compared, trained and decoded, in this order
    decoding.py         a trained adapter's completions under another decoding or wording, cached
    conditions.py       contenders on one condition: paired comparisons and a verdict in words
    learning_curve.py   scores by training size, and how many samples the better design saves
    figure.py           the learning curves as SVG

Paper section 1.15.
"""
