"""Benchmarks of the package itself.

warm.py                        seconds to the first optimizer step, warm worker against cold process
engine/                        speed and fidelity of the engine, beside transformers, peft and plain Ray Tune
serving.py                     requests a second of a server, and how long one waits
overhead/                      time and memory of a sweep's driver, as trials go by
tables/                        the recorded scores of all designs of several tasks
calibration/  worlds.py        coverage of confidence intervals and error rates of claims, on simulated sweeps
search/                        simple regret of each search method, on simulated and recorded truths
tiny_model/                    how the embedded base model was pretrained
"""
