"""Memory study of closed-book questions: how well the untuned model knows each fact, before anything is trained.

measure.py  the facts of a sweep, what it costs to measure them, and the measurement; resumes where it stopped
cells.py    accuracy of trained trials by level and relation
findings.py what trained trials say: is 60 enough, which level teaches best, does it help its own, for every model
trials.py   the trained trials of a sweep, item by item
sizes.py    which sizes a level has not the facts for
result.py   facts by level and by relation, and the file in the sweep's folder
"""
