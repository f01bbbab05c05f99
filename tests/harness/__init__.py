"""The real parts that tests and benchmarks start: servers, gateways, stores, browsers, pictures and faults."""

MIB = 2**20
