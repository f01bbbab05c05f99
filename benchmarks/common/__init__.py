"""Parts that several benchmarks share: contenders, a reference of the networks, fresh processes, stored results."""
