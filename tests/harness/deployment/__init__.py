"""Images, containers and clusters."""
