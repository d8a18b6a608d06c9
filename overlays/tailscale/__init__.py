"""Tailscale with Headscale and DERP."""

from overlays.tailscale.adapter import Tailscale

__all__ = ["Tailscale"]
