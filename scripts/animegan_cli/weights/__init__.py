"""Weights in other formats: fetched, read, installed as a style, and exported."""
