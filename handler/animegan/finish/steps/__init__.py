"""The steps of a finish, one a module."""
