"""The phases of `scripts/gpu`, and the page of their results."""
