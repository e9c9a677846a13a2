"""Superset's settings: one person's dashboard on loopback, which asks nothing of any other machine.

Read by Superset in its own environment; `dashboard.serve` names the folder and the key.
"""

import os
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from superset.config import TALISMAN_CONFIG as _SHIPPED

HOME = Path(os.environ["SUPERSET_HOME"])

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
SQLALCHEMY_DATABASE_URI = f"sqlite:///{HOME / os.environ['OREWATCH_DASHBOARD_DATABASE']}"

# A page is never older than the published version: nothing is cached, every query opens the file anew.
ROW_LIMIT = 100_000
SQL_MAX_ROW = 100_000

# What the shipped settings allow of other hosts (pictures that count visitors, maps) is taken out.
_POLICY = {
    **_SHIPPED["content_security_policy"],
    "img-src": ["'self'", "blob:", "data:"],
    "connect-src": ["'self'"],
    "style-src": ["'self'", "'unsafe-inline'"],
    "font-src": ["'self'", "data:"],
}
TALISMAN_CONFIG = {
    **_SHIPPED,
    "content_security_policy": _POLICY,
    "force_https": False,
    "session_cookie_secure": False,
}

APP_NAME = "Orewatch"
FAVICONS: list[dict[str, str]] = [{"href": "/static/assets/images/favicon.png"}]
FEATURE_FLAGS = {"ALERT_REPORTS": False, "HORIZONTAL_FILTER_BAR": True}

# Okabe and Ito's colours, which everybody can tell apart; the same as in the plots of the checks and the brief.
EXTRA_CATEGORICAL_COLOR_SCHEMES = [
    {
        "id": "orewatch",
        "label": "Orewatch",
        "isDefault": True,
        "colors": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"],
    }
]

_ONE_AT_A_TIME = threading.Lock()


@event.listens_for(Engine, "connect")
def _only_the_tables(connection: Any, _: Any) -> None:
    """Let DuckDB open nothing but the published files: SQL Lab could read, and write, every other file of this user."""
    if not type(connection).__module__.startswith("duckdb_engine"):
        return
    published = os.environ["OREWATCH_PUBLISHED"].replace("'", "''")
    # Connections at the same time share one DuckDB, whose settings are locked by the first of them.
    with _ONE_AT_A_TIME:
        cursor = connection.cursor()
        cursor.execute("select current_setting('lock_configuration')")
        if not cursor.fetchone()[0]:
            cursor.execute(f"set allowed_directories = ['{published}/']")
            cursor.execute("set enable_external_access = false")
            cursor.execute("set lock_configuration = true")
