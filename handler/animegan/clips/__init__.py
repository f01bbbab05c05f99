"""Animations: their frames read, kept steady, and written, one at a time."""
