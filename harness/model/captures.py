"""What a scenario may say of captures: whose packets are kept, and how much of them at most. Pure."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Captures(BaseModel):
    """The nodes (hosts or routers) at which every packet on every interface is kept, the overlay's own included.

    A node's file ends at `max_mb` (10^6 bytes), and only the first `frame_bytes` of each frame are kept. Capturing uses
    processor time that the lab needs: use captures to look inside a trial, not in runs whose figures you want.
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
