"""Rows that lie together, as arrays: tables of millions of rows are read without a look at each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


def by_name(rows: pa.Table) -> "Iterator[tuple[str, tuple[NDArray[Any], ...]]]":
    """The columns of each name, as arrays; NULL is NaN.

    Args:
        rows: ordered by the name, which is the first column.
    """
    codes, names = numbered(rows.column(0))
    columns = [column.to_numpy() for column in rows.columns[1:]]
    for part in runs(codes):
        yield names[codes[part.start]], tuple(column[part] for column in columns)


def numbered(column: pa.ChunkedArray) -> "tuple[Numbers, list[str]]":
    """Texts as numbers, and the text of each number; in the order of texts, whoever comes first among the rows."""
    coded = column.combine_chunks().dictionary_encode()
    names = coded.dictionary.to_pylist()
    order = sorted(range(len(names)), key=names.__getitem__)
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    return place[coded.indices.to_numpy()], [names[at] for at in order]


def begins(*sorted_numbers: "Numbers") -> "Numbers":
    """Where each number of some sorted ones begins; of several rows of them, each combination."""
    if not len(sorted_numbers[0]):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.r_[True, np.any([np.diff(numbers) != 0 for numbers in sorted_numbers], axis=0)])


def runs(sorted_numbers: "Numbers") -> Iterator[slice]:
    """Where each number of some sorted ones stands."""
    places = begins(sorted_numbers).tolist()
    yield from map(slice, places, [*places[1:], len(sorted_numbers)])
