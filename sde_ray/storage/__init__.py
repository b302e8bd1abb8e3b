"""Storage: a run's directory on this machine, and its copy at an address.

run_directory.py RunDirectory: where each file of a run is; layout.py the names of those files
ledger.py        the finished trials; remote_ledger.py the same at an address, one object a result
lease.py         one driver at a time; remote_lease.py at an address; lease_record.py what a lease says
process.py       which process, in which container of which machine; file_lock.py locks that end with it
files.py         atomic writes; conditional.py writes at an address that fail where another was quicker
uri.py           paths and addresses; remote.py files at an address
mirror.py        a run's mirror of an address; dirty_marks.py what it has not sent
train_log.py     loss and learning rate of a trial, step by step
jsonl_cache.py   results by key that are never made twice
"""
