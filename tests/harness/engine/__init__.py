"""What the engine takes, and what TorchServe gives it."""
