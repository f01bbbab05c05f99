"""Chromium, the page in it, and callers that are made up."""
