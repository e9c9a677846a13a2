"""What a fault is: one place of one file, and what stands there instead."""

import hashlib
from dataclasses import dataclass

SHOWN = 110


@dataclass(frozen=True)
class Place:
    """A place of a text where a fault can be put.

    Attributes:
        start, end: of what is replaced, in characters.
        new: what takes its place.
        kind: in words.
    """

    start: int
    end: int
    new: str
    kind: str


@dataclass(frozen=True)
class Fault:
    """One fault of one file.

    Attributes:
        id: by which a person names it.
        path: from the root of the repository.
        line: of the place, as an editor counts.
        place: where and what.
        before, after: the line or lines of the place, on one line.
        harm: what would go wrong; empty if nobody has thought about it.
    """

    id: str
    path: str
    line: int
    place: Place
    before: str
    after: str
    harm: str = ""

    @property
    def is_sql(self) -> bool:
        """Whether dbt has to read the models again."""
        return self.path.endswith(".sql")

    @property
    def diff(self) -> str:
        """The fault on one line."""
        return f"{self.path}:{self.line}: {self.before}  ->  {self.after}"

    def key(self, revision: str) -> str:
        """The same for the same fault of the same code, and for no other."""
        said = (revision, self.id, self.path, str(self.place), self.before, self.after)
        return hashlib.sha256("\0".join(said).encode()).hexdigest()[:24]

    def put_into(self, text: str) -> str:
        """The text of the file with the fault in it."""
        return text[: self.place.start] + self.place.new + text[self.place.end :]


def fault_at(name: str, path: str, text: str, place: Place, harm: str = "") -> Fault:
    """The fault at a place of a file with this text."""
    begin = text.rfind("\n", 0, place.start) + 1
    # What ends with its line break ends on that line.
    end = text.find("\n", max(place.end - 1, place.start))
    end = len(text) if end < 0 else end
    before, after = text[begin:end], text[begin : place.start] + place.new + text[place.end : max(end, place.end)]
    first = place.start + len(text[place.start : place.end]) - len(text[place.start : place.end].lstrip())
    return Fault(name, path, text.count("\n", 0, first) + 1, place, *_around_the_change(before, after), harm)


def _around_the_change(before: str, after: str) -> tuple[str, str]:
    """Both on one line each, and of long ones what is near the first difference."""
    one, other = " ".join(before.split()), " ".join(after.split())
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    begin = max(0, same - SHOWN // 2) if max(len(one), len(other)) > SHOWN else 0
    return _cut(one, begin), _cut(other, begin) or "(nothing)"


def _cut(text: str, begin: int) -> str:
    shown = text[begin : begin + SHOWN]
    return f"{'...' if begin and shown else ''}{shown}{'...' if begin + SHOWN < len(text) else ''}"
