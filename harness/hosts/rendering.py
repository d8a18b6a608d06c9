"""From a trial to the job that a worker runs: its adapter renders the deployment, or says why not."""

from __future__ import annotations

from harness.errors import OverlaybenchError
from harness.model.trial import Trial
from harness.overlay.collisions import collisions
from harness.overlay.contract import Overlay
from harness.overlay.support import why_unsupported
from harness.trial.messages import Done, Job


def job_of(trial: Trial, overlay: Overlay) -> Job | Done:
    """Return the job, or the end of a trial for which none is needed: what it lacks, or what is wrong, is its error."""
    unsupported = why_unsupported(trial, overlay)
    if unsupported is not None:
        return Done(outcome="unsupported", error=unsupported)
    try:
        job = Job(trial=trial, deployment=overlay.render(trial))
    except OverlaybenchError as error:
        return Done(outcome=error.outcome, error=str(error))  # type: ignore[arg-type]
    except ValueError as error:
        return Done(outcome="error", error=f"{trial.overlay} cannot render this trial: {error}")
    if same := collisions(job.deployment, trial.topology):
        return Done(outcome="invalid", error=f"hosts would answer themselves: {'; '.join(same)}")
    return job
