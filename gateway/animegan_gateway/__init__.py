"""The gateway before TorchServe: jobs that can be polled, a fair and durable queue, a page. Imports no torch."""
