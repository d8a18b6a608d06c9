"""The simulated engine: an Internet of routers and hosts in memory, populations of peers on it, and their algebra."""
