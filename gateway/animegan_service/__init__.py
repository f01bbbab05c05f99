"""What the gateway and the agent share as HTTP services: logs, the server, wake-ups, errors. Imports neither."""
