"""The moment in which PostgreSQL's readers get another version: one block of SQL."""

from collections.abc import Collection

from orchestration.duckdb_io import identifier
from orchestration.publish.postgres_schema import is_one_of, place, text_literal

# Readers that hold a table are waited for this long before they are overtaken.
PATIENCE_SECONDS = 30
# Less than PostgreSQL's deadlock_timeout of a second: no reader may become the victim of a deadlock with us.
LOCK_SECONDS = 0.5

# What others were granted; `source` has the owner and what is ours.
_GRANTS = """
    select acl.privilege_type || columns as privilege, acl.is_grantable, what,
        case acl.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(acl.grantee)) end as grantee
    from {}, aclexplode(acls) as acl where acl.grantee <> owner and pg_get_userbyid(acl.grantee) <> {}
"""

_TABLES = """(
    select 'table ' || fresh.oid::regclass as what, held.columns, held.acls, ours.relowner as owner
    from (select * from pg_class where {is_ours}) as ours
    inner join pg_class as fresh on ours.relname = fresh.relname and fresh.relnamespace = {there}
    cross join lateral (
        select '' as columns, ours.relacl as acls
        union all
        select format(' (%I)', attname), theirs.attacl
        from pg_attribute as theirs inner join pg_attribute as new using (attname)
        where theirs.attrelid = ours.oid and new.attrelid = fresh.oid
    ) as held
) as tables"""

_SCHEMA = """(
    select 'schema ' || quote_ident({fresh_name}) as what, '' as columns, nspacl as acls, nspowner as owner
    from pg_namespace where oid = {here}
) as schemas"""

# What is dropped with a table, and matters to more than its speed.
_CARRIED = """(
    select pg_describe_object(classid, objid, objsubid) as what from pg_depend
    where refclassid = 'pg_class'::regclass and refobjid in (select oid from pg_class where {is_ours})
        and deptype = 'a' and classid = any ('{{pg_policy,pg_trigger,pg_rewrite,pg_publication_rel}}'::regclass[])
    union
    select 'row level security of table ' || oid::regclass from pg_class
    where {is_ours} and (relrowsecurity or relforcerowsecurity)
    union
    select 'security label of ' || pg_describe_object(classoid, objoid, objsubid) from pg_seclabel
    where classoid = 'pg_class'::regclass and objoid in (select oid from pg_class where {is_ours})
) as carried"""

_BLOCK = """
do $swap$
declare
    deadline timestamptz := clock_timestamp() + interval '{patience} seconds';
    pause double precision := 0.02;
    waited boolean := true;
    place regclass;
    granted record;
    carried text;
    others text;
begin
    perform set_config('lock_timeout', '{each}ms', true);
    loop
        begin
            for place in select oid from pg_class where {is_ours} order by relname loop
                execute format('lock table %s in access exclusive mode', place);
            end loop;
            exit;
        exception when lock_not_available or deadlock_detected then
            if clock_timestamp() > deadline then
                waited := false;
                exit;
            end if;
        end;
        perform pg_sleep(pause);
        pause := least(pause * 2, 0.5);
    end loop;
    perform set_config('orewatch.waited', case when waited then 'yes' else 'no' end, false);
    select string_agg(what, ', ' order by what) into carried from {carried};
    if carried is not null then
        raise exception 'the new tables would lose %; take it off (what to have instead of row policies: docs/configuration.md, PostgreSQL)', left(carried, 400);
    end if;
    for granted in {grants_on_tables} loop
        execute format('grant %s on %s to %s', granted.privilege, granted.what, granted.grantee)
            || case when granted.is_grantable then ' with grant option' else '' end;
    end loop;
    if waited then
        create schema {old};
        for place in select oid from pg_class where {is_ours} loop
            execute format('alter table %s set schema {old}', place);
        end loop;
        for place in select oid from pg_class where relnamespace = {there} and relkind = 'r' loop
            execute format('alter table %s set schema {schema}', place);
        end loop;
        drop schema {fresh};
        return;
    end if;
    select string_agg(pg_describe_object(classid, objid, objsubid), ', ' order by objid) into others
    from pg_depend
    where refclassid = 'pg_namespace'::regclass and refobjid = {here} and not (
        classid = 'pg_class'::regclass and objid in (select oid from pg_class where {is_ours})
    );
    if others is not null then
        raise exception 'a session has been reading its tables for more than {patience} seconds, and they cannot be replaced around it, because the schema also holds %; end that session, or move what is yours to another schema', left(others, 200);
    end if;
    for granted in {grants_on_schema} loop
        execute format('grant %s on %s to %s', granted.privilege, granted.what, granted.grantee)
            || case when granted.is_grantable then ' with grant option' else '' end;
    end loop;
    alter schema {schema} rename to {old};
    alter schema {fresh} rename to {schema};
end
$swap$
"""  # noqa: E501


def swap_sql(schema: str, fresh: str, old: str, tables: Collection[int], reader: str) -> str:
    """A block that moves our tables out of the readers' schema into an old one, and the fresh ones in.

    That is atomic for each name, not for a statement that looks up several: it could find one old table and the next
    new. Therefore all old tables are locked first, which waits for readers in the middle of something and lets those
    that come queue for a moment. The locks are tried for, and given back, within `LOCK_SECONDS`, again and again for
    `PATIENCE_SECONDS`. A session that sits on its transaction for longer is overtaken: whole schemas are renamed, for
    which no table need be locked. Not so if others have something in the schema, which would go with it.

    `tables` are the oids of ours. What others than `reader` were granted, they are granted on the new tables too.
    """
    names = {
        "here": place(schema),
        "there": place(fresh),
        # In its place still: somebody may have moved one while the new ones were loaded.
        "is_ours": f"relnamespace = {place(schema)} and {is_one_of(tables)}",
        "fresh_name": text_literal(fresh),
        "fresh": identifier(fresh),
        "old": identifier(old),
        "schema": identifier(schema),
        "patience": PATIENCE_SECONDS,
        "each": max(10, int(LOCK_SECONDS * 1000 / max(1, len(tables)))),
    }

    def grants(source: str) -> str:
        return _GRANTS.format(source.format(**names), text_literal(reader))

    return _BLOCK.format(
        **names,
        carried=_CARRIED.format(**names),
        grants_on_tables=grants(_TABLES),
        grants_on_schema=grants(_SCHEMA),
    )
