"""Overhead of a sweep: what the driver spends on a trial, in time and memory, as trials go by.

actors.py    Ray actors in the driver's own process, for as many nodes as one likes
runner.py    a runner without a model: planted scores, results as large as real ones
measure.py   the sweep, and its time and memory by block of trials
tracker.py   a tracking server that is slow to answer
"""
