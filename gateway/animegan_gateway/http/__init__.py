"""HTTP: routes, uploads, errors, headers, callers, and the page."""
