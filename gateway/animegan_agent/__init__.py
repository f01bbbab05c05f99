"""The agent beside a TorchServe: what its workers are, whether pictures may be sent to it, and workers made anew."""
