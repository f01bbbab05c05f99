"""Answers: jobs, styles and errors as callers see them, in two languages."""
