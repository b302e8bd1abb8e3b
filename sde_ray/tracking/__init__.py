"""Tracking in MLflow: a run for the sweep, one for each trial, tables and the registered adapter.

base.py             Tracker, the no-op base class
mlflow_tracker.py   writes to MLflow; background.py does so in a thread, so that no trial waits
comparison_view.py  the columns and charts that MLflow's page of a sweep opens with
ui.py               where that page is, and a server for it
tracking_uri.py     where a sweep's runs are
run_data.py         params and metrics of a trial, under which names
prompting_runs.py   runs of an analysis of the untuned model
registry.py         the adapter as a registered model; pyfunc.py is its code
"""
