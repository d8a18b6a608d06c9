"""What a scenario may say of an overlay beyond its modes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class OverlayOptions(BaseModel):
    """The base of a model of an overlay's options in a scenario; each field has a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)
