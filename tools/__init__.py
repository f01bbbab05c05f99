"""Tools for developers, run from the checkout: `python -m tools.NAME` writes a page, a picture or a list."""
