"""refmesh: a small mesh VPN that speaks WireGuard on the wire; usable alone, and the measuring stick of the harness."""
