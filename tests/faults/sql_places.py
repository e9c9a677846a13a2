"""Where a fault can be put into the SQL of a model or macro: comparisons, whole numbers, conditions.

Jinja's own expressions count too, for the numbers and comparisons in them. Comments, strings and what configures a
model are left out.
"""

import re
from dataclasses import dataclass

from tests.faults.fault import Place

TURNED = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "=", "==": "!=", "!=": "=="}
SWAPPED = {"and": "or", "or": "and", "min": "max", "max": "min"}

_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_JINJA_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_JINJA_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
_COMMENT_OR_STRING = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\"[^\"]*\"")
_OPERATOR = re.compile(r"(?<![-<>=!:|~])(<>|<=|>=|==|!=|<|>|=)(?![<>=])")
_LOGIC = re.compile(r"\b(between|and|or)\b")
_NOT = re.compile(r"\bnot\s+")
_EXTREME = re.compile(r"\b(min|max)(?=(?:_by)?\()")
# `select 1` of an `exists` is as good with any number.
_NUMBER = re.compile(r"(?<![\w.\x01])(?<!select )\d+(?![\w.\x01])")
_GOES_ON = re.compile(r"[-<>=+*/|]")
# It names a column or ends a `when`: without it the statement is none any more.
_ENDS_MORE = re.compile(r"\bas\b|\bthen\b|\bend\b|,\s*$|;\s*$|\{%|%\}")


@dataclass(frozen=True)
class _Views:
    """The text twice, each time as long as it is: only its SQL, and only what Jinja computes."""

    sql: str
    jinja: str


def sql_places(text: str) -> list[Place]:
    """Every place of a file, in the order of the text."""
    views = _views(text)
    found = [*_numbers(views.sql), *_numbers(views.jinja)]
    found += [_turned(match) for match in _OPERATOR.finditer(views.sql)]
    # A single = gives Jinja's names their values.
    found += [_turned(match) for match in _OPERATOR.finditer(views.jinja) if match[0] != "="]
    logic = [*_logic(views.sql), *_logic(views.jinja)]
    found += [_swapped(match, "`and` and `or` exchanged") for match in logic]
    found += [_swapped(match, "`min` and `max` exchanged") for match in _EXTREME.finditer(views.sql)]
    found += [Place(match.start(), match.end(), "", "`not` dropped") for match in _NOT.finditer(views.sql)]
    found += _lines(text, views.sql, {match.start() for match in logic})
    return sorted(found, key=lambda place: (place.start, place.end))


def _views(text: str) -> _Views:
    text = _JINJA_COMMENT.sub(_blank, text)
    sql = _COMMENT_OR_STRING.sub(_blank_all_but_breaks, _JINJA.sub(lambda match: "\x01" * len(match[0]), text))
    jinja = list(re.sub(r"[^\n]", " ", text))
    for match in _JINJA.finditer(text):
        in_comment = "--" in text[: match.start()].rpartition("\n")[2]
        if not in_comment and not re.match(r"\{\{-?\s*config\(", match[0]):
            jinja[match.start() : match.end()] = _JINJA_STRING.sub(_blank, match[0])
    return _Views(sql, "".join(jinja))


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def _blank_all_but_breaks(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "\x01", match[0])


def _numbers(view: str) -> list[Place]:
    return [Place(m.start(), m.end(), str(int(m[0]) + 1), "bound moved") for m in _NUMBER.finditer(view)]


def _turned(match: re.Match[str]) -> Place:
    return Place(match.start(), match.end(), TURNED[match[1]], "comparison turned")


def _swapped(match: re.Match[str], kind: str) -> Place:
    return Place(match.start(), match.end(), SWAPPED[match[1]], kind)


def _logic(view: str) -> list[re.Match[str]]:
    """Each `and` and `or`, without the `and` of a `between`."""
    found, open_ranges = [], 0
    for match in _LOGIC.finditer(view):
        if match[1] == "between":
            open_ranges += 1
        elif match[1] == "and" and open_ranges:
            open_ranges -= 1
        else:
            found.append(match)
    return found


def _lines(text: str, sql: str, logic: set[int]) -> list[Place]:
    """Lines that are one whole condition beside others: what is left without them is still a statement."""
    found, begin = [], 0
    lines = sql.splitlines(keepends=True)
    for number, line in enumerate(lines):
        end, indent = begin + len(line), len(line) - len(line.lstrip(" "))
        following = next((later for later in lines[number + 1 :] if later.strip(" \n\x01")), "")
        goes_on = len(following) - len(following.lstrip(" ")) > indent or _GOES_ON.match(following.lstrip(" "))
        whole = line.count("(") == line.count(")") and not _ENDS_MORE.search(line) and "{%" not in text[begin:end]
        if line[indent:].startswith("and ") and begin + indent in logic and whole and not goes_on:
            found.append(Place(begin, end, "", "line dropped"))
        begin = end
    return found
