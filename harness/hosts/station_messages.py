"""What a station and its client say to each other: a JSON object a line; a trial's end is followed by its evidence.

Only text and a tar cross. A job is the name of a trial of the plan that the station was given before: it renders the
deployment itself, so nobody can have it run a command that no adapter of its own writes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harness.errors import LabError, MissingPrerequisite, OverlaybenchError, StorageError
from harness.model.trial import Trial
from harness.trial.messages import Done

# No line is longer, traces included; a plan comes in pieces of so many trials.
LONGEST_LINE = 256 << 20
PIECE = 50
# How often each side says that it is alive.
BEAT_S = 1.0
# Beside a host's facts stands which machine it is, which is of no interest later.
STANDING = "standing"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Open(BaseModel):
    """What another commit's program may send with more fields: who reads it is to learn what that program is."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Question(_Open):
    """`number` tells the answer from that to a question that is no longer waited for."""

    number: int = 0


class Facts(_Question):
    """What is the machine, and of which version are these overlays? Answered by `HostFacts`."""

    do: Literal["facts"] = "facts"
    overlays: list[str]


class Lacking(_Question):
    """Which of these overlays does the machine lack, and what? Answered by texts by name.

    `out_of_reach` leaves out those for which `Install` would get all that they lack, as far as can be known before.
    """

    do: Literal["lacking"] = "lacking"
    overlays: list[str]
    out_of_reach: bool = False


class Install(_Question):
    """Get what these overlays lack. Answered by `failed`: why, by each program that could not be had."""

    do: Literal["install"] = "install"
    overlays: list[str]


class Plan(_Question):
    """A piece of the plan: trials, with traces (base64) by the names by which their links call them."""

    do: Literal["plan"] = "plan"
    trials: list[Trial] = []
    traces: dict[str, str] = {}


class Require(_Question):
    """The plan is complete: can the machine run it? Answered by nothing."""

    do: Literal["require"] = "require"


class Calibrate(_Question):
    """Are the plan's NATs, and links, what they say on this machine, and in time? Answered as by `calibrate`."""

    do: Literal["calibrate"] = "calibrate"


class Measured(_Question):
    """What became of the processors since the first job? Answered as by `Host.measuring`."""

    do: Literal["measured"] = "measured"


class Run(_Strict):
    """Run a trial of the plan."""

    do: Literal["run"] = "run"
    trial: str


class End(_Strict):
    """End a trial that runs; its end is not reported."""

    do: Literal["end"] = "end"
    trial: str


class Alive(_Strict):
    """Nothing but a sign of life; the station sends it too."""

    do: Literal["alive"] = "alive"


Question = Facts | Lacking | Install | Plan | Require | Calibrate | Measured
Request = Annotated[Question | Run | End | Alive, Field(discriminator="do")]
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)


class Answer(_Open):
    """What the question of this number came to; questions are answered in their order."""

    do: Literal["answer"] = "answer"
    number: int = 0
    value: dict[str, Any] = {}


class Refused(_Open):
    """A job, or the question of this number, that came to nothing; `error` is the class.

    Without trial and number it is for a request that could not be read.
    """

    do: Literal["refused"] = "refused"
    error: str
    text: str
    remedy: str = ""
    trial: str | None = None
    number: int | None = None

    @classmethod
    def of(cls, error: OverlaybenchError, *, trial: str | None = None, number: int | None = None) -> Refused:
        """Return an error as a message."""
        kind, text, remedy = type(error).__name__, str(error), ""
        if isinstance(error, MissingPrerequisite):
            kind, text, remedy = "MissingPrerequisite", error.missing, error.remedy
        return cls(error=kind, text=text, remedy=remedy, trial=trial, number=number)

    def raised(self) -> OverlaybenchError:
        """Return the error again, as what it was where that matters here."""
        if self.error == "MissingPrerequisite":
            return MissingPrerequisite(self.text, self.remedy)
        return StorageError(self.text) if self.error == "StorageError" else LabError(self.text)


class StepOf(_Strict):
    """What a trial does now."""

    do: Literal["step"] = "step"
    trial: str
    text: str


class Ended(_Strict):
    """A trial's end; so many bytes of evidence follow the line."""

    do: Literal["ended"] = "ended"
    trial: str
    done: Done
    evidence_bytes: int = Field(ge=0)


Reply = Annotated[Answer | Refused | StepOf | Ended | Alive, Field(discriminator="do")]
REPLY: TypeAdapter[Reply] = TypeAdapter(Reply)


def line_of(message: BaseModel) -> bytes:
    """Return a message as it is sent."""
    return message.model_dump_json().encode() + b"\n"
