"""What a scenario may say of captures: whose packets are kept, and how much of them at most. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Captures(BaseModel):
    """Nodes (hosts or routers) on all of whose interfaces every packet is kept, the overlay's own included.

    A node's file ends at `max_mb` (10^6 bytes), and of a frame the first `frame_bytes` are kept. Capturing takes time
    of the processors that the lab needs: runs with captures are for looking inside, not for figures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    nodes: tuple[str, ...] = Field(min_length=1)
    max_mb: float = Field(default=20.0, gt=0, le=10_000)
    frame_bytes: int = Field(default=65_535, ge=64, le=262_144)


def as_captures(value: Any) -> Any:
    """Return what a list of nodes, or one node, stands for."""
    if isinstance(value, str):
        return {"nodes": [value]}
    return {"nodes": value} if isinstance(value, list | tuple) else value
