"""Measurements with stored results: `scripts/benchmark NAME` prints a table and writes `results/NAME.json`."""
