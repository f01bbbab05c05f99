"""Stores of pictures, and the folder of pictures in transit."""
