"""Storage: a run's directory on this machine, and its copy at an address.

ledger.py        what is finished; lease.py one driver at a time
uri.py           paths and addresses; remote.py files at an address; mirror.py a run's mirror of it
jsonl_cache.py   results by key that are never made twice
"""
