"""The engine alone: time, memory, exactness, and the same network run in other ways."""
