"""One connection to PostgreSQL, with limits of its own; what goes wrong is one line that shows no password."""

import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import unquote

from orchestration.market.errors import PublishError

T = TypeVar("T")

CONNECT_SECONDS = 10
# Whatever the role has. A statement copies a table of millions of rows; between two of them the next one is read.
STATEMENT_SECONDS = 3600
IDLE_SECONDS = 600


def connected(url: str, failed: str, work: Callable[[Any], T]) -> T:
    """What `work` returns, given a connection in a transaction; a `PublishError` says what goes wrong."""
    import adbc_driver_postgresql.dbapi as postgres

    try:
        with postgres.connect(_with_time_limits(url)) as connection, connection.cursor() as cursor:
            # Where this is on, the driver, which asks for the server's types as it connects, knows none of them.
            cursor.execute("select current_setting('quote_all_identifiers')")
            knows_types = cursor.fetchall() == [("off",)]
            connection.commit()
            if knows_types:
                return work(connection)
        with postgres.connect(_unquoted(_with_time_limits(url))) as connection:
            return work(connection)
    except PublishError:
        raise
    except Exception as error:
        why = _in_words(error, url)
    # Outside the handler: the library's error, which may quote the URL, must not travel along as its context.
    raise PublishError(f"{failed}: {why}")


def _in_words(error: Exception, url: str) -> str:
    """An error of the driver in one line, without its query and without any part of the URL that is secret."""
    text = str(error)
    # The server's own words, wherever the driver has put them: before them may stand a whole script.
    found = re.findall(r"(?:ERROR|FATAL|PANIC):\s*(.+)", text)
    line = found[-1] if found else next((p.strip() for p in text.splitlines() if p.strip()), type(error).__name__)
    line = re.sub(r"^[A-Z_]+: (\[libpq\] )?", "", line.split(". SQLSTATE")[0])
    for secret in _secrets(url):
        line = line.replace(secret, "***")
    return line


def _secrets(url: str) -> list[str]:
    """The URL and every password in it, as written and as meant; longest first."""
    credentials = url.partition("://")[2].rpartition("@")[0]
    found = {url, *((credentials, credentials.partition(":")[2]) if ":" in credentials else ())}
    found |= set(re.findall(r"[?&](?:ssl)?password=([^&]*)", url))
    found |= {unquote(secret) for secret in found}
    return sorted(filter(None, found), key=len, reverse=True)


def _with_time_limits(url: str) -> str:
    """The URL with limits for a server that does not answer, unless it has limits of its own."""
    for name, value in (("connect_timeout", CONNECT_SECONDS), ("tcp_user_timeout", 30_000)):
        if f"{name}=" not in url:
            url += f"{'&' if '?' in url else '?'}{name}={value}"
    return url


def _unquoted(url: str) -> str:
    """The URL for a session that writes names as they are; not every pooler takes it, so it is for where it must be."""
    option = "options=-cquote_all_identifiers%3Doff"
    if re.search(r"[?&]options=", url):
        return re.sub(r"([?&])options=", rf"\1{option}%20", url)
    return f"{url}{'&' if '?' in url else '?'}{option}"


def set_limits(cursor: Any, lock_seconds: float) -> None:
    """Our limits for this transaction, in the place of those that somebody has set for the role or the database.

    It has to be the first statement of the transaction.
    """
    # Under a stricter level we would not see what others have done to the tables since we began.
    cursor.execute("set transaction isolation level read committed, read write")
    limits = {
        "lock_timeout": lock_seconds,
        "statement_timeout": STATEMENT_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_SECONDS,
        "transaction_timeout": 0,
    }
    # The driver writes text in UTF-8, whatever the server takes it for.
    ours = {name: int(seconds * 1000) for name, seconds in limits.items()} | {"client_encoding": "UTF8"}
    values = ", ".join(f"('{name}', '{value}')" for name, value in ours.items())
    # Not every server has all of them.
    cursor.execute(
        f"select set_config(name, value, true) from (values {values}) as ours (name, value)"  # noqa: S608
        " inner join pg_settings using (name)"
    )
    cursor.fetchall()
