"""Byte layouts: what goes over the wire, and nothing about when."""
