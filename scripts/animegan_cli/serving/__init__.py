"""The services of `scripts/serve`: TorchServe, its agent, the gateway; their start, ports, processes and health."""
