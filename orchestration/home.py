"""Where the files of one source lie, below `<OREWATCH_HOME>/<source>/`: what crosses a door instead of all settings."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folder of everything that belongs to one source.

    Attributes:
        root: that folder.
    """

    root: Path

    @property
    def source(self) -> str:
        """The source that it is of: the folder's name."""
        return self.root.name

    @property
    def simulated(self) -> bool:
        """Whether every price in it is made up."""
        return self.source == "sample"

    @property
    def lake(self) -> Path:
        """The append-only Parquet lake."""
        return self.root / "lake"

    @property
    def reference(self) -> Path:
        """The validated seeds and exchange sessions, as the models read them."""
        return self.root / "control"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that dbt writes, or that gets what Spark has built; only the running refresh opens it."""
        return self.root / "warehouse.duckdb"

    @property
    def spark(self) -> Path:
        """Where Spark keeps the tables that it builds, and what it knows of them."""
        return self.root / "spark"

    @property
    def published(self) -> Path:
        """The folder of published versions and the link `current`."""
        return self.root / "published"

    @property
    def published_file(self) -> Path:
        """The DuckDB file that readers see now."""
        return self.published / "current" / "market.duckdb"

    @property
    def dbt(self) -> Path:
        """Where dbt keeps what it compiled, ran and logged."""
        return self.root / "dbt"

    @property
    def build_state(self) -> Path:
        """How far the warehouse has come, and what that allows; see `transform.build_state`."""
        return self.root / "build_state.json"

    @property
    def briefs(self) -> Path:
        """The written market briefs, a page and its Markdown per session."""
        return self.root / "briefs"

    @property
    def alerts(self) -> Path:
        """The outbox of alerts: what happened, and what each channel was sent."""
        return self.root / "alerts"

    @property
    def store_record(self) -> Path:
        """Which object store this home keeps; see `publish.backups`."""
        return self.root / "store.json"

    @property
    def lock(self) -> Path:
        """The file whose lock says who may write the lake and the warehouse."""
        return self.root / "refresh.lock"

    @property
    def dagster(self) -> Path:
        """Dagster's own run, event and schedule storage: one per source, or the state of a check would be of both."""
        return self.root / "dagster"
