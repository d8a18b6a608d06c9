"""ZeroTier with a root and a controller of the trial's own."""
