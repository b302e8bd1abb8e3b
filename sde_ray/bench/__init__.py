"""Measurements of the package itself: `warm` times a trial's set-up, `masa_216.csv` holds the 216 designs' scores,
`calibration` counts how often intervals and claims are right in `worlds` with a known truth.
"""
