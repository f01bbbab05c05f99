"""The agent beside a TorchServe: it reports on the workers, pauses dispatch, and scales and replaces workers."""
