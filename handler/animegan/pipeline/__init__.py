"""Bytes in, bytes out: pictures through their phases."""
