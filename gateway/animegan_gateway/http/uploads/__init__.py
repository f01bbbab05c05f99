"""Pictures on their way in: as a form, as a raw body or in JSON; each checked while it streams into a file."""
