"""Storage: a run's directory on this machine, and its copy at an address.

run_directory.py RunDirectory: where each file of a run is; layout.py the names of those files
ledger.py        the finished trials; lease.py one driver at a time
files.py         atomic writes
uri.py           paths and addresses; remote.py files at an address; mirror.py a run's mirror of it
jsonl_cache.py   results by key that are never made twice
"""
