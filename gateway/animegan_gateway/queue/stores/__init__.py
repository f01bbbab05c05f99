"""Stores of jobs: one contract, SQLite for one gateway, Redis for several."""
