"""Identity of a request's sender: API keys, sessions of browsers, addresses."""
