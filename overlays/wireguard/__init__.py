"""WireGuard and the small coordinator that its users put beside it to get from a hub to a mesh."""
