"""Analysis: scores become effects, a strategy and a verdict, each with its confidence interval.

estimate.py                           a point estimate with its 95% confidence interval, and how it is written
response_surface.py  design_coding.py the regression behind it: main effects, interactions, deviations of designs
mixed_model.py variance_components.py its mixed model, averaged over the posterior of its variances (REML)
trials.py                             the columns of all effects that it is fitted to, and what items explain
effects.py  claims.py                 main effects and interactions; their significance in words
leaderboard.py  pareto.py             designs ranked by score; the Pareto front of score against output tokens
study.py  frames.py                   the comparable trials of one task, model and training size; as pandas frames
cross_study.py                        several models, tasks or training sizes together
rank_agreement.py  pooling.py         rank correlations of leaderboards; partial pooling of effects (shrinkage)
strategy.py  constraints.py           the assembled design; which designs are feasible
design_comparison.py                  the designs of a sweep against one of them, paired on seeds and items
nuisance.py                           designs averaged over nuisance axes; whether their ranking holds at each value
degenerate.py                         scores that cannot tell designs apart: the defaults are kept
recommendation.py                     the strategy where the search itself recommends: its near-ties, its reasons
comparison.py  action.py              one comparison with its claim and cost; what to do after all of them
validation.py  paired.py  verdict.py  the final comparison: bootstrap over items, seeds, p-values with Holm's correction
seed_noise.py                         the noise over seeds of contenders that have a few seeds each
legend.py                             what the parts of a design's label say
forgetting.py                         what training does to plain texts, by design
looks.py  dropped_seeds.py            repeated looks at the test split; seeds on which nothing could be compared
report/                               the HTML page
"""
