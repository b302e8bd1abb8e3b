"""Simple regret of each search method, where the truth is known.

planted.py  truth.py     simulated response surfaces
recorded.py              the recorded trials of the embedded base
contestants.py           each method as a sweep runs it; no model is involved
contest.py               all methods on many truths, and the means
"""
