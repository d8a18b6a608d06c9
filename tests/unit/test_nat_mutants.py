"""The mutation check knows every kind of rule that the routers have now."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench import nat_mutants
from bench.nat_mutants import EXPECTED, cases_by_kind, read_record, rules, why_unseen, without
from harness.calibration.nat_cases import all_cases


def test_each_kind_of_rule_was_dropped_and_missed_or_says_why_not() -> None:
    kinds, record = set(cases_by_kind()), read_record()
    asked = "a rule has changed; run `python -m bench.nat_mutants --changed`, which tries these and records what it saw"
    assert sorted(kinds - set(record)) == [], asked
    assert sorted(set(record) - kinds) == [], asked
    # What is recorded was a case of the calibration's, or is a reason that still stands.
    cases = {case.name for case in all_cases()}
    assert {kind: said for kind, said in record.items() if said not in cases and said != why_unseen(kind)} == {}
    # And no reason explains what no rule does any more.
    assert [part for part in EXPECTED if not any(part in kind for kind in kinds)] == []


def test_ci_tries_what_has_changed_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "-m bench.nat_mutants --changed" in Path(__file__).parents[2].joinpath(".ci", "run").read_text()
    record, tried = read_record(), list[str]()

    def look(argv: list[str], **_: object) -> None:
        tried.extend(argv)
        raise LookupError

    monkeypatch.setattr(sys, "argv", ["nat_mutants", "--changed"])
    monkeypatch.setattr("subprocess.Popen", look)
    nat_mutants.main()
    assert tried == [], "all is kept"
    del record[min(record)]
    monkeypatch.setattr(nat_mutants, "read_record", lambda: record)
    with pytest.raises(LookupError):
        nat_mutants.main()
    assert tried, "one is not"


def test_a_rule_is_dropped_by_its_kind_and_no_other_is() -> None:
    script = "table ip nat_v4 {\n\tchain a {\n\t\ttcp dport 1 drop\n\t\tudp dport 1 drop\n\t}\n}\n"
    (first, kind), (_, other) = rules(script)
    assert first == 2
    assert kind != other
    assert [left for _, left in rules(without(script, kind))] == [other]
