"""What the commands print.

live.py          a run as it goes: ConsoleListener
plan.py          a plan; sample.py a sample in colour
study.py         leaderboard and effects; cross_study.py several studies
strategy.py      strategy and verdict
status.py        how a run is doing
job_output.py    a job on a cluster"""
