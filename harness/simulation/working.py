"""One process's work of a simulation: worlds by number, and the lines of their records."""

from __future__ import annotations

import gc

from harness.results.store import trial_lines
from harness.simulation.churn import as_csv, run_churn
from harness.simulation.contract import engines
from harness.simulation.load import LoadedPopulation
from harness.simulation.plan import Plan
from harness.simulation.population import Population
from harness.simulation.records import OfRun, records_of
from harness.simulation.world import run_world

GARBAGE = 200_000
"""Objects after which a process gets rid of the worlds that have ended; some 40 MB."""


def network_lines(population: Population, number: int) -> str:
    """Return the lines of churn.csv of one network over time."""
    assert population.churn is not None
    return as_csv(run_churn(population, population.churn, number, engines()[population.engine]), head=False)


class Worker:
    """Runs worlds by number; made once in each process. `version` is what the campaign's machine says of the engine."""

    def __init__(self, run: str, loaded: LoadedPopulation, version: str | None) -> None:
        self.of_run = OfRun(run, loaded.name, loaded.population, version)
        self.plan = Plan(loaded.population)
        self.engine = engines()[loaded.population.engine]

    def __call__(self, number: int) -> str:
        """Return the records of one world as lines of records.jsonl."""
        world = self.plan.world(number)
        result = run_world(self.plan.spec(world), self.engine)
        text = trial_lines(records_of(self.of_run, world, result))
        # What a world is made of refers to itself in circles, and ends all at once.
        if gc.get_count()[0] > GARBAGE:
            gc.collect()
        return text
