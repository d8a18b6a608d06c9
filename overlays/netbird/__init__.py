"""NetBird: WireGuard tunnels that ICE sets up, with management, signal, relay and STUN self-hosted."""
