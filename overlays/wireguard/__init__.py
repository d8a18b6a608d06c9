"""WireGuard and the small coordinator that its users add to get from a hub to a mesh."""
