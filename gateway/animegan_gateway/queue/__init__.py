"""Jobs: their order, the stores of jobs and pictures, and housekeeping."""
