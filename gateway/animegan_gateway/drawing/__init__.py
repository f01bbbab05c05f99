"""From the queue to TorchServe and back: dispatch, TorchServe's answers, retries."""
