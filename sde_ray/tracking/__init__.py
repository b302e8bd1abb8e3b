"""Tracking in MLflow: a run for the sweep, one for each trial, tables and the registered adapter.

mlflow_tracker.py   the tracker; background.py a thread that writes, so that no trial waits
run_data.py         what of a result is logged, under which names
prompting_runs.py   runs of an analysis of the untuned model
registry.py         the adapter as a registered model; pyfunc.py how it answers
"""
