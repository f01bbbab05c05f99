"""Who sends a request: API keys, sessions of browsers, addresses."""
