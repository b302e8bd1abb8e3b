"""Memory levels: how well an untuned model knows each fact, by completions of sentences about it.

levels.py       hits as levels D0..D4, their sampling errors, tables
completions.py  the model that continues sentences, and the hits in what it writes
memory_level.py what the axis `memory_level` does to a trial: facts of one level, equal by relation
"""
