"""Calibration of confidence intervals and claims: coverage and error rates where the truth is known.

cells.py       what is counted: a cell of the table, the sums of one simulated sweep, ratios with their error
intervals.py   sweeps: effects, differences of designs, interactions; claims where all designs are equal
adaptive.py    the same after an adaptive search, and the strategy that it recommends
verdicts.py    final comparisons: of designs that are equal, after a sweep, and looked at repeatedly
savings.py     sample efficiency read off learning curves
recorded.py    a held-out seed of the recorded designs
rows.py        the table of all rows, and the choice of cells
measure.py     counts every cell, over processes, into a file from which the same command goes on
"""
