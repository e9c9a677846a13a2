"""The folders of a dataset: the one that counts, its exchange in one step, and what killed runs and copies have left.

A dataset's name is a link to the folder that counts, `.bars-<id>`: compaction builds another folder with the same
rows in fewer files and replaces the link. A folder that does not count, left by
a killed run or a restored home, is removed only once every row of it is in the one that counts: see
docs/decisions/0029-nothing-deleted-without-proof.md.
"""

import datetime as dt
import filecmp
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from orchestration.files import sync
from orchestration.ingest.parquet import TEMPORARY, first_line, new_batch_id, parquet_footer, write_part
from orchestration.market.errors import LakeError

# A folder that is being filled and that nobody has read yet.
_NEW = ".making-"

# An equal row is of the same batch and symbol: the others need not be held against it.
_MISSING = """
    from beside
    except all
    from counting
    where (coalesce(batch_id, ''), coalesce(symbol, '')) in (
        select distinct (coalesce(batch_id, ''), coalesce(symbol, '')) from beside
    )
"""


@dataclass(frozen=True)
class DatasetFolders:
    """The folders of one dataset."""

    root: Path  # of the lake
    dataset: str  # bars, rejected_bars or fetches
    schema: pa.Schema  # of its rows

    @property
    def current(self) -> Path:
        """The link to the folder that counts."""
        return self.root / self.dataset

    def new(self) -> Path:
        """An empty folder, which may take the place of the current one."""
        folder = self.root / f"{_NEW}{self.dataset}-{secrets.token_hex(4)}"
        folder.mkdir()
        return folder

    def exchange(self, folder: Path) -> None:
        """Let a folder take the place of the current one, in one step; the other one is removed.

        Args:
            folder: a new one with every row of the dataset; it gets another name.

        Raises:
            OSError: it could not be done; the dataset is what it was.
        """
        old = self.current.resolve() if self.current.exists() else None
        sync(folder)
        folder = folder.rename(self.root / f".{self.dataset}-{secrets.token_hex(4)}")
        if old is not None and not self.current.is_symlink():
            # Real where links were followed by a copy, or in a lake from before there were links. If this is killed
            # half-way, `link_again` makes the link.
            old = self.current.rename(self.root / f".{self.dataset}-{secrets.token_hex(4)}")
        try:
            self._link_to(folder)
        except OSError:
            if old is not None and not self.current.exists():
                old.rename(self.current)
            raise
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def _link_to(self, folder: Path) -> None:
        link = self.root / f".{self.dataset}.next"
        link.unlink(missing_ok=True)
        link.symlink_to(folder.name)
        link.replace(self.current)
        sync(self.root)

    def link_again(self) -> list[str]:
        """If the link is gone, leads nowhere or out of the lake, or is a text, link to the folder with the most rows.

        A folder outside may be another home's, from which a copy with its absolute links was made.

        Returns:
            What was done, for a person.

        Raises:
            LakeError: only a person can decide.
        """
        name = self.current
        leads_out = name.is_symlink() and name.resolve().parent != self.root.resolve()
        if name.is_dir() and not leads_out:
            return []
        folders = [
            folder for folder in self.root.glob(f".{self.dataset}-*") if folder.is_dir() and not folder.is_symlink()
        ]
        if leads_out and name.is_dir() and not folders:
            raise LakeError(
                f"{name}: leads to {name.readlink()}, out of this lake, where it may be another home's; copy that"
                f" folder to {self.root}, let the link lead to it by its name alone, and refresh again"
            )
        if name.is_file():
            # Some tools keep a link as a file with its target in it; another file is none of ours.
            target = self.root / name.read_bytes()[:255].decode("utf-8", "replace").strip()
            if target not in folders:
                raise LakeError(f"{name}: is a file where a folder or a link to one should be; move it away")
        if not folders and name.is_symlink():
            raise LakeError(
                f"{name}: leads to {name.readlink()}, which is not there; put that back (a copy, a disk), or remove the"
                " link to have everything fetched again"
            )
        if not folders:
            return []
        fullest = max(folders, key=lambda folder: (_rows_of(folder), folder.name))
        self._link_to(fullest)
        was = "led out of the lake" if leads_out else "was gone"
        return [f"{name}: its link {was}; {fullest.name}, which holds the most rows, counts again"]

    def settle_leftovers(self) -> list[str]:
        """Take over the rows that stand only in folders that do not count, then remove these; keep what is in doubt.

        Returns:
            What was done or kept, for a person.
        """
        name = self.current
        lines = []
        for folder in sorted(self.root.glob(f".{self.dataset}-*")):
            if not folder.is_dir() or folder.resolve() == name.resolve():
                continue
            try:
                if taken := self._take_over(folder):
                    lines.append(f"{name}: {taken} rows taken over that stood in {folder.name} only")
            except LakeError as error:
                lines.append(f"{folder}: is kept, as nothing proves that its rows stand in {name}: {error}")
                continue
            if strange := next((path for path in folder.iterdir() if not _is_ours(path)), None):
                lines.append(f"{folder}: is kept, as it holds {strange.name}; every row of it stands in {name} too")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        for folder in sorted(self.root.glob(f"{_NEW}{self.dataset}-*")):
            # It never counted: what cannot be read of its files stands where it came from.
            files = filter(_is_readable, folder.glob("*.parquet"))
            if missing := sum(self._missing_rows(path).num_rows for path in files):
                lines.append(f"{folder}: is kept, as {missing} rows of it do not stand in {name}")
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return lines

    def _take_over(self, folder: Path) -> int:
        """Add the rows of a folder that the current one lacks, file by file; returns how many.

        Raises:
            LakeError: a file cannot be read, or none be written.
        """
        batch, taken = new_batch_id(dt.datetime.now(dt.UTC)), 0
        for part, path in enumerate(sorted(folder.glob("*.parquet"))):
            missing = self._missing_rows(path)
            if missing.num_rows:
                write_part(self.current, batch, part, missing)
            taken += missing.num_rows
        return taken

    def _missing_rows(self, path: Path) -> pa.Table:
        """The rows of a file that stand in no file of the current folder.

        Raises:
            LakeError: a file cannot be read; the message names it.
        """
        import duckdb

        # Files never change, and most that are there twice have the same name.
        if _is_same_file(path, self.current / path.name) or not parquet_footer(path).num_rows:
            return self.schema.empty_table()
        if strange := set(pq.read_schema(path).names) - set(self.schema.names):
            raise LakeError(f"{path}: has columns that are not known: {', '.join(sorted(strange))}")
        counting = sorted(self.current.resolve().glob("*.parquet"))
        for other in counting:
            parquet_footer(other)
        with duckdb.connect() as connection:
            connection.register("beside", ds.dataset(str(path), schema=self.schema))
            connection.register("counting", ds.dataset([str(other) for other in counting], schema=self.schema))
            try:
                return connection.sql(_MISSING).to_arrow_table().cast(self.schema)
            except (duckdb.Error, OSError, pa.ArrowInvalid) as error:
                raise LakeError(f"{path}: cannot be compared with {self.current} ({first_line(error)})") from error


def _is_same_file(path: Path, other: Path) -> bool:
    return other.is_file() and (path.samefile(other) or filecmp.cmp(path, other, shallow=False))


def _is_ours(path: Path) -> bool:
    return path.suffix == ".parquet" or path.name.startswith(TEMPORARY)


def _is_readable(path: Path) -> bool:
    try:
        parquet_footer(path)
    except LakeError:
        return False
    return True


def _rows_of(folder: Path) -> int:
    """The rows of a folder's files, as far as they can be read."""
    return sum(parquet_footer(path).num_rows for path in folder.glob("*.parquet") if _is_readable(path))
