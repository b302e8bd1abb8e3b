"""Configuration: a sweep's YAML file becomes a checked `SweepConfig`, with all faults told at once.

schema.py    every key of the YAML, with its type, default and meaning
trial.py     everything that decides a trial's outcome, and its key
load.py      read, override, check; the resolved configuration back as JSON
checks.py    what is wrong with a file, in sentences
installed.py what the installed peft does not have
renamed.py   what the keys of other tools, and of version 0.1, are called here
reference.py docs/configuration.md, made from the docstrings of the fields
"""
