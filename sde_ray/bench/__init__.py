"""Benchmarks of the package itself.

warm.py                        seconds to the first optimizer step, warm worker against cold process
designs.py  masa_216.csv       the recorded scores of all 216 designs
calibration/  worlds.py        coverage of confidence intervals and error rates of claims, on simulated sweeps
search/                        simple regret of each search method, on simulated and recorded truths
tiny_model/                    how the embedded base model was pretrained
"""
