"""refmesh on a simulated Internet: its own engines, and a clock that jumps."""
