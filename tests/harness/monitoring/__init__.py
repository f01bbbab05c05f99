"""What watches: Prometheus and the receivers of traces."""
