"""Shared by the gateway and the agent: server, logs, errors, events, names. Imports neither."""
