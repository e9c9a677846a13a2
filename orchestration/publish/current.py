"""The link `current`, which says what readers see: flipped in one rename, mended where a copied home has lost it."""

import filecmp
import secrets
import shutil
from pathlib import Path

from orchestration.files import cannot_be_written, sync
from orchestration.market.errors import PublishError
from orchestration.publish.manifest import MANIFEST, is_whole, read_manifest, version_folder

_ASIDE = ".kept-"


def flip(published: Path, number: int) -> None:
    """Let readers see another version from their next open on."""
    link = published / ".current-next"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("versions") / str(number), target_is_directory=True)
    link.rename(published / "current")
    sync(published)


def numbered(versions: Path) -> list[int]:
    """The versions that are there, ascending; what somebody else has put beside them is none."""
    names = (path.name for path in versions.glob("*") if (path / MANIFEST).is_file())
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def let_readers_in(published: Path) -> list[str]:
    """Let `current` be a link to a whole version again, if a copied or restored home has lost that; says what was done.

    Nothing is removed but a folder that holds the same bytes as a version. Only the holder of the refresh lock may call
    this.

    Raises:
        PublishError: it cannot be done.
    """
    current = published / "current"
    try:
        if not published.is_dir() or (current.is_symlink() and _leads_into_this_home(current) and is_whole(current)):
            return []
        if current.is_dir() and not current.is_symlink() and is_whole(current):
            return _turn_into_link(current, published)
        there = reversed(numbered(published / "versions"))
        whole = next((number for number in there if is_whole(version_folder(published, number))), None)
        if whole is None:
            return []
        aside = [] if current.is_symlink() or not current.exists() else [_set_aside(current, published)]
        flip(published, whole)
    except OSError as error:
        raise PublishError(cannot_be_written(error, published)) from error
    return [*aside, f"{current}: led to no whole version; readers see version {whole} again, the newest that is whole"]


def _leads_into_this_home(current: Path) -> bool:
    """Whether the link leads to a version by this home's own folder, and not into the home that it was copied from."""
    return current.readlink().parent in (Path("versions"), current.parent / "versions")


def _turn_into_link(current: Path, published: Path) -> list[str]:
    """Where a copy has followed the link: let what readers see now be a version, and `current` a link to it."""
    manifest = read_manifest(current)
    assert manifest is not None  # noqa: S101  (it is whole)
    place, copy, aside = version_folder(published, manifest.version), None, []
    if place.exists() and not _have_same_content(current, place):
        aside.append(_set_aside(place, published))
    if place.exists():
        copy = current.rename(published / f"{_ASIDE}{secrets.token_hex(4)}")
    else:
        place.parent.mkdir(exist_ok=True)
        current.rename(place)
    flip(published, manifest.version)
    if copy:
        shutil.rmtree(copy)
    return [*aside, f"{current}: was a folder, and is a link to version {manifest.version} again"]


def _set_aside(path: Path, published: Path) -> str:
    aside = path.rename(published / f"{_ASIDE}{path.name}-{secrets.token_hex(4)}")
    return f"{path}: is kept as {aside.name}, as nothing proves that it may go"


def _have_same_content(folder: Path, other: Path) -> bool:
    """Whether two folders hold the same files with the same bytes."""
    names = [{path.relative_to(base) for path in base.rglob("*") if path.is_file()} for base in (folder, other)]
    return names[0] == names[1] and all(filecmp.cmp(folder / name, other / name, shallow=False) for name in names[0])
