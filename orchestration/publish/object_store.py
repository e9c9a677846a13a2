"""An object store: folders of files at an address like s3://bucket/folder, through pyarrow's filesystems.

A store has no renames, no links and no locks, and an upload that breaks off may leave a short object. So what counts is
recorded, with sizes, in one small JSON object that is written last.

Who may read and write stands in the environment, as other programs know it: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, and AWS_ENDPOINT_URL for a store that is not Amazon's.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from orchestration.files import sync
from orchestration.market.errors import StoreError

# Files that are sent or fetched at the same time.
_AT_ONCE = 8
_CONNECT_SECONDS, _ATTEMPTS = 5, 4
_CHUNK_BYTES = 8 * 2**20

T = TypeVar("T")


@dataclass(frozen=True)
class ObjectStore:
    """Files below an address; `StoreError` says what could not be done with one of them.

    Attributes:
        address: for messages, and to tell stores apart.
        files: a filesystem whose root is the address.
        base: its bucket, or its folder on a disk, which has to be there.
    """

    address: str
    files: pafs.SubTreeFileSystem
    base: str

    @classmethod
    def at(cls, address: str, folder: str) -> "ObjectStore":
        """A folder of a store; nothing is asked for yet."""
        with _wrap_errors(address):
            if address.startswith("s3://"):
                filesystem, path = _s3(), address.removeprefix("s3://")
            else:
                filesystem, path = pafs.FileSystem.from_uri(address)
            base = path if isinstance(filesystem, pafs.LocalFileSystem) else path.partition("/")[0]
            return cls(f"{address}/{folder}", pafs.SubTreeFileSystem(f"{path}/{folder}", filesystem), base)

    def read_json(self, path: str) -> dict[str, Any] | None:
        """What an object says; None if there is none."""
        with _wrap_errors(f"{self.address}/{path}"):
            if self.files.get_file_info(path).type == pafs.FileType.NotFound:
                # A bucket whose name is misspelt, a disk that is not mounted: not the same as one with nothing in it.
                if self.files.base_fs.get_file_info(self.base).type != pafs.FileType.Directory:
                    raise FileNotFoundError(f"there is no {self.base}")
                return None
            with self.files.open_input_stream(path) as stream:
                content: dict[str, Any] = json.loads(stream.read())
                return content

    def write_json(self, path: str, content: Mapping[str, Any]) -> None:
        """Replace an object, in one step."""
        text = json.dumps(content, indent=2).encode()

        def write(path: str) -> None:
            there = f"{path}.next" if self._on_disk else path
            with self.files.open_output_stream(there) as sink:
                sink.write(text)
            if self._on_disk:
                self.files.move(there, path)

        with _wrap_errors(f"{self.address}/{path}"):
            self._make_folders([path])
            # In a thread: a signal that came between opening and writing would leave an empty object.
            self._in_parallel(write, [path])

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of the files below a folder, by their path in it."""
        with _wrap_errors(f"{self.address}/{folder}"):
            found = self.files.get_file_info(pafs.FileSelector(folder, allow_not_found=True, recursive=True))
            return {info.path.removeprefix(f"{folder}/"): info.size for info in found if info.is_file}

    def upload(self, pairs: Iterable[tuple[Path, str]]) -> None:
        """Send files, several at a time, and look that each has arrived whole."""

        def one(pair: tuple[Path, str]) -> None:
            source, path = pair
            with _wrap_errors(f"{self.address}/{path}"):
                with source.open("rb") as stream, self.files.open_output_stream(path) as sink:
                    shutil.copyfileobj(stream, sink, _CHUNK_BYTES)
                self._has_size(path, source.stat().st_size)

        pairs = list(pairs)
        with _wrap_errors(self.address):
            self._make_folders(path for _, path in pairs)
        self._in_parallel(one, pairs)

    def download(self, pairs: Iterable[tuple[str, Path]]) -> None:
        """Fetch files into folders that exist, several at a time, and flush them to the disk."""

        def one(pair: tuple[str, Path]) -> None:
            path, target = pair
            with _wrap_errors(f"{self.address}/{path}"):
                with self.files.open_input_stream(path) as stream, target.open("wb") as sink:
                    shutil.copyfileobj(stream, sink, _CHUNK_BYTES)
                sync(target)

        pairs = list(pairs)
        self._in_parallel(one, pairs)
        for folder in {target.parent for _, target in pairs}:
            sync(folder)

    def copy(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Copy objects to other names; their bytes do not leave the store."""

        def one(pair: tuple[str, str]) -> None:
            with _wrap_errors(f"{self.address}/{pair[0]}"):
                self.files.copy_file(*pair)

        pairs = list(pairs)
        with _wrap_errors(self.address):
            self._make_folders(target for _, target in pairs)
        self._in_parallel(one, pairs)

    def remove_folder(self, path: str) -> None:
        """Remove a folder with all that is in it."""
        with _wrap_errors(f"{self.address}/{path}"):
            self.files.delete_dir(path)

    @property
    def _on_disk(self) -> bool:
        return isinstance(self.files.base_fs, pafs.LocalFileSystem)

    def _has_size(self, path: str, size: int) -> None:
        found = self.files.get_file_info(path).size
        if found != size:
            raise OSError(f"{found} bytes arrived of {size}")

    def _make_folders(self, paths: Iterable[str]) -> None:
        """On a disk; an object store has none, and to make them there would leave empty objects."""
        if self._on_disk:
            for folder in {path.rpartition("/")[0] for path in paths}:
                self.files.create_dir(folder)

    @staticmethod
    def _in_parallel(one: Callable[[T], None], items: Iterable[T]) -> None:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(one, items):
                pass


def _s3() -> pafs.FileSystem:
    name = "AWS_ENDPOINT_URL_S3" if os.environ.get("AWS_ENDPOINT_URL_S3") else "AWS_ENDPOINT_URL"
    address = os.environ.get(name, "")
    # Of anything else a part would be dropped, and the files would go to another store, or to Amazon.
    if address and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s?#]*)?", address):
        raise ValueError(f"{name}: allowed: http:// or https://, host and port, and a path if the store lies below one")
    endpoint = urlsplit(address)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return pafs.S3FileSystem(
        scheme=endpoint.scheme or "https",
        endpoint_override=f"{endpoint.netloc}{endpoint.path}".rstrip("/") or None,
        # Elsewhere than at Amazon's a region is a word that nobody looks up.
        region=region or ("us-east-1" if endpoint.netloc else None),
        # A small file is one request then, instead of three.
        allow_delayed_open=True,
        connect_timeout=_CONNECT_SECONDS,
        retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=_ATTEMPTS),
    )


@contextmanager
def _wrap_errors(place: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoreError(f"{place}: {line}; see docs/object-store.md") from error
