"""The seed files: what they ship, and the one line that names whatever is wrong in them."""

import csv
import datetime as dt
import io
import os
import re
import shutil
from pathlib import Path

import pytest

from orchestration.market.errors import SeedError
from orchestration.market.universe import MOVE_MEASURES, SEED_FILES, Universe, load_universe

SHIPPED = Path(__file__).resolve().parents[2] / "dbt_project" / "seeds"

SEEDS = {
    "instruments": (
        "symbol,source_symbol,name,asset_class,metal,tier,calendar,currency,tick_size,metal_symbol,"
        "sector_symbol,active_from\n"
        "SI=F,SI=F,Silver futures,metal,silver,metal,CMES,USD,0.001,,,\n"
        "SIL,SIL,Silver Miners ETF,etf,silver,senior,XNYS,USD,0.01,SI=F,,\n"
        "FRES,FRES.L,Fresnillo,stock,silver,senior,XLON,GBp,0.5,SI=F,SIL,2008-05-14\n"
    ),
    "price_levels": (
        "level_id,symbol,lower,upper,kind,active_from,note\n"
        "silver_54,SI=F,54,54,resistance,2025-10-01,\n"
        'silver_zone,SI=F,54,56,support,2025-11-28,"a zone, not a line"\n'
    ),
    "pairs": "pair_id,long_symbol,short_symbol,kind,z_threshold\nmetal,SIL,SI=F,miners_to_metal,2\n",
    "move_rules": (
        "rule_id,scope,scope_value,measure,sessions,threshold,note\n"
        "senior_move,tier,senior,return_1d,1,0.06,\n"
        "unusual,all,,z_score,21,4,\n"
    ),
    "event_studies": (
        "study_id,scope,scope_value,signal,direction,threshold,note\n"
        "falls,symbol,SIL,return_1d,down,8%,\n"
        "large_falls,all,,large_move,down,,\n"
    ),
    "published_claims": (
        "claim_id,published_on,publisher,symbol,measure,argument,session_date,claimed,tolerance,note\n"
        "fall,2026-02-01,note,SIL,return_1d,,2026-01-30,-0.1478,0.0005,\n"
        "above,2026-02-01,note,SI=F,broke_level_up,silver_54,2026-01-30,,,\n"
        "beta,2026-02-01,note,SIL,beta_252_above,SI=F,2026-01-30,,,\n"
    ),
}
INSTRUMENT_COLUMNS = (
    "symbol, source_symbol, name, asset_class, metal, tier, calendar, currency, tick_size, metal_symbol, "
    "sector_symbol, active_from, settlement_time, watchlists, contract_months"
)
MEASURES = (
    "close, return_1d, return_ytd, return_1y, largest_fall_rank, broke_level_up, stayed_above_level, "
    "beta_252_above, volatility_spike_in_uptrend, return_period, share_up_after"
)
SYMBOL = "1 to 24 letters, digits and . ^ = _ & -, a letter, digit or ^ first"
IDENTIFIER = "1 to 64 small letters, digits and _, a letter first"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of small valid seeds."""
    for name, text in SEEDS.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def error_of(folder: Path) -> str:
    with pytest.raises(SeedError) as caught:
        load_universe(folder)
    message = str(caught.value)
    assert message.isprintable()
    assert "allowed: " in message
    return message


def edit(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / f"{file}.csv"
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    path.write_text(text.replace(old, new))


# ---- what is shipped


def test_shipped_seeds() -> None:
    universe = load_universe(SHIPPED)
    assert len(universe.instruments) == 54  # the rates of four currencies among them
    assert universe.symbols[:8] == ("SI=F", "GC=F", "SLV", "GLD", "SIL", "SILJ", "SLVP", "AUAU")
    assert set(universe.symbols[-4:]) == {"CADUSD=X", "GBPUSD=X", "AUDUSD=X", "ZARUSD=X"}
    # Three miners of each exchange abroad.
    abroad = [i.calendar for i in universe.instruments if i.asset_class == "stock" and i.calendar != "XNYS"]
    assert {name: abroad.count(name) for name in abroad} == {"XLON": 3, "XTSE": 3, "XASX": 3, "XJSE": 3}
    bounds = {(level.symbol, level.lower, level.upper) for level in universe.levels}
    assert bounds >= {
        ("SI=F", 50, 50),
        ("SI=F", 54, 54),
        ("SI=F", 56, 56),
        ("SI=F", 54, 56),
        ("SI=F", 100, 100),
        ("GC=F", 4000, 4000),
        ("GC=F", 5000, 5000),
    }
    assert [level.level_id for level in universe.levels if level.is_zone] == ["silver_54_56_zone"]


def test_shipped_instruments_are_compared_with_their_own_metal() -> None:
    universe = load_universe(SHIPPED)
    metal_of = {i.symbol: i.metal for i in universe.instruments}
    for instrument in universe.instruments:
        if instrument.metal_symbol:
            assert metal_of[instrument.metal_symbol] == instrument.metal, instrument.symbol
        assert instrument.symbol not in (instrument.metal_symbol, instrument.sector_symbol)


def test_shipped_rules_cover_every_tier() -> None:
    universe = load_universe(SHIPPED)
    tiers = {rule.scope_value: rule.threshold for rule in universe.move_rules if rule.measure == "return_1d"}
    assert set(tiers) == {instrument.tier for instrument in universe.instruments}
    assert (tiers["metal"], tiers["senior"], tiers["junior"]) == (0.05, 0.06, 0.07)


def test_shipped_rules_use_every_measure_but_the_depths() -> None:
    used = {rule.measure for rule in load_universe(SHIPPED).move_rules}
    assert used == set(MOVE_MEASURES) - {"drawdown", "distance_from_52w_high"}


@pytest.mark.parametrize(
    ("row", "threshold"),
    [
        ("deep,all,,drawdown,1,20%,", 0.2),
        ("far,all,,distance_from_52w_high,1,0.3,", 0.3),
        ("long,all,,cumulative_return,252,14.5 %,", 0.145),
        ("short,all,,cumulative_return,1,.5%,", 0.005),
        ("odd,all,,percentile,252,99.8%,", 0.998),
        ("points,symbol,SIL,point_change,1,2.5,", 2.5),
    ],
)
def test_rules_as_people_say_them(folder: Path, row: str, threshold: float) -> None:
    path = folder / "move_rules.csv"
    path.write_text(f"{path.read_text()}{row}\n")
    assert load_universe(folder).move_rules[-1].threshold == threshold


def test_a_spreadsheet_writes_percent_with_its_comma(folder: Path) -> None:
    path = folder / "move_rules.csv"
    path.write_text("rule_id;scope;scope_value;measure;sessions;threshold;note\nday;all;;return_1d;1;5,5 %;\n")
    assert load_universe(folder).move_rules[-1].threshold == 0.055


def test_instruments_stand_on_several_watchlists(folder: Path) -> None:
    path = folder / "instruments.csv"
    lists = ["watchlists", "core", "core mine", '"; mine|core;"']
    text = "\n".join(f"{line},{names}" for line, names in zip(path.read_text().splitlines(), lists, strict=True))
    path.write_text(text)
    universe = load_universe(folder)
    assert universe.watchlists == {"core": ("SI=F", "SIL", "FRES"), "mine": ("SIL", "FRES")}
    assert universe.instruments[2].model_dump()["watchlists"] == "mine core"
    path.write_text(text.replace("core mine", "core Mine"))
    assert error_of(folder) == (
        f"instruments.csv, row 3, column watchlists: 'core Mine' is not allowed; allowed: {IDENTIFIER}"
    )


def test_shipped_moves_of_several_sessions_grow_with_about_the_root_of_their_length() -> None:
    rules = load_universe(SHIPPED).move_rules
    daily = {rule.scope_value: rule.threshold for rule in rules if rule.measure == "return_1d"}
    several = [rule for rule in rules if rule.measure == "cumulative_return"]
    assert {(rule.scope_value, rule.sessions) for rule in several} == {(t, n) for t in daily for n in (2, 3, 5, 10, 21)}
    for rule in several:
        assert 1.1 < rule.threshold / (daily[rule.scope_value] * rule.sessions**0.5) < 1.4, rule.rule_id


def test_shipped_claims_are_those_of_the_market_note() -> None:
    claims = {claim.claim_id: claim for claim in load_universe(SHIPPED).claims}
    assert claims["note_sil_fall"].claimed == -0.1478
    assert claims["note_sil_close"].claimed == 94.30
    assert claims["note_sil_year_to_date"].claimed == 1.8045
    assert claims["note_auau_fall"].session_date == dt.date(2026, 1, 30)


# ---- what is read


def test_values(folder: Path) -> None:
    universe = load_universe(folder)
    fresnillo = universe.instrument("FRES")
    assert fresnillo.source_symbol == "FRES.L"
    assert fresnillo.tick_size == 0.5
    assert fresnillo.active_from == dt.date(2008, 5, 14)
    silver = universe.instrument("SI=F")
    assert (silver.metal_symbol, silver.sector_symbol, silver.active_from) == (None, None, None)
    assert universe.levels[1].note == "a zone, not a line"
    assert universe.move_rules[1].scope_value is None


GROUPS = """kind,name,label,order
asset_class,metal,Futures,1
asset_class,etf,Funds,2
asset_class,stock,Companies,3
metal,silver,Silver,2
metal,copper,Copper,1
tier,metal,Metal,1
tier,senior,Seniors,2
tier,explorer,Explorers,3
pair_kind,miners_to_metal,Miners against metal,1
"""


def test_a_group_is_a_row(folder: Path) -> None:
    (folder / "groups.csv").write_text(GROUPS)
    edit(folder, "instruments", "stock,silver,senior", "stock,copper,explorer")
    universe = load_universe(folder)
    assert (universe.instrument("FRES").metal, universe.instrument("FRES").tier) == ("copper", "explorer")
    assert universe.names_of("metal") == ("copper", "silver")
    edit(folder, "pairs", "miners_to_metal", "metal_ratio")
    assert error_of(folder) == (
        "pairs.csv, row 2, column kind: 'metal_ratio' is not allowed; allowed: miners_to_metal "
        "(others are declared in groups.csv)"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "metal,copper", "metal,silver",
            "row 6, column name: 'silver' stands already in row 5; allowed: each name once",
        ),
        (
            "explorer", "miners",
            ("row 9, column name: 'miners' is not allowed; "
            "allowed: another name for a tier (it means all tiers)"),
        ),
        ("Explorers,3", "Explorers,", "row 9, column order: '' is not allowed; allowed: a whole number"),
        ("Explorers", "=1", (
            "row 9, column label: '=1' would be run as a formula by a spreadsheet; "
            "allowed: a text that does not begin with = + - @"
        )),
    ],
)  # fmt: skip
def test_groups_that_are_wrong(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "groups.csv").write_text(GROUPS)
    edit(folder, "groups", old, new)
    assert error_of(folder) == f"groups.csv, {message}"


def test_unknown_symbol_of_a_universe(folder: Path) -> None:
    with pytest.raises(KeyError, match="NOPE"):
        load_universe(folder).instrument("NOPE")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark(folder: Path, end: str, mark: str) -> None:
    expected = load_universe(folder)
    for name, text in SEEDS.items():
        (folder / f"{name}.csv").write_bytes((mark + text.replace("\n", end)).encode())
    assert load_universe(folder) == expected


def test_blank_lines_and_spaces_around_cells(folder: Path) -> None:
    expected = load_universe(folder)
    (folder / "pairs.csv").write_text(
        " pair_id , long_symbol,short_symbol ,kind,z_threshold\n\n , ,,,\nmetal , SIL,SI=F, miners_to_metal,2\n\n\n"
    )
    assert load_universe(folder) == expected


def test_columns_in_another_order(folder: Path) -> None:
    expected = load_universe(folder)
    (folder / "pairs.csv").write_text(
        "kind,short_symbol,long_symbol,pair_id,z_threshold\nminers_to_metal,SI=F,SIL,metal,2\n"
    )
    assert load_universe(folder) == expected


@pytest.mark.parametrize("file", [name for name in SEED_FILES if name not in ("groups", "instruments")])
def test_header_only(folder: Path, file: str) -> None:
    (folder / f"{file}.csv").write_text(SEEDS[file].partition("\n")[0])
    if file == "price_levels":  # its claims name a level
        (folder / "published_claims.csv").write_text(SEEDS["published_claims"].partition("\n")[0])
    universe = load_universe(folder)
    attribute = {"price_levels": "levels", "published_claims": "claims"}.get(file, file)
    assert getattr(universe, attribute) == ()
    assert isinstance(universe, Universe)


# ---- whole files


def test_no_instruments(folder: Path) -> None:
    (folder / "instruments.csv").write_text(SEEDS["instruments"].partition("\n")[0])
    assert error_of(folder) == "instruments.csv: no rows; allowed: at least one instrument"


def test_missing_file(folder: Path) -> None:
    (folder / "pairs.csv").unlink()
    assert error_of(folder) == (
        f"pairs.csv: the file is missing in {folder}; "
        "allowed: a CSV with the columns pair_id, long_symbol, short_symbol, kind, z_threshold"
    )


def test_folder_in_place_of_a_file(folder: Path) -> None:
    (folder / "pairs.csv").unlink()
    (folder / "pairs.csv").mkdir()
    assert error_of(folder) == "pairs.csv: cannot be read (Is a directory); allowed: a readable CSV file"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_file_without_permission(folder: Path) -> None:
    (folder / "pairs.csv").chmod(0)
    assert error_of(folder) == "pairs.csv: cannot be read (Permission denied); allowed: a readable CSV file"


@pytest.mark.parametrize("content", [b"", b"\n\n", b"  \n", b"\xef\xbb\xbf"])
def test_empty_file(folder: Path, content: bytes) -> None:
    (folder / "pairs.csv").write_bytes(content)
    assert error_of(folder) == (
        "pairs.csv: the file is empty; allowed: a header row with pair_id, long_symbol, short_symbol, kind, z_threshold"
    )


@pytest.mark.parametrize("note", ["=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)"])
def test_a_text_that_a_spreadsheet_would_run(folder: Path, note: str) -> None:
    path = folder / "instruments.csv"
    path.write_text(path.read_text("utf-8").replace("Fresnillo", note, 1), "utf-8")
    message = error_of(folder)
    assert "column name: " in message
    assert message.endswith("as a formula by a spreadsheet; allowed: a text that does not begin with = + - @")


@pytest.mark.parametrize("sign", ["\u202e", "\u2066", "\u200b", "\ufeff"])
def test_signs_that_turn_or_hide_writing(folder: Path, sign: str) -> None:
    path = folder / "instruments.csv"
    path.write_text(path.read_text("utf-8").replace("Fresnillo", f"Fres{sign}nillo", 1), "utf-8")
    assert "control character; allowed: text on one line" in error_of(folder)


def test_a_pipe_in_place_of_a_file(folder: Path) -> None:
    (folder / "pairs.csv").unlink()
    os.mkfifo(folder / "pairs.csv")
    assert error_of(folder) == "pairs.csv: not a regular file; allowed: a readable CSV file"


def test_a_seed_of_a_gigabyte(folder: Path) -> None:
    os.truncate(folder / "pairs.csv", 2**30)
    assert error_of(folder) == "pairs.csv: more than 10000000 bytes; allowed: at most 10000000"


def test_file_that_is_not_utf8(folder: Path) -> None:
    path = folder / "instruments.csv"
    path.write_bytes(path.read_bytes().replace(b"Fresnillo", "Peñoles".encode("latin-1")))
    assert error_of(folder) == (
        "instruments.csv, row 4: byte 0xf1 is not UTF-8; "
        "allowed: a CSV saved as UTF-8 (a spreadsheet calls it CSV UTF-8)"
    )


def test_missing_column(folder: Path) -> None:
    edit(folder, "instruments", "tick_size,", "")
    assert error_of(folder) == (f"instruments.csv, row 1: column 'tick_size' is missing; allowed: {INSTRUMENT_COLUMNS}")


def as_a_spreadsheet_saves(text: str, form: str) -> bytes:
    header, *rows = text.splitlines()
    lines = [next(csv.reader([row])) for row in (header, *rows)]
    separator = {"semicolons": ";", "tabs": "\t", "separator said": ";"}.get(form, ",")
    if form == "columns behind":
        lines = [[*line, "", ""] for line in lines]
    if form == "cells left out":
        lines = [lines[0], *([*line[: max(n for n, cell in enumerate(line, 1) if cell)]] for line in lines[1:])]
    if form == "rows below":
        lines += [[""] * len(lines[0])] * 3
    if form in ("semicolons", "tabs"):
        lines = [lines[0], *([re.sub(r"^(\d+)\.(\d+)$", r"\1,\2", cell) for cell in line] for line in lines[1:])]
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator="\r\n").writerows(lines)
    said = stream.getvalue()
    if form == "separator said":
        said = "\r\nsep=;\r\n" + said
    if form == "capitals":
        said = said.replace(header, header.title())
    if form == "midnight":
        said = re.sub(r"(\d{4}-\d\d-\d\d)", r"\1 00:00:00", said)
    return said.encode("utf-16" if form in ("UTF-16", "tabs") else "utf-8-sig")


@pytest.mark.parametrize(
    "form",
    ["semicolons", "tabs", "separator said", "columns behind", "cells left out", "rows below", "capitals", "UTF-16",
     "midnight"],
)  # fmt: skip
def test_what_a_spreadsheet_saves_is_read(folder: Path, form: str) -> None:
    expected = load_universe(folder)
    for name, text in SEEDS.items():
        (folder / f"{name}.csv").write_bytes(as_a_spreadsheet_saves(text, form))
    assert load_universe(folder) == expected


def test_a_mexican_share_has_a_symbol(folder: Path) -> None:
    edit(folder, "instruments", "FRES,FRES.L", "FRES,PE&OLES.MX")
    assert load_universe(folder).instrument("FRES").source_symbol == "PE&OLES.MX"


@pytest.mark.parametrize("written", ['"54,5"', '"4,000"', "4\u00a0000", "4'000"])
def test_a_number_as_a_spreadsheet_shows_it_is_told_how_to_write_it(folder: Path, written: str) -> None:
    edit(folder, "price_levels", "54,54", f"{written},9999")
    assert error_of(folder).endswith(
        "allowed: a number such as 1234.5, with a point before decimals and no sign between thousands"
    )


def test_a_date_as_a_spreadsheet_shows_it_is_told_how_to_write_it(folder: Path) -> None:
    edit(folder, "price_levels", "2025-10-01", "10/1/2025")
    assert error_of(folder) == (
        "price_levels.csv, row 2, column active_from: '10/1/2025' is not allowed; "
        "allowed: a date as YYYY-MM-DD (in a spreadsheet, give the column the format of a text)"
    )


def test_unknown_column(folder: Path) -> None:
    edit(folder, "pairs", "kind", "kind,comment")
    assert error_of(folder) == (
        "pairs.csv, row 1: column 'comment' is unknown; allowed: pair_id, long_symbol, short_symbol, kind, z_threshold"
    )


def test_unknown_column_with_a_line_break(folder: Path) -> None:
    edit(folder, "pairs", "kind", 'kind,"com\nment"')
    assert error_of(folder) == (
        "pairs.csv, row 1: column 'com?ment' is unknown; allowed: pair_id, long_symbol, short_symbol, kind, z_threshold"
    )


def test_duplicate_column(folder: Path) -> None:
    edit(folder, "pairs", "kind", "kind,kind")
    assert error_of(folder) == "pairs.csv, row 1: column 'kind' stands twice; allowed: each column once"


def test_ragged_row(folder: Path) -> None:
    edit(folder, "pairs", "SIL,SI=F,miners_to_metal", "SIL,SI=F,miners_to_metal,")
    assert error_of(folder) == (
        "pairs.csv, row 2: 6 cells where the header has 5; "
        "allowed: one cell per column (quote a text that holds a comma)"
    )
    edit(folder, "pairs", "SIL,SI=F,miners_to_metal,", "SIL,SI=F")
    assert error_of(folder).startswith("pairs.csv, row 2, column z_threshold: '' is not allowed; allowed: a number")


def test_quote_that_is_not_closed(folder: Path) -> None:
    edit(folder, "pairs", "metal,SIL", '"metal,SIL')
    assert error_of(folder) == ("pairs.csv, row 2: unexpected end of data; allowed: comma-separated values")


def test_rows_are_counted_as_an_editor_counts_them(folder: Path) -> None:
    edit(folder, "instruments", "FRES,", "\n\nFRES,")
    edit(folder, "instruments", "XLON", "LSE")
    assert error_of(folder).startswith("instruments.csv, row 6, column calendar: 'LSE'")


# ---- single cells


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (
            "instruments", "silver,senior,XLON", "silver,mid,XLON",
            ("row 4, column tier: 'mid' is not allowed; allowed: metal, senior, junior, royalty, benchmark"
            " (others are declared in groups.csv)"),
        ),
        (
            "instruments", "silver,senior,XLON", "silver,,XLON",
            ("row 4, column tier: '' is not allowed; allowed: metal, senior, junior, royalty, benchmark"
            " (others are declared in groups.csv)"),
        ),
        (
            "instruments", "stock,silver", "bond,silver",
            ("row 4, column asset_class: 'bond' is not allowed; allowed: metal, etf, stock, index, fx"
            " (others are declared in groups.csv)"),
        ),
        (
            "instruments", "stock,silver", "stock,copper",
            ("row 4, column metal: 'copper' is not allowed; allowed: silver, gold, platinum, palladium "
            "(others are declared in groups.csv)"),
        ),
        (
            "instruments", "stock,silver", "stock,Sliver",
            ("row 4, column metal: 'Sliver' is not allowed; allowed: silver, gold, platinum, palladium "
            "(nearest: silver; others are declared in groups.csv)"),
        ),
        (
            "instruments", "XLON", "LSE",
            ("row 4, column calendar: 'LSE' is not allowed; "
            "allowed: a calendar of exchange_calendars such as XNYS, CMES or XLON"),
        ),
        (
            "instruments", "XLON", "XTAE",
            ("row 4, column calendar: 'XTAE' is not allowed; "
            "allowed: a calendar of exchange_calendars such as XNYS, CMES or XLON"),
        ),
        (
            "instruments", "GBp", "pence",
            ("row 4, column currency: 'pence' is not allowed; "
            "allowed: a code of three letters such as USD or GBp"),
        ),
        (
            "instruments", "0.5", "-0.5",
            "row 4, column tick_size: '-0.5' is not allowed; allowed: a number above 0",
        ),
        ("instruments", "0.5", "0", "row 4, column tick_size: '0' is not allowed; allowed: a number above 0"),
        ("instruments", "0.5", "", "row 4, column tick_size: '' is not allowed; allowed: a number"),
        ("instruments", "0.5", "half", "row 4, column tick_size: 'half' is not allowed; allowed: a number"),
        (
            "instruments", "0.5", "inf",
            "row 4, column tick_size: 'inf' is not allowed; allowed: a finite number",
        ),
        (
            "instruments", "0.5", "nan",
            "row 4, column tick_size: 'nan' is not allowed; allowed: a finite number",
        ),
        (
            "instruments", "0.5", "1e999",
            "row 4, column tick_size: '1e999' is not allowed; allowed: a finite number",
        ),
        *(
            (
                "instruments", "2008-05-14", written,
                f"row 4, column active_from: '{written}' is not allowed; allowed: a date as YYYY-MM-DD",
            )
            for written in ("14 May 2008", "2008-05-32", "2008-13-01", "20080514", "0", "2008-05-14T00:00:00")
        ),
        (
            "instruments", "Fresnillo", "",
            "row 4, column name: '' is not allowed; allowed: a text that is not empty",
        ),
        (
            "instruments", "Fresnillo", "x" * 121,
            f"row 4, column name: '{'x' * 121}' is not allowed; allowed: a text of at most 120 characters",
        ),
        (
            "instruments", "Fresnillo", '"Fres\nnillo"',
            ("row 5, column name: 'Fres\\nnillo' holds a line break or a control character; "
            "allowed: text on one line"),
        ),
        (
            "instruments", "Fresnillo", "Fres\u2028nillo",
            ("row 4, column name: 'Fres\\u2028nillo' holds a line break or a control character; "
            "allowed: text on one line"),
        ),
        (
            "instruments", "FRES,", "FR ES,",
            f"row 4, column symbol: 'FR ES' is not allowed; allowed: {SYMBOL}",
        ),
        (
            "instruments", "FRES.L", "../FRES",
            f"row 4, column source_symbol: '../FRES' is not allowed; allowed: {SYMBOL}",
        ),
        (
            "instruments", "FRES,", "SIL,",
            "row 4, column symbol: 'SIL' stands already in row 3; allowed: each symbol once",
        ),
        (
            "instruments", "FRES.L", "sil",
            "row 4, column source_symbol: 'sil' stands already in row 3; allowed: each source_symbol once",
        ),
        (
            "instruments", "SI=F,SIL", "SLV,SIL",
            "row 4, column metal_symbol: 'SLV' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "instruments", "SI=F,SIL", "SI=F,GDX",
            "row 4, column sector_symbol: 'GDX' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "price_levels", "54,56", "54,53",
            "row 3, column upper: 53 is below lower 54; allowed: upper >= lower",
        ),
        ("price_levels", "54,56", "abc,56", "row 3, column lower: 'abc' is not allowed; allowed: a number"),
        ("price_levels", "54,56", "54,", "row 3, column upper: '' is not allowed; allowed: a number"),
        (
            "price_levels", "silver_zone,SI=F", "silver_zone,XYZ",
            "row 3, column symbol: 'XYZ' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "price_levels", "support", "floor",
            "row 3, column kind: 'floor' is not allowed; allowed: resistance, support, psychological, record",
        ),
        (
            "price_levels", "silver_zone", "Silver Zone",
            f"row 3, column level_id: 'Silver Zone' is not allowed; allowed: {IDENTIFIER}",
        ),
        (
            "price_levels", "silver_zone", "silver_54",
            "row 3, column level_id: 'silver_54' stands already in row 2; allowed: each level_id once",
        ),
        (
            "pairs", "metal,SIL", "metal,ABC",
            "row 2, column long_symbol: 'ABC' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "pairs", "SI=F,miners", "ABC,miners",
            "row 2, column short_symbol: 'ABC' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "pairs", "miners_to_metal", "friends",
            ("row 2, column kind: 'friends' is not allowed; "
            "allowed: junior_senior, miners_to_metal, metal_ratio (others are declared in groups.csv)"),
        ),
        (
            "event_studies", "symbol,SIL", "symbol,SLV",
            "row 2, column scope_value: 'SLV' is unknown; allowed: FRES, SI=F, SIL",
        ),
        (
            "event_studies", "return_1d,down,8%", "return_1d,down,",
            "row 2, column threshold: '' is not allowed; allowed: a fraction above 0, or 5%",
        ),
        (
            "event_studies", "large_move,down,", "large_move,down,0.05",
            "row 3, column threshold: '0.05' is not allowed; allowed: nothing, unless signal is return_1d",
        ),
        (
            "event_studies", "large_falls,", "large_move,",
            "row 3, column study_id: 'large_move' is not allowed; allowed: another name than that of a signal",
        ),
        (
            "move_rules", "tier,senior", "tier,mid",
            "row 2, column scope_value: 'mid' is unknown; allowed: metal, senior",
        ),
        (
            "move_rules", "tier,senior", "symbol,",
            "row 2, column scope_value: '' is unknown; allowed: FRES, SI=F, SIL",
        ),
        (
            "move_rules", "all,,", "all,senior,",
            "row 3, column scope_value: 'senior' is not allowed; allowed: nothing, because scope is 'all'",
        ),
        (
            "move_rules", "tier,senior", "country,senior",
            "row 2, column scope: 'country' is not allowed; allowed: all, asset_class, tier, symbol",
        ),
        (
            "move_rules", "z_score,21", "z_score,22",
            "row 3, column sessions: 22 is not computed for z_score; allowed: 21, 63",
        ),
        (
            "price_levels", "note\nsilver_54,SI=F,54,54,resistance,2025-10-01,",
            "note,series\nsilver_54,SI=F,54,54,resistance,2025-10-01,,gold",
            ("row 2, column series: 'gold' is unknown; "
            "allowed: nothing, sma_50, sma_200, or a pair_id of pairs.csv"),
        ),
        (
            "price_levels", "note\nsilver_54,SI=F,54,54,resistance,2025-10-01,",
            "note,series\nsilver_54,SI=F,54,54,resistance,2025-10-01,,metal",
            "row 2, column symbol: 'SI=F' is not allowed; allowed: SIL, the long_symbol of metal",
        ),
        (
            "move_rules", "unusual,all,,z_score,21,4", "unusual,all,,z_score,21,400%",
            ("row 3, column threshold: 400% is not allowed; "
            "allowed: a multiple of the dispersion before the day, without %"),
        ),
        (
            "move_rules", "return_1d,1,0.06", "return_1d,1,600%",
            "row 2, column threshold: 6 is not allowed; allowed: 1e-06 to 1 for return_1d (a fraction)",
        ),
        (
            "move_rules", "return_1d,1,0.06", "drawdown,5,0.06",
            "row 2, column sessions: 5 is not computed for drawdown; allowed: 1",
        ),
        (
            "move_rules", "return_1d,1", "return_1d,5",
            "row 2, column sessions: 5 is not computed for return_1d; allowed: 1",
        ),
        (
            "move_rules", "z_score,21", "z_score,0",
            "row 3, column sessions: '0' is not allowed; allowed: a whole number from 1",
        ),
        (
            "move_rules", "z_score,21", "z_score,253",
            "row 3, column sessions: '253' is not allowed; allowed: a whole number up to 252",
        ),
        (
            "move_rules", "z_score,21", "z_score,21.5",
            "row 3, column sessions: '21.5' is not allowed; allowed: a whole number",
        ),
        (
            "move_rules", "0.06", "-0.06",
            "row 2, column threshold: '-0.06' is not allowed; allowed: a number above 0",
        ),
        (
            "move_rules", "return_1d,1", "return_2d,1",
            ("row 2, column measure: 'return_2d' is not allowed; allowed: return_1d, opening_gap, cumulative_return, "
            "drawdown, distance_from_52w_high, point_change, z_score, z_ewma, robust_z, percentile, volume_ratio, "
            "price_correction"),
        ),
        (
            "move_rules", "return_1d,1", "cumulative_return,253",
            "row 2, column sessions: '253' is not allowed; allowed: a whole number up to 252",
        ),
        (
            "move_rules", "z_score,21", "z_ewma,21",
            "row 3, column sessions: 21 is not computed for z_ewma; allowed: 1",
        ),
        (
            "move_rules", "z_score,21,4", "robust_z,63,4",
            "row 3, column sessions: 63 is not computed for robust_z; allowed: 252",
        ),
        (
            "move_rules", "return_1d,1,0.06", "return_1d,1,6",
            "row 2, column threshold: 6 is not allowed; allowed: 1e-06 to 1 for return_1d (a fraction)",
        ),
        (
            "move_rules", "return_1d,1,0.06", "cumulative_return,5,1.5",
            "row 2, column threshold: 1.5 is not allowed; allowed: 1e-06 to 1 for cumulative_return (a fraction)",
        ),
        (
            "move_rules", "z_score,21,4", "z_score,21,0.04",
            ("row 3, column threshold: 0.04 is not allowed; allowed: 1 to 100 for z_score "
            "(a multiple of the dispersion before the day)"),
        ),
        (
            "move_rules", "z_score,21,4", "percentile,252,0.5",
            ("row 3, column threshold: 0.5 is not allowed; allowed: 0.51 to 1 for percentile "
            "(a fraction: p means p or above, 1 - p or below)"),
        ),
        (
            "move_rules", "z_score,21,4", "percentile,252,99",
            ("row 3, column threshold: 99 is not allowed; allowed: 0.51 to 1 for percentile "
            "(a fraction: p means p or above, 1 - p or below)"),
        ),
        (
            "move_rules", "tier,senior,return_1d,1,0.06", "tier,senior,volume_ratio,20,0.5",
            ("row 2, column threshold: 0.5 is not allowed; allowed: 1 to 100 for volume_ratio "
            "(a multiple of the median volume)"),
        ),
        (
            "move_rules", "tier,senior,return_1d,1,0.06", "asset_class,metal,volume_ratio,20,2",
            ("row 2, column scope_value: 'metal' is not allowed; allowed: anything but the asset class metal for "
            "volume_ratio (the volume of a front-month future says when contracts roll)"),
        ),
        (
            "move_rules", "tier,senior,return_1d,1,0.06", "symbol,SI=F,volume_ratio,20,2",
            ("row 2, column scope_value: 'SI=F' is not allowed; allowed: anything but the asset class metal for "
            "volume_ratio (the volume of a front-month future says when contracts roll)"),
        ),
        ("move_rules", "0.06", "6 percent", "row 2, column threshold: '6 percent' is not allowed; allowed: a number"),
        (
            "instruments", "active_from\nSI=F,SI=F,Silver futures,metal,silver,metal,CMES,USD,0.001,,,",
            "active_from,contract_months\nSI=F,SI=F,Silver futures,metal,silver,metal,CMES,USD,0.001,,,,MARCH",
            ("row 2, column contract_months: 'MARCH' is not allowed; "
            "allowed: letters of delivery months and the ending of the vendor's names, such as HKNUZ.CMX"),
        ),
        (
            "published_claims", "SIL,return_1d", "SIL,return_2d",
            f"row 2, column measure: 'return_2d' is not allowed; allowed: {MEASURES}",
        ),
        (
            "published_claims", "SIL,return_1d", "GDX,return_1d",
            "row 2, column symbol: 'GDX' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "published_claims", "silver_54", "silver_99",
            "row 3, column argument: 'silver_99' is unknown; allowed: a level_id of price_levels.csv",
        ),
        (
            "published_claims", "beta_252_above,SI=F", "beta_252_above,GDX",
            "row 4, column argument: 'GDX' is unknown; allowed: a symbol of instruments.csv",
        ),
        (
            "published_claims", "return_1d,,", "return_1d,SI=F,",
            "row 2, column argument: 'SI=F' is not allowed; allowed: nothing for the measure return_1d",
        ),
        (
            "published_claims", "SIL,return_1d,", "SIL,return_period,generation",
            ("row 2, column argument: 'generation' is not allowed; "
            "allowed: years, from 1 to 1000: the claim is that the move is rarer"),
        ),
        (
            "published_claims", "SIL,return_1d,", "SIL,share_up_after,falls",
            ("row 2, column argument: 'falls' is unknown; "
            "allowed: a study_id of event_studies.csv about SIL, a blank, and 5, 21, 63 as its sessions"),
        ),
        (
            "published_claims", "-0.1478,0.0005", ",0.0005",
            "row 2, column claimed: '' is not allowed; allowed: a number for the measure return_1d",
        ),
        (
            "published_claims", "-0.1478,0.0005", "-0.1478,nan",
            "row 2, column tolerance: 'nan' is not allowed; allowed: a number for the measure return_1d",
        ),
        (
            "published_claims", "-0.1478,0.0005", "-14.78%,0.0005",
            "row 2, column claimed: '-14.78%' is not allowed; allowed: a number",
        ),
        (
            "published_claims", "fall,2026-02-01", "fall,1 February 2026",
            "row 2, column published_on: '1 February 2026' is not allowed; allowed: a date as YYYY-MM-DD",
        ),
        (
            "published_claims", "0.0005,", "0.0005," + "x" * 301,
            f"row 2, column note: '{'x' * 301}' is not allowed; allowed: a text of at most 300 characters",
        ),
    ],
)  # fmt: skip
def test_wrong_cell(folder: Path, file: str, old: str, new: str, message: str) -> None:
    edit(folder, file, old, new)
    assert error_of(folder) == f"{file}.csv, {message}"


def test_negative_tolerance(folder: Path) -> None:
    edit(folder, "published_claims", "-0.1478,0.0005", "-0.1478,-1")
    assert error_of(folder).startswith("published_claims.csv, row 2, column tolerance: '-1.0' is not allowed")


def test_adding_one_row_to_the_shipped_seeds_is_enough(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED, tmp_path / "seeds")
    with (tmp_path / "seeds" / "instruments.csv").open("a") as stream:
        stream.write("MAG,MAG,MAG Silver,stock,silver,junior,XNYS,USD,0.01,SLV,SILJ,\n")
    universe = load_universe(tmp_path / "seeds")
    assert universe.symbols[-5] == "MAG"
    assert len(universe.instruments) == 55
