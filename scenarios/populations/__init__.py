"""Bundled populations for `overlaybench simulate`."""
