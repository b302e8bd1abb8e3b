"""Analysis: scores become effects, a strategy and a verdict, each with its interval.

response_surface.py  mixed_model.py   the regression behind all of it, and its noise
effects.py  claims.py                 what each option does, and what may be said of it
leaderboard.py  pareto.py             designs ranked; designs worth their price
study.py                              comparable trials together
cross_study.py  rank_agreement.py  pooling.py   several models, tasks or sizes
strategy.py                           the assembled design
validation.py  paired.py  verdict.py  the final comparison
report/                               the page
"""
