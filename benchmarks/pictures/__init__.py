"""Pictures: reading files, colour, and what the looks do to photographs."""
