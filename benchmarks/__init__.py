"""Measurements with stored results: `scripts/benchmark NAME` prints a table and writes `results/NAME.json`.

A benchmark is a module in one of the rooms below; `common` holds what they share.
"""
