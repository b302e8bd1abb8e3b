"""Configuration: a sweep's YAML file becomes a checked `SweepConfig`, with all its faults in one error.

schema.py    every key of the YAML, with its type, default and meaning
section.py   a section of the YAML, and which of its settings are in a trial's key
trial.py     everything that decides a trial's outcome, and its key
curation.py  the settings of the axes of data and training; constraints.py, general.py two sections of their own
memory_file.py memory levels of facts, as `sde-ray memory` has written them
alias_file.py  further names of closed-book answers
load.py      read, override, check; the resolved configuration back as JSON
open.py      the configuration of a run that exists, by its folder, its YAML file or its address
names.py     what it names beyond the package's own, and whether that may be imported and read
checks.py    what is wrong with a file, in sentences
installed.py what the installed peft does not have; vllm.py what vLLM cannot decode
renamed.py   what the keys of other tools, and of version 0.1, are called here
scaffold.py  a sweep drafted from a user's data; sweep_yaml.py writes it out, with comments
shipped.py   the sweeps that come with the package, by name
reference.py docs/configuration.md, made from the docstrings of the fields
"""
