"""The `animegan` command and what the scripts in `scripts/` run."""
