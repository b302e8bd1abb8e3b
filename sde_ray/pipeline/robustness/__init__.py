"""Is the assembled design better only where it was chosen? Training sizes, sampled decoding, other wordings.

    run.py         what is compared, trained and decoded; the order of things
    answers.py     a trained adapter's answers under another decoding or wording, kept and never made twice
    condition.py   contenders on one condition: paired intervals and a verdict in words
    curve.py       the learning curve, and how many samples the better design saves
    figure.py      the curve, drawn

Paper section 1.15.
"""
