"""The styles on offer, and a sample drawn in each."""
