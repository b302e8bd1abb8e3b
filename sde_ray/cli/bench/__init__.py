"""`sde-ray bench`: measurements of the package itself; one file per command.

app.py           the group of commands
warm.py          seconds to a trial's first step, warm and cold
serve.py         requests a second of `sde-ray serve`
table.py         recorded tables of designs and scores
search.py        search methods against known truth: planted, recorded
engine.py        speed and fidelity of the engine: sweeps, decode, packed, fidelity, shapes,
                 roofline
overhead.py      time and memory of a sweep's driver, as trials go by
calibration.py   intervals and claims against known truth, row by row
"""
