"""An independent recomputation of a run's records from its evidence. Imports nothing of the harness."""
