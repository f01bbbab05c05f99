"""What the machine has: its memory and how much of it may be taken, its cores, its devices."""
