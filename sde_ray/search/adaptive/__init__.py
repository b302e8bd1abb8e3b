"""Adaptive search, a Bayesian optimisation: screening, then the knowledge gradient of a Gaussian process per unit cost.

search.py               Adaptive: which trial is requested, which continues at a rung, when the search ends
request.py              TrialRequest: a design, a seed and a rung
screening.py            the first trials: points to evaluate, then a screening design around them
surrogate.py            Surrogate: the posterior given all scores so far
trials.py               Trials: which were begun, what they cost, which may be requested
posterior.py            GaussianPosterior: the Gaussian process over designs
weight_space.py         the same posterior for thousands of trials, from the sums of sufficient_statistics.py and from
                        the products of features.py
knowledge_gradient.py   the acquisition function
"""
