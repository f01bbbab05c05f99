"""Below the routes: sockets, limits of HTTP's protocol, what surrounds every request."""
