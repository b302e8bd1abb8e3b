"""Memory study of closed-book questions: how well the untuned model knows each fact, before anything is trained.

measure.py  the facts of a sweep, what it costs to measure them, and the measurement; resumes where it stopped
result.py   facts by level and by relation, and the file in the sweep's folder
"""
