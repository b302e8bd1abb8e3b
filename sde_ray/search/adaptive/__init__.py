"""The adaptive search: a Gaussian process over all designs, screened first, then the knowledge gradient per unit cost.

search.py               which trial is asked for, which goes on, when it ends
posterior.py            the Gaussian process
knowledge_gradient.py   what a further score is worth
"""
