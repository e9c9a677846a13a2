"""The dispatched macros, rendered without dbt, for either engine."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from jinja2 import Environment, StrictUndefined

from orchestration.settings import DBT_PROJECT_DIR

FILE = DBT_PROJECT_DIR / "macros" / "engines.sql"


class _Returned(Exception):  # noqa: N818  (not an error)
    def __init__(self, value: Any) -> None:
        self.value = value


def _return(value: Any) -> None:
    raise _Returned(value)


def dispatched() -> list[str]:
    """Names of the macros that have a form of their own for an engine."""
    return re.findall(r"{% macro default__(\w+)\(", FILE.read_text("utf-8"))


@cache
def _module(engine: str) -> Any:
    class Adapter:
        @staticmethod
        def dispatch(name: str, _: str) -> Callable[..., str]:
            module = _module(engine)
            return getattr(module, f"{engine}__{name}", None) or getattr(module, f"default__{name}")  # type: ignore[no-any-return]

    environment = Environment(undefined=StrictUndefined, autoescape=False, extensions=["jinja2.ext.do"])  # noqa: S701  (SQL)
    environment.globals.update({"adapter": Adapter, "return": _return})
    return environment.from_string(FILE.read_text("utf-8")).module


def macro(engine: str, name: str, *arguments: Any) -> Any:
    """What a macro renders, or returns, for `duckdb` or `spark`."""
    try:
        return str(getattr(_module(engine), name)(*arguments))
    except _Returned as returned:
        return returned.value
