"""What breaks on purpose while a crowd sends pictures."""
