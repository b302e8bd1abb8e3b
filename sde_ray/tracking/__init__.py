"""Tracking in MLflow: a run for the sweep, one for each trial, tables and the registered adapter.

base.py             Tracker, the no-op base class
mlflow_tracker.py   writes to MLflow; background.py does so in a thread, so that no trial waits
trial_run.py        a trial's run: its phase, and whether it is whole
comparison_view.py  the columns and charts that MLflow's page of a sweep opens with
ui.py               where that page is, and a server for it
sweep_id.py         by which a sweep's run is found again
tracking_uri.py     where a sweep's runs are
provenance.py       source, commit, versions, hardware and data set of a run
run_data.py         params and metrics of a trial, under which names
prompting_runs.py   runs of an analysis of the untuned model
registry.py         the adapter as a registered model; pyfunc.py is its code
"""
