"""Faces in a photo: where they are, and how each is drawn again from a crop of its own."""
