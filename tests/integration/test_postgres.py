"""PostgreSQL as readers have it: the whole version or the one before, grants, healing, and no secret anywhere."""

import datetime as dt
import json
import re
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from orchestration.market.errors import PublishError
from orchestration.publish import postgres, postgres_swap
from orchestration.publish.content_hash import table_hash
from orchestration.publish.manifest import PublishedManifest, current_manifest, version_file
from orchestration.publish.marts import Mart
from orchestration.publish.postgres import publish_to_postgres, sync_status
from orchestration.publish.versions import publish
from orchestration.settings import Settings
from tests.jobs import ClockedSettings, read_status, refresh_and_read, small_seeds
from tests.postgres_server import PASSWORD, PASSWORD_IN_URL, PostgresServer, postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MARTS = {
    "daily_bars": Mart(("symbol", "session_date"), "It's\na table.\n", {"close": r"Close \ of the session."}),
    "claim_checks": Mart(("claim_id",)),
}


@pytest.fixture(scope="module")
def running() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        for role in ("analyst", "desk", "publisher"):
            server.create_role(role)
        server.rows("grant create on database postgres to publisher")
        yield server


@pytest.fixture
def server(running: PostgresServer) -> PostgresServer:
    ours = "select nspname from pg_namespace where nspname like 'orewatch%' or nspname = 'desk'"
    for (schema,) in running.rows(ours):
        running.rows(f"drop schema {schema} cascade")
    running.rows("alter role publisher reset all")
    return running


class Versions:
    """Published files whose two tables carry the number of their version."""

    def __init__(self, folder: Path, source: str = "files") -> None:
        self.folder, self.source, self.number = folder, source, 0
        folder.mkdir(exist_ok=True)

    def make(self) -> PublishedManifest:
        self.number += 1
        warehouse = self.folder / "warehouse.duckdb"
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(
                "create or replace table daily_bars as select 'A' as symbol, date '2026-01-01' + cast(i as integer) as"  # noqa: S608
                f" session_date, cast({self.number}.25 as double) as close, 7::integer as n,"
                " null::double as nothing, i % 2 = 0 as even,"
                " timestamp '2026-01-31 01:02:03.000004' as observed_at from range(1000) as t(i)"
            )
            connection.execute(
                f"create or replace table claim_checks as select 'ä''\"' as claim_id, {self.number} as n"
            )
        return publish(warehouse, MARTS, self.folder / "published", f"f{self.number}", self.source, False)

    def load(
        self, server: PostgresServer, manifest: PublishedManifest, reader: str = "analyst", role: str = "owner"
    ) -> postgres.Publication:
        file = version_file(self.folder / "published", manifest.version)
        return publish_to_postgres(server.url(role), "orewatch", reader, file, manifest, MARTS)


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    return Versions(tmp_path / "v")


def test_what_readers_find(server: PostgresServer, versions: Versions) -> None:
    manifest = versions.make()
    before = sync_status(server.url(), "orewatch", manifest)
    assert before.text.startswith("schema orewatch, nothing yet; the next refresh")
    assert versions.load(server, manifest) == postgres.Publication(waited=True, kept=())
    there = sync_status(server.url(), "orewatch", manifest)
    assert there.is_current
    assert there.text == "schema orewatch, the same version"
    # To the last bit what the files hold.
    with server.connect("analyst") as connection, connection.cursor() as cursor:
        for table in MARTS:
            cursor.execute(f"select * from orewatch.{table}")  # noqa: S608
            arrow = cursor.fetch_arrow_table()
            with duckdb.connect() as reading:
                assert table_hash(reading.from_arrow(arrow)) == manifest.hashes[table], table
    comments = server.rows(
        "select obj_description('orewatch.daily_bars'::regclass), col_description('orewatch.daily_bars'::regclass, 3)"
    )
    assert comments == [("It's\na table.", r"Close \ of the session.")]
    indexes = server.rows("select indexdef from pg_indexes where schemaname = 'orewatch' order by 1")
    assert [re.search(r"\(.*\)", text)[0] for (text,) in indexes] == ["(claim_id)", "(symbol, session_date)"]
    assert server.rows("select reltuples from pg_class where oid = 'orewatch.daily_bars'::regclass") == [(1000.0,)]

    second = versions.make()
    assert not sync_status(server.url(), "orewatch", second).is_current
    versions.load(server, second)
    assert server.rows("select distinct close from orewatch.daily_bars", "analyst") == [(2.25,)]
    assert server.rows("select nspname from pg_namespace where nspname like 'orewatch%'") == [("orewatch",)]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into orewatch.claim_checks values ('x', 1)",
        "update orewatch.claim_checks set n = 1",
        "delete from orewatch.claim_checks",
        "truncate orewatch.claim_checks",
        "drop table orewatch.claim_checks",
        "create table orewatch.mine (x int)",
        "alter schema orewatch rename to mine",
    ],
)
def test_the_reader_role_can_only_select(server: PostgresServer, versions: Versions, statement: str) -> None:
    versions.load(server, versions.make())
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(1,)]
    with pytest.raises(Exception, match=r"permission denied|must be owner"):
        server.rows(statement, "analyst")


def test_nobody_is_granted_anything_without_a_reader(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make(), reader="")
    with pytest.raises(Exception, match="permission denied for schema orewatch"):
        server.rows("select n from orewatch.claim_checks", "analyst")


def test_a_failed_publication_leaves_readers_where_they_were(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    with pytest.raises(PublishError) as caught:
        versions.load(server, versions.make(), reader="nobody_of_this_name")
    assert str(caught.value) == (
        "PostgreSQL schema orewatch was not replaced by version 2, its readers keep what they had:"
        ' role "nobody_of_this_name" does not exist'
    )
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(1,)]
    assert server.rows("select nspname from pg_namespace where nspname like 'orewatch%'") == [("orewatch",)]


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://owner:wro%40ng@127.0.0.1:{port}/postgres",
        "postgresql://owner:wro%40ng@127.0.0.1:1/postgres",
        "postgresql://owner:wro%40ng@127.0.0.1:99999/postgres",
        "postgresql://owner:wro%40ng@[127.0.0.1:{port}/postgres",
        "postgresql://owner:wro%40ng@127.0.0.1:{port}/postgres?nonsense=1",
        "postgresql://owner:wro%40ng@127.0.0.1:{port}/postgres?nonsense",
        "postgresql://127.0.0.1:{port}/postgres?user=owner&password=wro%40ng",
        "postgresql://owner:wro%ZZng@127.0.0.1:{port}/postgres",
    ],
)
def test_no_error_shows_the_password(server: PostgresServer, versions: Versions, address: str) -> None:
    manifest = versions.make()
    url = address.format(port=server.port)
    file = version_file(versions.folder / "published", 1)
    with pytest.raises(PublishError) as caught:
        publish_to_postgres(url, "orewatch", "", file, manifest, MARTS)
    shown = [str(caught.value), sync_status(url, "orewatch", manifest).text, repr(caught.value.__context__)]
    assert "wro" not in "\n".join([*shown, *traceback.format_exception(caught.value)])
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("PostgreSQL schema orewatch was not replaced by version 1, its readers keep")


def test_schemas_of_others_are_left_alone(server: PostgresServer, versions: Versions, tmp_path: Path) -> None:
    server.rows("create schema orewatch")
    with pytest.raises(PublishError, match="has a schema orewatch that Orewatch did not make; choose another name"):
        versions.load(server, versions.make())
    server.rows("drop schema orewatch")
    versions.load(server, versions.make())
    # Prices of another source, simulated ones above all, never take the place of these.
    other = Versions(tmp_path / "other", "sample")
    with pytest.raises(PublishError, match="orewatch holds prices of the source files, not of sample; choose another"):
        other.load(server, other.make())
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(2,)]
    assert Settings().postgres_readers_schema == "orewatch_sample"
    assert Settings(source="yahoo").postgres_readers_schema == "orewatch"


def test_a_reader_between_two_reads_sees_one_version(
    server: PostgresServer, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for; who stays longer than our patience is overtaken, and keeps what it holds."""
    versions.load(server, versions.make())
    second = versions.make()
    monkeypatch.setattr(postgres_swap, "PATIENCE_SECONDS", 1)
    with server.connect("analyst") as connection, connection.cursor() as cursor:
        cursor.executescript("begin")
        cursor.execute("select n from orewatch.claim_checks")
        assert cursor.fetchall() == [(1,)]
        done = versions.load(server, second)
        assert not done.waited
        assert [re.sub(r"\d+", "", text) for text in done.kept] == ["orewatch_old_: somebody is reading it"]
        # Others have the new one.
        assert server.rows("select n from orewatch.claim_checks", "analyst") == [(2,)]
        cursor.executescript("commit")
    assert versions.load(server, versions.make()) == postgres.Publication(waited=True, kept=())
    assert server.rows("select nspname from pg_namespace where nspname like 'orewatch%'") == [("orewatch",)]


def test_a_view_of_somebody_stays(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    server.rows("create schema desk")
    server.rows("create view desk.mine as select n from orewatch.claim_checks")
    done = versions.load(server, versions.make())
    assert [re.sub(r"\d+", "", text) for text in done.kept] == ["orewatch_old_: objects of yours depend on it"]
    assert server.rows("select n from desk.mine") == [(1,)]
    assert server.rows("select n from orewatch.claim_checks") == [(2,)]


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something between two statements of the next publication, before it loads its tables."""
    quoted = postgres.identifier

    def identifier(name: str) -> str:
        if name.startswith("orewatch_next_"):
            monkeypatch.setattr(postgres, "identifier", quoted)
            act()
        return quoted(name)

    monkeypatch.setattr(postgres, "identifier", identifier)


def test_limits_of_the_role_and_an_idle_session_stop_no_publication(
    server: PostgresServer, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role may not wait for as long as we wait for readers, nor be idle for as long as a table is read."""
    monkeypatch.setattr(postgres_swap, "PATIENCE_SECONDS", 2)
    for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        server.rows(f"alter role publisher set {limit} = '700ms'")
    versions.load(server, versions.make(), role="publisher")
    meanwhile(monkeypatch, lambda: time.sleep(1.5))
    with server.connect("analyst") as connection, connection.cursor() as cursor:
        cursor.executescript("begin")
        cursor.execute("select n from orewatch.claim_checks")
        assert cursor.fetchall() == [(1,)]
        done = versions.load(server, versions.make(), role="publisher")
        assert not done.waited
        assert server.rows("select n from orewatch.claim_checks", "analyst") == [(2,)]
        cursor.executescript("commit")


@pytest.mark.parametrize(
    "setting",
    [
        "default_transaction_read_only = on",
        "quote_all_identifiers = on",
        "client_encoding = latin1",
    ],
)
def test_defaults_of_the_role_change_no_publication(server: PostgresServer, versions: Versions, setting: str) -> None:
    server.rows(f"alter role publisher set {setting}")
    for _ in range(2):
        manifest = versions.make()
        assert versions.load(server, manifest, role="publisher") == postgres.Publication(waited=True, kept=())
        assert sync_status(server.url("publisher"), "orewatch", manifest).is_current
    assert server.rows("select claim_id, n from orewatch.claim_checks", "analyst") == [("ä'\"", 2)]
    # With options in the URL too.
    manifest, file = versions.make(), version_file(versions.folder / "published", 3)
    url = server.url("publisher") + "?options=-csearch_path%3Dorewatch"
    assert publish_to_postgres(url, "orewatch", "analyst", file, manifest, MARTS).waited


# What others have in the readers' schema, each with a query of which the answer stays.
OTHERS = {
    "create table orewatch.mine as select 1 as x": "select x, 'orewatch.mine'::regclass::oid from orewatch.mine",
    "create view orewatch.narrow as select n from orewatch.claim_checks": "select n from orewatch.narrow",
    "create materialized view orewatch.copied as select n from orewatch.claim_checks": "select n from orewatch.copied",
    "create sequence orewatch.numbers": "select 'orewatch.numbers'::regclass::oid",
    "create function orewatch.three() returns int language sql as 'select 3'": "select orewatch.three()",
    "create type orewatch.mood as enum ('up', 'down')": "select 'up'::orewatch.mood::text",
    "create table orewatch.daily_bars_mine (x int)": "select count(*) from orewatch.daily_bars_mine",
}


@pytest.mark.parametrize("owner", ["publisher", "desk"])
def test_what_others_have_in_the_schema_stays_in_its_place(
    server: PostgresServer, versions: Versions, owner: str
) -> None:
    versions.load(server, versions.make(), role="publisher")
    server.rows("grant create on schema orewatch to desk", "publisher")
    server.rows("grant usage on schema orewatch to desk", "publisher")
    server.rows("grant select on orewatch.claim_checks to desk with grant option", "publisher")
    for statement in OTHERS:
        server.rows(statement, owner)
    before = [server.rows(query, owner) for query in OTHERS.values()]
    for number in (2, 3):
        done = versions.load(server, versions.make(), role="publisher")
        assert done.waited
        # The tables that the views were made on.
        assert [re.sub(r"\d+", "", text) for text in done.kept] == ["orewatch_old_: objects of yours depend on it"]
        assert [server.rows(query, owner) for query in OTHERS.values()] == before
        # And who was granted something, has it: on the new table too.
        assert server.rows("select n from orewatch.claim_checks", "desk") == [(number,)]
        assert server.rows("select n from orewatch.claim_checks", "analyst") == [(number,)]
        with pytest.raises(Exception, match="permission denied"):
            server.rows("select close from orewatch.daily_bars", "desk")
    assert server.rows("select count(*) from pg_class where relname = 'daily_bars'") == [(1,)]


def test_a_schema_that_others_use_too_is_not_renamed_around_a_session(
    server: PostgresServer, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_swap, "PATIENCE_SECONDS", 1)
    versions.load(server, versions.make())
    server.rows("create table orewatch.mine as select 1 as x")
    with server.connect("analyst") as connection, connection.cursor() as cursor:
        cursor.executescript("begin")
        cursor.execute("select n from orewatch.claim_checks")
        cursor.fetchall()
        with pytest.raises(PublishError) as caught:
            versions.load(server, versions.make())
        cursor.executescript("commit")
    assert str(caught.value) == (
        "PostgreSQL schema orewatch was not replaced by version 2, its readers keep what they had: a session has been"
        " reading its tables for more than 1 seconds, and they cannot be replaced around it, because the schema also"
        " holds table orewatch.mine; end that session, or move what is yours to another schema"
    )
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(1,)]
    assert versions.load(server, versions.make()) == postgres.Publication(waited=True, kept=())
    assert server.rows("select x from orewatch.mine") == [(1,)]


def test_grants_go_with_a_schema_that_is_renamed_around_a_session(
    server: PostgresServer, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_swap, "PATIENCE_SECONDS", 1)
    versions.load(server, versions.make())
    server.rows("grant usage on schema orewatch to desk")
    server.rows("grant select on orewatch.claim_checks to public")
    with server.connect("analyst") as connection, connection.cursor() as cursor:
        cursor.executescript("begin")
        cursor.execute("select n from orewatch.claim_checks")
        cursor.fetchall()
        assert not versions.load(server, versions.make()).waited
        cursor.executescript("commit")
    assert server.rows("select n from orewatch.claim_checks", "desk") == [(2,)]


def test_grants_on_columns_stay(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    server.rows("grant usage on schema orewatch to desk")
    server.rows("grant select (symbol, close) on orewatch.daily_bars to desk")
    server.rows("grant select (n), update (n) on orewatch.daily_bars to publisher with grant option")
    for number in (2, 3):
        versions.load(server, versions.make())
        seen = server.rows("select distinct symbol, close from orewatch.daily_bars", "desk")
        assert seen == [("A", number + 0.25)]
        with pytest.raises(Exception, match="permission denied"):
            server.rows("select n from orewatch.daily_bars", "desk")
        granted = server.rows(
            "select attname, attacl::text from pg_attribute where attrelid = 'orewatch.daily_bars'::regclass"
            " and attacl is not null order by 1"
        )
        assert granted == [
            ("close", "{desk=r/owner}"),
            ("n", "{publisher=r*w*/owner}"),
            ("symbol", "{desk=r/owner}"),
        ]


# What somebody puts on a table of ours and a new one would not have, each with its name in the refusal.
CARRIED = {
    "alter table orewatch.claim_checks enable row level security": "row level security of table orewatch.claim_checks",
    "alter table orewatch.claim_checks force row level security": "row level security of table orewatch.claim_checks",
    "create policy few on orewatch.claim_checks using (n > 1)": "policy few on table orewatch.claim_checks",
    "create trigger told after insert on orewatch.claim_checks execute function desk.told()": (
        "trigger told on table orewatch.claim_checks"
    ),
    "create rule never as on delete to orewatch.claim_checks do instead nothing": (
        "rule never on table orewatch.claim_checks"
    ),
    "create publication streamed for table orewatch.claim_checks": (
        "publication of table orewatch.claim_checks in publication streamed"
    ),
    "insert into pg_seclabel values ('orewatch.claim_checks'::regclass, 'pg_class'::regclass, 1, 'masks', 'secret')": (
        "security label of column claim_id of table orewatch.claim_checks"
    ),
}


@pytest.mark.parametrize("statement", CARRIED)
@pytest.mark.parametrize("somebody_reads", [False, True])
def test_what_a_new_table_would_lose_stops_the_publication(
    server: PostgresServer,
    versions: Versions,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    somebody_reads: bool,
) -> None:
    monkeypatch.setattr(postgres_swap, "PATIENCE_SECONDS", 0)
    versions.load(server, versions.make())
    server.rows("create schema desk")
    server.rows("create function desk.told() returns trigger language plpgsql as 'begin return null; end'")
    server.rows(statement)
    try:
        with server.connect("analyst") as connection, connection.cursor() as cursor:
            if somebody_reads:
                cursor.executescript("begin")
                cursor.execute("select count(*) from orewatch.daily_bars")
                cursor.fetchall()
            with pytest.raises(PublishError) as caught:
                versions.load(server, versions.make())
            cursor.executescript("commit")
    finally:
        server.rows("drop publication if exists streamed")
    assert str(caught.value) == (
        "PostgreSQL schema orewatch was not replaced by version 2, its readers keep what they had: the new tables"
        f" would lose {CARRIED[statement]}; take it off (what to have instead of row policies: docs/configuration.md,"
        " PostgreSQL)"
    )
    assert server.rows("select n from orewatch.claim_checks") == [(1,)]


@pytest.mark.parametrize("level", ["read committed", "serializable"])
def test_what_is_put_on_a_table_during_a_publication_stops_it(
    server: PostgresServer, versions: Versions, monkeypatch: pytest.MonkeyPatch, level: str
) -> None:
    server.rows(f"alter role publisher set default_transaction_isolation = '{level}'")
    versions.load(server, versions.make(), role="publisher")
    statement = "create policy few on orewatch.claim_checks using (n > 1)"
    meanwhile(monkeypatch, lambda: server.rows(statement, "publisher"))
    with pytest.raises(PublishError, match="would lose policy few on table"):
        versions.load(server, versions.make(), role="publisher")


def test_a_table_that_is_moved_away_during_a_publication_stays_there(
    server: PostgresServer, versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.load(server, versions.make())
    server.rows("create schema desk")
    statement = "alter table orewatch.claim_checks set schema desk"
    meanwhile(monkeypatch, lambda: server.rows(statement))
    assert versions.load(server, versions.make()) == postgres.Publication(waited=True, kept=())
    assert server.rows("select n from desk.claim_checks") == [(1,)]
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(2,)]


def test_some_rows_for_somebody_through_a_function(server: PostgresServer, versions: Versions) -> None:
    """What docs/configuration.md says instead of row policies: it is asked for the table at each call."""
    versions.load(server, versions.make())
    server.rows("create schema desk")
    server.rows("grant usage on schema desk to desk")
    server.rows(
        "create function desk.bars() returns table (symbol text, close double precision) language sql stable"
        " security definer as $$ select symbol, close from orewatch.daily_bars where symbol = 'A' $$"
    )
    server.rows("revoke execute on function desk.bars from public")
    server.rows("grant execute on function desk.bars to desk")
    assert versions.load(server, versions.make()) == postgres.Publication(waited=True, kept=())
    assert server.rows("select distinct close from desk.bars()", "desk") == [(2.25,)]
    for query in ("select * from desk.bars()", "select * from orewatch.daily_bars"):
        with pytest.raises(Exception, match="permission denied"):
            server.rows(query, "publisher")


def test_another_reader_takes_the_place_of_the_one_before(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    server.rows("grant usage on schema orewatch to publisher")
    server.rows("grant select on orewatch.claim_checks to publisher")
    versions.load(server, versions.make(), reader="desk")
    for role in ("desk", "publisher"):
        assert server.rows("select n from orewatch.claim_checks", role) == [(2,)]
    with pytest.raises(Exception, match="permission denied for schema orewatch"):
        server.rows("select n from orewatch.claim_checks", "analyst")
    server.rows("create role gone")
    versions.load(server, versions.make(), reader="gone")
    server.rows("drop owned by gone")
    server.rows("drop role gone")
    versions.load(server, versions.make(), reader="")
    with pytest.raises(Exception, match="permission denied for schema orewatch"):
        server.rows("select n from orewatch.claim_checks", "desk")
    assert server.rows("select n from orewatch.claim_checks", "publisher") == [(4,)]


@pytest.mark.parametrize("kind", ["table", "view", "materialized view"])
def test_what_somebody_made_in_the_place_of_a_table_stays(
    server: PostgresServer, versions: Versions, kind: str
) -> None:
    """Even with our role as its owner: the name of a table is no proof that it is ours."""
    versions.load(server, versions.make())
    server.rows("drop table orewatch.claim_checks")
    server.rows(f"create {kind} orewatch.claim_checks as select 42 as n")
    with pytest.raises(PublishError) as caught:
        versions.load(server, versions.make())
    assert str(caught.value) == (
        "PostgreSQL schema orewatch holds something that is not Orewatch's in the place of its tables:"
        f" {kind} orewatch.claim_checks; rename it, move it to another schema, or drop it"
    )
    assert server.rows("select n from orewatch.claim_checks") == [(42,)]
    server.rows(f"alter {kind} orewatch.claim_checks rename to mine")
    assert versions.load(server, versions.make()) == postgres.Publication(waited=True, kept=())
    assert server.rows("select n from orewatch.mine") == [(42,)]
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(3,)]


def test_a_table_that_somebody_has_renamed_stays(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    server.rows("alter table orewatch.claim_checks rename to first")
    versions.load(server, versions.make())
    assert server.rows("select n from orewatch.first") == [(1,)]
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(2,)]


def test_a_table_of_somebody_in_an_old_schema_stays(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    server.rows("create view orewatch.narrow as select n from orewatch.claim_checks")
    versions.load(server, versions.make())
    ((old,),) = server.rows("select nspname from pg_namespace where nspname like 'orewatch_old_%'")
    server.rows(f"drop table {old}.claim_checks cascade")
    server.rows(f"create table {old}.claim_checks as select 42 as n")
    assert versions.load(server, versions.make()).kept == (f"{old}: objects of yours depend on it",)
    assert server.rows(f"select n from {old}.claim_checks") == [(42,)]  # noqa: S608


def test_schemas_that_only_look_like_ours_stay(server: PostgresServer, versions: Versions) -> None:
    versions.load(server, versions.make())
    for name in ("orewatch_next", "orewatch_old_2024"):
        server.rows(f"create schema {name}")
        server.rows(f"create table {name}.claim_checks as select 0 as n")
    # A version that somebody puts aside.
    versions.load(server, versions.make())
    server.rows("alter schema orewatch rename to orewatch_old_2025")
    for _ in range(2):
        done = versions.load(server, versions.make())
        assert done.kept == ("orewatch_old_2025: nothing in it says that nobody needs it; drop it if that is so",)
    for name, number in (("next", 0), ("old_2024", 0), ("old_2025", 2)):
        assert server.rows(f"select n from orewatch_{name}.claim_checks") == [(number,)]  # noqa: S608


@pytest.mark.parametrize("more", [{}, {"tables": list(MARTS), "reader": "analyst"}])
def test_a_schema_of_an_earlier_version_is_carried_on(server: PostgresServer, versions: Versions, more: dict) -> None:
    """Its comment names no tables, or no oids: ours are those that have the names of ours."""
    versions.load(server, versions.make())
    ((text,),) = server.rows("select obj_description('orewatch'::regnamespace, 'pg_namespace')")
    earlier = json.dumps({"orewatch": json.loads(text)["orewatch"]} | more)
    server.rows(f"comment on schema orewatch is '{earlier}'")
    server.rows("create table orewatch.mine as select 1 as x")
    assert versions.load(server, versions.make()) == postgres.Publication(waited=True, kept=())
    assert server.rows("select x from orewatch.mine") == [(1,)]
    assert server.rows("select n from orewatch.claim_checks", "analyst") == [(2,)]
    assert server.rows("select nspname from pg_namespace where nspname like 'orewatch%'") == [("orewatch",)]


NOW = dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)


def test_a_database_that_is_down_fails_the_run_alone_and_heals_with_nothing_new(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    (tmp_path / "drop").mkdir()
    closes = "".join(f"2026-01-{day},{100 + day}\n" for day in (26, 27, 28, 29, 30))
    (tmp_path / "drop" / "AAA.csv").write_text("Date,Close\n" + closes)
    common = {
        "source": "files",
        "home": tmp_path / "home",
        "files": tmp_path / "drop",
        "seeds": small_seeds(tmp_path / "seeds", "AAA"),
        "moment": NOW,
        "postgres_reader": "analyst",
    }
    down = ClockedSettings(**common, postgres_url=server.url().replace(f":{server.port}/", ":1/"))
    success, said = refresh_and_read(down)
    assert not success
    assert said.count("failed") == 2  # the step, and libpq's words for it
    assert "failed published__postgres: PostgreSQL schema orewatch was not replaced by version 1" in said
    assert "Readers there keep the last version that they have; the next refresh tries again." in said
    # Files, flags and brief are there all the same.
    manifest = current_manifest(down.paths.published)
    assert manifest is not None
    assert "Published version 1: " in said
    assert "Brief:" in said
    said_status = read_status(down)
    assert "PostgreSQL: schema orewatch could not be read: " in said_status

    up = ClockedSettings(**common, postgres_url=server.url())
    success, said = refresh_and_read(up)
    assert success, said
    assert "Nothing new: published version 1 stands" in said
    assert server.rows("select count(*) from orewatch.daily_bars", "analyst") == [(5,)]
    said_status = read_status(up)
    assert "PostgreSQL: schema orewatch, the same version" in said_status
    assert f"content {manifest.content_hash[:12]} (duckdb {duckdb.__version__})" in said_status
    # And then there is nothing to do.
    before = server.rows("select 'orewatch'::regnamespace::oid")
    assert refresh_and_read(up)[0]
    assert server.rows("select 'orewatch'::regnamespace::oid") == before

    everything = b"".join(path.read_bytes() for path in (tmp_path / "home").rglob("*") if path.is_file())
    for secret in (PASSWORD.encode(), PASSWORD_IN_URL.encode()):
        assert secret not in everything
    assert json.dumps(PASSWORD)[1:-1].encode() not in everything
    with dg.DagsterInstance.get() as instance:
        parts = [run.tags["part"] for run in instance.get_runs()]
    assert parts == ["fetch", "publish to PostgreSQL", "fetch", "build and check", "fetch"]
