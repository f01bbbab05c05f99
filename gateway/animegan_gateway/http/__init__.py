"""Requests and answers: the addresses, uploads, errors and headers, who sends them, and the page."""
