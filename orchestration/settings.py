"""One frozen settings object, read from OREWATCH_* environment variables.

Nothing else in the package reads the environment. Everything that belongs to one source lives under
`<home>/<source>/`, so simulated and real prices can never share a lake, a warehouse or a published version.
"""

import datetime as dt
import os
import re
from pathlib import Path
from shutil import which
from typing import Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestration.channels import Channel, Receivers, read_channels
from orchestration.home import Home
from orchestration.market.errors import SettingsError

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DBT_PROJECT_DIR = PROJECT_ROOT / "dbt_project"

SourceName = Literal["sample", "yahoo", "files"]
EngineName = Literal["duckdb", "spark"]

SAMPLE_FIRST_SESSION = dt.date(2018, 1, 2)
SAMPLE_LAST_AS_OF = dt.date(2026, 3, 6)
_DATES_ALLOWED = f"allowed: a date as YYYY-MM-DD from {SAMPLE_FIRST_SESSION} to {SAMPLE_LAST_AS_OF}"
NEW_YORK = ZoneInfo("America/New_York")

# The models read the lake through patterns below the home, put together with str.format; the warehouse is an
# address to dbt, in which # begins a fragment.
PATTERN_SIGNS = "*?[]{}#"


class Settings(BaseSettings):
    """What a user can set, with defaults that run the simulated market out of the box."""

    model_config = SettingsConfigDict(
        env_prefix="OREWATCH_", env_ignore_empty=True, frozen=True, extra="ignore", hide_input_in_errors=True
    )

    source: SourceName = Field("sample", description="where prices come from")
    home: Path = Field(PROJECT_ROOT / "data", description="folder of lake, warehouse, published versions and runs")
    files: Path | None = Field(None, description="drop folder of the source `files`")
    seeds: Path = Field(DBT_PROJECT_DIR / "seeds", description="folder of the seed files")
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="currency in which instruments are compared")
    as_of: dt.date = Field(
        dt.date(2026, 1, 30), description="the simulated market's today; only the source `sample` reads it"
    )
    restatement_sessions: int = Field(
        10, ge=0, le=252, description="trailing sessions asked for again at every refresh"
    )
    whole_history_days: int = Field(
        7, ge=1, le=3650, description="days after which a symbol's whole history is read again from a remote source"
    )
    yahoo_connections: int = Field(6, ge=1, le=16, description="symbols asked of Yahoo at the same time, at most")
    yahoo_pause_seconds: float = Field(
        0.05, ge=0, le=60, description="pause before a free connection to Yahoo begins another symbol"
    )
    yahoo_timeout_seconds: float = Field(20, gt=0, le=300, description="time limit of one request to Yahoo")
    yahoo_attempts: int = Field(5, ge=1, le=20, description="attempts for one symbol before it is given up")
    yahoo_backoff_seconds: float = Field(
        2, ge=0, le=300, description="first wait after a rate limit; doubles, with jitter"
    )
    memory_gb: float = Field(6, ge=0.5, description="memory that building the tables may take; more goes to the disk")
    full_refresh_below_bars: int = Field(
        250_000, ge=0, description="number of stored bars below which a refresh builds all tables from the first bar on"
    )
    engine: EngineName = Field("duckdb", description="what runs the SQL of the models")
    spark: str = Field("local[*]", description="address of Spark, for the engine `spark`")
    spark_driver: str = Field("127.0.0.1", description="address of this machine, as workers of a cluster reach it")
    keep_runs_days: int = Field(400, ge=1, le=36500, description="days after which runs of Dagster are removed")
    # Longer than a check flags what comes late (`signals.new_events.LATE_DAYS`), or it would be sent again.
    keep_alerts_days: int = Field(400, ge=60, le=36500, description="days after which delivered alerts are removed")
    keep_briefs_days: int = Field(400, ge=1, le=36500, description="days after which written briefs are removed")
    keep_versions: int = Field(3, ge=2, le=1000, description="published versions that stay, the current one included")
    alerts: SecretStr = Field(SecretStr(""), description="channels of alerts; see `orchestration.channels`")
    alert_timeout_seconds: float = Field(
        20, ge=1, le=45, description="time limit of a channel's answer to one message; a sensor may take 60 seconds"
    )
    ui_url: str = Field("http://127.0.0.1:3000", description="where a reader of an alert finds the web UI")

    postgres_url: SecretStr = Field(SecretStr(""), description="PostgreSQL database that gets a copy of every version")
    postgres_schema: str = Field("orewatch", description="schema of that copy; `_sample` is added to simulated prices")
    postgres_reader: str = Field("", description="role of that database that may read the copy")

    store: str = Field("", description="address of an object store that gets the lake and every version")

    @field_validator("home", "files", "seeds", mode="after")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        try:
            return None if value is None else value.expanduser().resolve()
        except (OSError, RuntimeError) as error:  # an unknown user after ~, links in a circle
            raise ValueError(f"{error}; allowed: a folder") from None

    @field_validator("as_of", mode="before")
    @classmethod
    def _iso_date(cls, value: object) -> object:
        # pydantic also reads Unix seconds and date-times.
        if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
            raise ValueError(_DATES_ALLOWED)
        return value

    @field_validator("as_of")
    @classmethod
    def _inside_sample(cls, value: dt.date) -> dt.date:
        if not SAMPLE_FIRST_SESSION <= value <= SAMPLE_LAST_AS_OF:
            raise ValueError(_DATES_ALLOWED)
        return value

    @field_validator("alerts")
    @classmethod
    def _channels(cls, value: SecretStr) -> SecretStr:
        read_channels(value.get_secret_value())
        return value

    @field_validator("postgres_url")
    @classmethod
    def _postgres_address(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and not re.fullmatch(r"postgres(ql)?://[!-~]+", text):
            raise ValueError("allowed: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, signs like @ in it as %40")
        return value

    @field_validator("store")
    @classmethod
    def _store_address(cls, value: str) -> str:
        # Secrets come from the variables of the store's own programs, never in an address, which messages show.
        if value and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^\s@?#]*[^\s@?#/]/*", value):
            raise ValueError("allowed: an address like s3://BUCKET/FOLDER, without user, password or options")
        return value.rstrip("/")

    @field_validator("spark")
    @classmethod
    def _spark_address(cls, value: str) -> str:
        if not re.fullmatch(r"local(\[[\d*]+\])?|spark://[^\s/,]+:\d+(,[^\s/,]+:\d+)*", value):
            raise ValueError("allowed: local[2], local[*] or spark://HOST:PORT")
        return value

    @field_validator("postgres_schema")
    @classmethod
    def _schema_name(cls, value: str) -> str:
        # Short enough for what is added to it: `_sample`, `_next_<number>`, `_old_<number>`.
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,29}", value, re.ASCII) or value.startswith("pg_"):
            raise ValueError("allowed: up to 30 small letters, digits and _, no digit first, not pg_ first")
        return value

    @field_validator("postgres_reader")
    @classmethod
    def _role_name(cls, value: str) -> str:
        if not value.isprintable() or len(value) > 63:
            raise ValueError("allowed: the name of a role")
        return value

    @field_validator("ui_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/]\S*", value):
            raise ValueError("allowed: an address that begins with http:// or https://")
        if re.match(r"https?://[^/]*@", value):
            # It stands in every alert. The error would quote it.
            raise ValueError("allowed: an address without user name and password")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _folders_exist(self) -> Self:
        if self.home.exists() and not self.home.is_dir():
            raise ValueError(f"OREWATCH_HOME={self.home} is not a folder; allowed: a folder, or a new name")
        if any(sign in str(self.home) for sign in PATTERN_SIGNS):
            raise ValueError(f"OREWATCH_HOME={self.home}: allowed: a path without any of {' '.join(PATTERN_SIGNS)}")
        place = Path(self.store.removeprefix("file://")) if self.store.startswith("file://") else None
        if place and (self.home.is_relative_to(place.resolve()) or place.resolve().is_relative_to(self.home)):
            raise ValueError(f"OREWATCH_STORE={self.store}: allowed: a folder that is not of the home, nor around it")
        if not self.seeds.is_dir():
            raise ValueError(f"OREWATCH_SEEDS={self.seeds} is not a folder; allowed: a folder with the seed files")
        return self

    def drop_folder(self) -> Path:
        """The folder that a refresh of the source `files` reads; what only reads tables needs none.

        Raises:
            SettingsError: it is not set, or is no folder.
        """
        if self.files is None:
            raise SettingsError(
                "OREWATCH_FILES is not set; allowed: the folder that holds one CSV or Parquet per source symbol"
            )
        if not self.files.is_dir():
            raise SettingsError(f"OREWATCH_FILES={self.files} is not a folder; allowed: an existing folder")
        return self.files

    @property
    def simulated(self) -> bool:
        """Whether every price of this source is made up."""
        return self.source == "sample"

    @property
    def paths(self) -> Home:
        """Where everything of this source lies."""
        return Home(self.home / self.source)

    @property
    def has_java(self) -> bool:
        """Whether there is a Java, which Spark runs on."""
        return bool(os.environ.get("JAVA_HOME") or which("java"))

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Where alerts go; none: they are logged only."""
        return read_channels(self.alerts.get_secret_value())

    @property
    def receivers(self) -> Receivers:
        """The channels, and what every message to them needs."""
        return Receivers(self.channels, self.alert_timeout_seconds, self.ui_url)

    @property
    def postgres_readers_schema(self) -> str:
        """The schema that readers of PostgreSQL open; one of its own for simulated prices, whatever its name."""
        return f"{self.postgres_schema}_sample" if self.simulated else self.postgres_schema

    def now(self) -> dt.datetime:
        """The moment the pipeline believes it is, in UTC.

        The simulated market stands still on the evening of its as-of date; real sources use the clock.
        """
        if self.simulated:
            evening = dt.datetime.combine(self.as_of, dt.time(20, 0), tzinfo=NEW_YORK)
            return evening.astimezone(dt.UTC)
        return dt.datetime.now(dt.UTC)

    def given_environment(self) -> dict[str, str]:
        """The settings that were given, as variables that mean the same in any working directory; secrets in clear."""
        given = {name: getattr(self, name) for name in sorted(self.model_fields_set)}
        given = {name: v.get_secret_value() if isinstance(v, SecretStr) else v for name, v in given.items()}
        return {f"OREWATCH_{name.upper()}": str(value) for name, value in given.items() if value is not None}

    def dbt_environment(self) -> dict[str, str]:
        """Environment variables that the dbt project reads; `transform.dbt.DbtRunner` has the rest.

        For DuckDB paths stand inside SQL string literals there, so quotes are doubled here, once.
        """
        root = str(self.paths.root)
        return {
            "OREWATCH_SOURCE": self.source,
            "OREWATCH_ROOT": root if self.engine == "spark" else root.replace("'", "''"),
            "OREWATCH_WAREHOUSE": str(self.paths.warehouse),
            "OREWATCH_MEMORY_GB": str(self.memory_gb),
            "OREWATCH_ENGINE": self.engine,
            "OREWATCH_SPARK": self.spark,
            "OREWATCH_SPARK_DRIVER": self.spark_driver,
        }

    @property
    def on_duckdb(self) -> dict[str, str]:
        """What `dbt_environment` has of the same home with the other engine."""
        return self.model_copy(update={"engine": "duckdb"}).dbt_environment()


_SETTINGS = frozenset(f"OREWATCH_{name.upper()}" for name in Settings.model_fields)

# Ours too, read elsewhere: what dbt reads, and what the acceptance tests are given.
_KNOWN_VARIABLES = _SETTINGS | {
    "OREWATCH_ROOT",
    "OREWATCH_WAREHOUSE",
    "OREWATCH_REAL_FILES",
    "OREWATCH_REAL_BAD",
    "OREWATCH_YAHOO_REPLIES",
}


def load_settings() -> Settings:
    """Settings from the environment.

    Raises:
        SettingsError: one line naming the variable, its value and what is allowed.
    """
    unknown = sorted(name for name in os.environ if name.startswith("OREWATCH_") and name not in _KNOWN_VARIABLES)
    if unknown:
        raise SettingsError(f"{unknown[0]}: there is no such setting; allowed: {', '.join(sorted(_SETTINGS))}")
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        text = "; ".join(_readable(e) for e in error.errors())
        one_line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        raise SettingsError(one_line) from None


def _readable(error: object) -> str:
    """One pydantic complaint as `VARIABLE=value: what is allowed`."""
    e: dict = dict(error)  # type: ignore[call-overload]
    message = str(e["msg"]).removeprefix("Value error, ")
    if not e["loc"]:
        return message
    name = str(e["loc"][0])
    if "allowed: " not in message:
        message = f"allowed: {_allowed(name)}"
    if Settings.model_fields[name].annotation is SecretStr:
        return f"OREWATCH_{name.upper()}: {message}"
    return f"OREWATCH_{name.upper()}={_without_password(str(e['input']))}: {message}"


def _without_password(text: str) -> str:
    """The text without what stands before an @ in an address, and without its options."""
    return re.sub(r"(?<=://)(\S*?)\?\S*", r"\1?...", re.sub(r"(?<=://)\S*@", "...@", text))


def _allowed(name: str) -> str:
    """The values of a field, in words."""
    field = Settings.model_fields[name]
    if name == "source":
        return ", ".join(get_args(SourceName))
    if name == "as_of":
        return _DATES_ALLOWED.removeprefix("allowed: ")
    bounds = {
        key: f"{getattr(limit, key):g}" for limit in field.metadata for key in ("ge", "gt", "le") if hasattr(limit, key)
    }
    number = "a whole number" if field.annotation is int else "a number"
    lower = f"above {bounds['gt']} and up" if "gt" in bounds else f"from {bounds['ge']}"
    return f"{number} {lower} to {bounds['le']}" if "le" in bounds else f"{number} {lower} on"
