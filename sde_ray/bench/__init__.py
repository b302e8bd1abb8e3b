"""Measurements of the package itself: `warm` times a trial's set-up, `masa_216.csv` holds the 216 designs' scores."""
