"""What a build, an audit and a publication may rest on: never too much, whatever is killed, cut or upgraded."""

import datetime as dt
import json
from pathlib import Path

import dagster as dg
import pytest

from orchestration import files
from orchestration.home import Home
from orchestration.market.errors import PublishError
from orchestration.publish import gate
from orchestration.transform.build import Plan, note_build
from orchestration.transform.build_inputs import BuildInputs
from orchestration.transform.build_state import (
    Blocked,
    BuildState,
    Built,
    block_publication,
    changed_since,
    convert_earlier_files,
    note_published,
    take_back,
)
from orchestration.transform.changed_ranges import ChangedRanges
from orchestration.transform.manifest import data_tests
from orchestration.transform.run_results import Ran
from orchestration.transform.warehouse import facts_of

INPUTS = BuildInputs(
    engine="duckdb 1.4.1",
    models="ab",
    seeds={"price_levels": "cd", "move_rules": "ef", "held": "01"},
    instruments={"AAA": "23"},
    sessions={"XNYS": ("2026-01-30", "45")},
    bars=("2026-01-30T22:00:00", 30),
)
AGO = "2026-01-30T22:05:00+00:00"
NOT_AUDITED = f"^{gate.NOT_AUDITED}$"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """With a warehouse."""
    home = Home(tmp_path / "files")
    home.root.mkdir()
    home.warehouse.write_bytes(b"tables")
    return home


def everything_known(home: Home) -> BuildState:
    """Of a home that has published what it has built, after an earlier build that was not for readers."""
    facts = facts_of(home.warehouse)
    return BuildState(
        built=Built(fingerprint="b.d", warehouse=facts, tests=frozenset(data_tests())),
        inputs=INPUTS,
        audited="b.d",
        changed=ChangedRanges(
            version=4, published_at=AGO, warehouse=facts, since={"int_changes.changed_from": dt.date(2026, 1, 9)}
        ),
        blocked=Blocked(reason="fresh: 30 instruments are behind", since=AGO),
    )


def test_what_is_saved_is_loaded(home: Home) -> None:
    assert BuildState.load(home.build_state) == BuildState()
    known = everything_known(home)
    known.save(home.build_state)
    assert BuildState.load(home.build_state) == known
    assert json.loads(home.build_state.read_text())["schema_version"] == 1
    assert sorted(path.name for path in home.root.iterdir()) == ["build_state.json", "warehouse.duckdb"]


def test_a_file_that_was_cut_anywhere_says_nothing(home: Home) -> None:
    everything_known(home).save(home.build_state)
    whole = home.build_state.read_bytes()
    for length in range(len(whole) - 2):
        home.build_state.write_bytes(whole[:length])
        assert BuildState.load(home.build_state) == BuildState(), length


@pytest.mark.parametrize(
    "other",
    [
        {"schema_version": 2},
        {"schema_version": "1"},
        {"more": "than is known"},
        {"built": {"fingerprint": ""}},
        {"built": {"fingerprint": "b", "tests": 3}},
        {"inputs": {"engine": "duckdb"}},
        {"changed": {"version": 4}},
        {"blocked": {"reason": "fresh"}},
    ],
    ids=str,
)
def test_a_file_of_a_later_schema_or_another_kind_says_nothing(home: Home, other: dict[str, object]) -> None:
    everything_known(home).save(home.build_state)
    said = json.loads(home.build_state.read_text())
    for text in (
        json.dumps({**said, **other}),
        f"[{json.dumps(said)}]",
        '"text"',
        "\ud800".encode("utf-8", "surrogatepass"),
    ):
        home.build_state.write_bytes(text if isinstance(text, bytes) else text.encode())
        assert BuildState.load(home.build_state) == BuildState()


def test_what_vouches_is_taken_back_before_a_build(home: Home) -> None:
    known = everything_known(home)
    known.save(home.build_state)
    take_back(home.build_state)
    assert BuildState.load(home.build_state) == BuildState(blocked=known.blocked)
    with pytest.raises(PublishError, match=NOT_AUDITED):
        gate.may_publish(home)


def test_a_build_of_which_publication_is_blocked_is_not_audited(home: Home) -> None:
    everything_known(home).save(home.build_state)
    block_publication(home.build_state, "no_session_lost: 1 instruments lost sessions")
    state = BuildState.load(home.build_state)
    assert state.audited is None
    assert state.blocked is not None
    assert state.blocked.reason == "no_session_lost: 1 instruments lost sessions"
    assert state.blocked.since > AGO
    # A publication takes it away, and with it goes what had changed.
    note_published(home.build_state, 5, AGO, home.warehouse, ["int_changes.changed_from"])
    assert BuildState.load(home.build_state).blocked is None
    assert changed_since(home.build_state, 5, AGO, home.warehouse) == {"int_changes.changed_from": dt.date.max}
    assert changed_since(home.build_state, 4, AGO, home.warehouse) is None
    home.warehouse.write_bytes(b"other tables")
    assert changed_since(home.build_state, 5, AGO, home.warehouse) is None


def test_only_a_build_that_was_audited_and_tested_is_published(home: Home) -> None:
    known = everything_known(home)
    known.save(home.build_state)
    assert gate.may_publish(home) == "b.d"
    # Sure of itself, and of another build.
    for update in ({"audited": None}, {"audited": "a"}, {"built": None}, {"built": Built(fingerprint="b.d")}):
        known.model_copy(update=update).save(home.build_state)
        with pytest.raises(PublishError, match=NOT_AUDITED):
            gate.may_publish(home)
    assert known.built is not None
    tests = known.built.tests
    missing = min(tests)
    for ran, said in (
        (tests - {missing}, rf"not passed 1 of the models and tests: {missing.split('.')[2]}; material"),
        (frozenset(), rf"not passed {len(tests)} of the .* and {len(tests) - 10} more; material"),
    ):
        known.model_copy(update={"built": known.built.model_copy(update={"tests": ran})}).save(home.build_state)
        with pytest.raises(PublishError, match=said):
            gate.may_publish(home)
    # A warehouse of another day in its place; one that is gone, a publication will miss by itself.
    known.save(home.build_state)
    home.warehouse.write_bytes(b"tables of yesterday")
    with pytest.raises(PublishError, match=NOT_AUDITED):
        gate.may_publish(home)
    home.warehouse.unlink()
    assert gate.may_publish(home) == "b.d"


def test_a_full_refresh_says_nothing_of_what_has_changed(home: Home) -> None:
    known = everything_known(home)
    plan = Plan("the models have changed", "", INPUTS, "c.d", known.changed)
    ran = Ran(home.dbt / "run_results.json", succeeded=True, error=None)
    BuildState(blocked=known.blocked).save(home.build_state)
    note_build(home, plan, ran)
    built = Built(fingerprint="c.d", warehouse=facts_of(home.warehouse))
    assert BuildState.load(home.build_state) == BuildState(built=built, inputs=INPUTS, blocked=known.blocked)


class Killed(BaseException):
    """As a process that is no more."""


@pytest.mark.parametrize("killed_at", ["fsync", "replace", "after"])
def test_a_kill_leaves_the_state_before_or_the_one_after(
    home: Home, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    failed = dg.AssetCheckResult(
        asset_key=dg.AssetKey("data_coverage"), check_name="fresh", passed=False, description="30 are behind"
    )
    known = everything_known(home)
    for change, still_may_publish in (
        (lambda: take_back(home.build_state), False),
        (lambda: gate.note_audit(home, [failed]), False),
        (lambda: gate.note_audit(home, []), True),
        (lambda: note_published(home.build_state, 5, AGO, home.warehouse, ()), True),
    ):
        known.save(home.build_state)

        def killed(*_: object) -> None:
            raise Killed

        with monkeypatch.context() as patched:
            if killed_at == "fsync":
                patched.setattr(files.os, "fsync", killed)
            elif killed_at == "replace":
                patched.setattr(Path, "replace", killed)
            else:
                patched.setattr(files, "sync", killed)
            with pytest.raises(Killed):
                change()
        seen = BuildState.load(home.build_state)
        assert (seen == known) == (killed_at != "after" or (seen.blocked == known.blocked and still_may_publish))
        if killed_at == "after" and not still_may_publish:
            with pytest.raises(PublishError):
                gate.may_publish(home)
        else:
            assert gate.may_publish(home) == "b.d"


def write_earlier_files(home: Home) -> None:
    """As the last revision before `build_state.json` wrote them."""
    size, changed_at = facts_of(home.warehouse)
    record = {"fingerprint": "b.d", "warehouse": [size, changed_at], "tests": sorted(data_tests())}
    sessions = {"XNYS": ["2026-01-30", "45"]}
    seeds = {"price_levels": "cd", "move_rules": "ef", "held": "01"}
    of_build = {"engine": "duckdb 1.4.1", "models": "ab", "seeds": seeds, "instruments": {"AAA": "23"}}
    since = {"int_changes.changed_from": "2026-01-09"}
    for name, said in {
        "build": record,
        "audit": {"fingerprint": "b.d", "warehouse": None},
        "premises": {**of_build, "sessions": sessions, "bars": ["2026-01-30T22:00:00", 30]},
        "changes": {"version": 4, "published_at": AGO, "warehouse": [size, changed_at], "since": since},
        "withheld": {"reason": "fresh: 30 instruments are behind", "at": AGO},
    }.items():
        (home.root / f"{name}.json").write_text(json.dumps(said))


def names(home: Home) -> set[str]:
    return {path.name for path in home.root.iterdir()} - {home.warehouse.name}


def test_a_home_of_the_last_revision_loses_nothing(home: Home) -> None:
    write_earlier_files(home)
    earlier = names(home)
    # Whoever only reads changes nothing.
    assert BuildState.load(home.build_state) == everything_known(home)
    assert gate.may_publish(home) == "b.d"
    assert names(home) == earlier
    said = convert_earlier_files(home.build_state)
    assert said.startswith("build_state.json says from now on what was in build.json, audit.json, premises.json, ")
    assert names(home) == {"build_state.json"}
    assert BuildState.load(home.build_state) == everything_known(home)
    assert convert_earlier_files(home.build_state) == ""
    # Once: what somebody puts back is older than what is known, and goes.
    block_publication(home.build_state, "later")
    write_earlier_files(home)
    state = BuildState.load(home.build_state)
    assert state.audited is None
    convert_earlier_files(home.build_state)
    assert BuildState.load(home.build_state) == state
    assert names(home) == {"build_state.json"}


@pytest.mark.parametrize("name", ["build.json", "audit.json", "premises.json", "changes.json", "withheld.json"])
@pytest.mark.parametrize(
    "text", [None, "", "{", "{}", "[]", '"text"', '{"fingerprint": null}', '{"tests": 3}', '{"sessions": 1}']
)
def test_of_an_earlier_file_that_cannot_be_read_nothing_is_known(home: Home, name: str, text: str | None) -> None:
    write_earlier_files(home)
    path = home.root / name
    path.unlink() if text is None else path.write_text(text)
    field = {"build": "built", "audit": "audited", "premises": "inputs", "changes": "changed", "withheld": "blocked"}
    known = everything_known(home).model_copy(update={field[path.stem]: None})
    assert BuildState.load(home.build_state) == known


def test_a_record_of_before_the_data_tests_were_noted_vouches_for_none(home: Home) -> None:
    (home.root / "build.json").write_text('{"fingerprint": "b.d"}')
    (home.root / "audit.json").write_text('{"fingerprint": "b.d"}')
    built = BuildState.load(home.build_state).built
    assert built == Built(fingerprint="b.d", warehouse=None, tests=frozenset())
    assert not built.is_in(home.warehouse)
    with pytest.raises(PublishError, match=NOT_AUDITED):
        gate.may_publish(home)


def test_a_kill_during_the_conversion_loses_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    write_earlier_files(home)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    for place in ("replace", "unlink"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, place, killed)
            with pytest.raises(Killed):
                convert_earlier_files(home.build_state)
        assert BuildState.load(home.build_state) == everything_known(home)
    convert_earlier_files(home.build_state)
    assert names(home) - {".build_state.json.next"} == {"build_state.json"}
