"""Machines: Ray for the time of a sweep, jobs on a cluster, and whether a machine is ready.

ray_session.py   this machine's own Ray, or a running cluster
gpus.py          how many GPUs a worker has where the YAML leaves it open
packs.py         which processes packed trials share, on which node and GPU
concurrency.py   how many trials may be under way on a cluster that grows
actor_pool.py    many calls on one loaded model, here or on workers
preflight.py     do all nodes share the folder
package.py       a sweep as a package; jobs.py the package as a job of a Ray cluster; job_logs.py what it prints
doctor.py        is this machine ready?
"""
