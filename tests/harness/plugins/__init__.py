"""Plugins of pytest: groups of tests, and skips that are expected."""
