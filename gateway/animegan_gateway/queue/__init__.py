"""Jobs: their order, the stores that keep them and their pictures, and the upkeep of both."""
