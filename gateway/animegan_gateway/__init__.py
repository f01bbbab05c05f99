"""The front door before TorchServe: jobs that can be polled, a fair queue that survives, a page. Imports no torch."""
