"""Networks: a folder for each family, and beside them what the families share. Imports no torch."""
