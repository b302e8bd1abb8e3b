"""How well each search method finds the best design, where the truth is known.

`planted`: made-up response surfaces. `recorded`: the real trials of the embedded base. Both run the very classes that a
sweep runs (`contestants.py`); no model is involved.
"""
