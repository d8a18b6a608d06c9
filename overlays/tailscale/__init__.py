"""Tailscale with Headscale and DERP."""
