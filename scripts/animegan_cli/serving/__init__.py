"""What `scripts/serve` starts and watches: TorchServe, its agent, the gateway; their ports, processes and health."""
