"""From the queue to TorchServe and back: what is sent when and where, and what follows from each answer."""
