"""The running service: latency, throughput, waits, the page, the dashboard."""
