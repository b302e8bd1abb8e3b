"""Simple regret of each search method, where the truth is known.

planted.py  truth.py       simulated response surfaces
recorded.py  denoised.py   recorded tables: fresh noise around a denoised truth, or a held-out seed
contestants.py             each method as a sweep runs it; no model is involved
botorch_search.py          a contestant from outside: the default model and acquisition function of BoTorch and Ax
contest.py  summary.py     all methods on many truths; means, and paired differences with standard errors
"""
