"""The downloads of vendors, libraries and spreadsheets: each is read as what it is, or refused with what to do."""

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from orchestration.market.fetch_plan import FetchRequest
from orchestration.sources.base import FetchOutcome, FetchStatus
from orchestration.sources.files import FilesSource
from orchestration.sources.layouts import LAYOUTS, columns_of

# Two sessions; the close of the later one is 1,094.30.
DAYS = ["2026-01-29", "2026-01-30"]
CLOSES = [1110.65, 1094.3]
POINT = "allowed: a point before decimals, and no sign between thousands"
ONE_TICKER = "allowed: SIL, as the file's name says (one file for each ticker, named after it)"
VOLUMES = [2_500_000.0, 9_900_000.0]


def read(
    folder: Path, text: str | bytes, name: str = "SIL.csv", symbol: str = "SIL", calendar: str = ""
) -> FetchOutcome:
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    request = FetchRequest(symbol, symbol, None, dt.date(2026, 1, 30), "forced", calendar)
    (outcome,) = FilesSource(folder).fetch([request])
    return outcome


def refused(folder: Path, text: str, **more: str) -> str:
    outcome = read(folder, text, **more)
    assert outcome.status is FetchStatus.MALFORMED
    return outcome.detail


FORMS = {
    "Yahoo, page": "Date,Open,High,Low,Close*,Adj Close**,Volume\n"
    '"Jan 30, 2026","1,100.00","1,101.50","1,093.50","1,094.30","1,094.30","9,900,000"\n'
    '"Jan 29, 2026","1,110.50","1,111.25","1,107.00","1,110.65","1,110.61","2,500,000"\n',
    "yfinance, columns of two levels": "Price,Close,High,Low,Open,Volume\nTicker,SIL,SIL,SIL,SIL,SIL\nDate,,,,,\n"
    "2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "yfinance, by ticker": "Ticker,SIL,SIL,SIL,SIL,SIL\nPrice,Open,High,Low,Close,Volume\nDate,,,,,\n"
    "2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000\n",
    "yfinance, levels without names": ",Close,High,Low,Open,Volume\n,SIL,SIL,SIL,SIL,SIL\nDate,,,,,\n"
    "2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "pandas, an index without a name": ",Open,High,Low,Close,Volume\n"
    "2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000\n",
    "yfinance, the index as a column": "Price,Date,Close,High,Low,Open,Volume\nTicker,,SIL,SIL,SIL,SIL,SIL\n"
    "0,2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n1,2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "yfinance, the index as a column, without its number": "Date,Close,High,Low,Open,Volume\n,SIL,SIL,SIL,SIL,SIL\n"
    "2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "yfinance, levels in one": "Date,Close_SIL,High_SIL,Low_SIL,Open_SIL,Volume_SIL\n"
    "2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "pandas-datareader": "Attributes,Close,High,Low,Open,Volume\nSymbols,SIL,SIL,SIL,SIL,SIL\nDate,,,,,\n"
    "2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "pandas, an index that is called so": "index,Date,Open,High,Low,Close,Volume\n"
    "0,2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n1,2026-01-30,1100,1101.5,1093.5,1094.3,9900000\n",
    "R, names made valid": '"Date","Open","High","Low","Close","Adj.Close","Volume"\n'
    '"2026-01-29",1110.5,1111.25,1107,1110.65,1110.61,2500000\n"2026-01-30",1100,1101.5,1093.5,1094.3,1094.3,9900000\n',
    "Stooq": "Date,Open,High,Low,Close,Volume\r\n"
    "2026-01-29,1110.5,1111.25,1107,1110.65,2500000\r\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000\r\n",
    "Stooq, in bulk": "<TICKER>,<PER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>,<OPENINT>\n"
    "SIL.US,D,20260129,000000,1110.5,1111.25,1107,1110.65,2500000,0\n"
    "SIL.US,D,20260130,000000,1100,1101.5,1093.5,1094.3,9900000,0\n",
    "Stooq in Polish": "Data,Otwarcie,Najwyzszy,Najnizszy,Zamkniecie,Wolumen\n"
    "2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000\n",
    "Investing.com": '\ufeff"Date","Price","Open","High","Low","Vol.","Change %"\n'
    '"01/30/2026","1,094.30","1,100.00","1,101.50","1,093.50","9.90M","-1.47%"\n'
    '"01/29/2026","1,110.65","1,110.50","1,111.25","1,107.00","2.50M","0.10%"\n',
    "Investing.com in German": '"Datum","Zuletzt","Er\u00f6ffn.","Hoch","Tief","Vol.","+/- %"\n'
    '"30.01.2026","1.094,30","1.100,00","1.101,50","1.093,50","9,90M","-1,47%"\n'
    '"29.01.2026","1.110,65","1.110,50","1.111,25","1.107,00","2,50M","0,10%"\n',
    "Investing.com in French": '"Date","Dernier","Ouv."," Plus Haut","Plus Bas","Vol.","Variation %"\n'
    '"30/01/2026","1.094,30","1.100,00","1.101,50","1.093,50","9,90M","-1,47%"\n'
    '"29/01/2026","1.110,65","1.110,50","1.111,25","1.107,00","2,50M","0,10%"\n',
    "Investing.com in Spanish": '"Fecha","\u00daltimo","Apertura","M\u00e1ximo","M\u00ednimo","Vol.","% var."\n'
    '"30.01.2026","1.094,30","1.100,00","1.101,50","1.093,50","9,90M","-1,47%"\n'
    '"29.01.2026","1.110,65","1.110,50","1.111,25","1.107,00","2,50M","0,10%"\n',
    "Nasdaq.com": "Date,Close/Last,Volume,Open,High,Low\n"
    '01/30/2026,"$1,094.30",9900000,"$1,100.00","$1,101.50","$1,093.50"\n'
    '01/29/2026,"$1,110.65",2500000,"$1,110.50","$1,111.25","$1,107.00"\n',
    "Alpha Vantage": "timestamp,open,high,low,close,volume\n"
    "2026-01-30,1100.0000,1101.5000,1093.5000,1094.3000,9900000\n"
    "2026-01-29,1110.5000,1111.2500,1107.0000,1110.6500,2500000\n",
    "Alpha Vantage, adjusted": "timestamp,open,high,low,close,adjusted_close,volume,dividend_amount,split_coefficient\n"
    "2026-01-30,1100.0000,1101.5000,1093.5000,1094.3000,1094.3,9900000,0.0000,1.0\n"
    "2026-01-29,1110.5000,1111.2500,1107.0000,1110.6500,1110.61,2500000,0.0000,1.0\n",
    "Alpha Vantage, numbered": "date,1. open,2. high,3. low,4. close,5. volume\n"
    "2026-01-30,1100.0000,1101.5000,1093.5000,1094.3000,9900000.0\n"
    "2026-01-29,1110.5000,1111.2500,1107.0000,1110.6500,2500000.0\n",
    "Tiingo": "date,close,high,low,open,volume,adjClose,adjHigh,adjLow,adjOpen,adjVolume,divCash,splitFactor\n"
    "2026-01-29T00:00:00.000Z,1110.65,1111.25,1107,1110.5,2500000,1110.61,1111.2,1106.9,1110.4,2500000,0.0,1.0\n"
    "2026-01-30T00:00:00.000Z,1094.3,1101.5,1093.5,1100,9900000,1094.3,1101.5,1093.5,1100,9900000,0.0,1.0\n",
    "quantmod": '"Index","SIL.Open","SIL.High","SIL.Low","SIL.Close","SIL.Volume","SIL.Adjusted"\n'
    "2026-01-29,1110.5,1111.25,1107,1110.65,2500000,1110.61\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000,1094.3\n",
    "quantmod, names of rows": '"","SIL.Open","SIL.High","SIL.Low","SIL.Close","SIL.Volume","SIL.Adjusted"\n'
    '"2026-01-29",1110.5,1111.25,1107,1110.65,2500000,1110.61\n"2026-01-30",1100,1101.5,1093.5,1094.3,9900000,1094.3\n',
    "tidyquant": '"","symbol","date","open","high","low","close","volume","adjusted"\n'
    '"1","SIL",2026-01-29,1110.5,1111.25,1107,1110.65,2500000,1110.61\n'
    '"2","SIL",2026-01-30,1100,1101.5,1093.5,1094.3,9900000,1094.3\n',
    "Excel, English": "Date,Open,High,Low,Close,Volume,,\n1/29/2026,1110.5,1111.25,1107,1110.65,2500000,,\n"
    "1/30/2026,1100,1101.5,1093.5,1094.3,9900000,,\n,,,,,,,\n,,,,,,,\n",
    "Excel, continental": "Date;Open;High;Low;Close;Volume\n29.01.2026;1110,5;1111,25;1107;1110,65;2500000\n"
    "30.01.2026;1100;1101,5;1093,5;1094,3;9900000\n",
    "Excel, continental, of money": "Date;Open;High;Low;Close;Volume\n"
    "29.01.2026;1.110,5;1.111,25;1.107;1.110,65;2.500.000\n"
    "30.01.2026;1.100;1.101,5;1.093,5;1.094,3;9.900.000\n",
    "Excel, Swiss": "Date;Open;High;Low;Close;Volume\n29.01.2026;1'110.5;1'111.25;1'107;1'110.65;2'500'000\n"
    "30.01.2026;1\u2019100;1\u2019101.5;1\u2019093.5;1\u2019094.3;9\u2019900\u2019000\n",
    "Excel, of euros": "Date;Open;High;Low;Close;Volume\n"
    "29.01.2026;1.110,5 \u20ac;1.111,25 \u20ac;1.107 \u20ac;1.110,65 \u20ac;2 500 000\n"
    "30.01.2026;1.100 \u20ac;1.101,5 \u20ac;1.093,5 \u20ac;1.094,3 \u20ac;9 900 000\n",
    "Excel, tabs": "Date\tOpen\tHigh\tLow\tClose\tVolume\n2026/01/29\t1110.5\t1111.25\t1107\t1110.65\t2500000\n"
    "2026/01/30\t1100\t1101.5\t1093.5\t1094.3\t9900000\n",
    "Excel, the separator said": "sep=;\nDate;Open;High;Low;Close;Volume\n"
    "2026-01-29;1110.5;1111.25;1107;1110.65;2500000\n"
    "2026-01-30;1100;1101.5;1093.5;1094.3;9900000\n",
    "remarks above and below": '"Disclaimer: for information only"\n\nDate,Open,High,Low,Close,Volume\n'
    "2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000\n"
    '"Source: exchange, delayed"\n',
    "a header for each evening": "Date,Open,High,Low,Close,Volume\n2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n"
    "Date,Open,High,Low,Close,Volume\n2026-01-30,1100,1101.5,1093.5,1094.3,9900000\n",
    "two headers for each evening": "Price,Close,High,Low,Open,Volume\nTicker,SIL,SIL,SIL,SIL,SIL\nDate,,,,,\n"
    "2026-01-29,1110.65,1111.25,1107,1110.5,2500000\n\ufeffPrice,Close,High,Low,Open,Volume\n"
    "Ticker,SIL,SIL,SIL,SIL,SIL\nDate,,,,,\n2026-01-30,1094.3,1101.5,1093.5,1100,9900000\n",
    "dates in two ways": "Date,Open,High,Low,Close,Volume\n2026-01-29,1110.5,1111.25,1107,1110.65,2500000\n"
    "1/30/2026,1100,1101.5,1093.5,1094.3,9900000\n",
    "months by name": "Date,Open,High,Low,Close,Volume\n29-Jan-2026,1110.5,1111.25,1107,1110.65,2500000\n"
    "30-Jan-2026,1100,1101.5,1093.5,1094.3,9900000\n",
    "GOOGLEFINANCE": "Date,Open,High,Low,Close,Volume\n1/29/2026 16:00:00,1110.5,1111.25,1107,1110.65,2500000\n"
    "1/30/2026 16:00:00,1100,1101.5,1093.5,1094.3,9900000\n",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_download_is_read(tmp_path: Path, text: str) -> None:
    outcome = read(tmp_path, text, calendar="XNYS")
    assert (outcome.status, outcome.detail) == (FetchStatus.OK, "")
    bars = outcome.bars.sort_values("session_date")
    assert bars[["parse_error", "cell_error"]].isna().all(axis=None)
    assert [str(day.date()) for day in bars["session_date"]] == DAYS
    assert bars["close"].tolist() == CLOSES
    assert bars["volume"].tolist() == VOLUMES
    assert bars[["open", "high", "low"]].to_numpy().tolist() == [[1110.5, 1111.25, 1107.0], [1100.0, 1101.5, 1093.5]]
    known = bars["adj_close"].dropna().tolist()
    assert known in ([], [1110.61, 1094.3])


def test_utf_16(tmp_path: Path) -> None:
    assert read(tmp_path, FORMS["Excel, tabs"].encode("utf-16")).bars["close"].tolist() == CLOSES


def test_parquet_with_columns_of_two_levels(tmp_path: Path) -> None:
    for number, order in enumerate((["Price", "Ticker"], ["Ticker", "Price"])):
        pairs = [("Close", "SIL"), ("Volume", "SIL")]
        names = pd.MultiIndex.from_tuples(pairs if order[0] == "Price" else [p[::-1] for p in pairs], names=order)
        frame = pd.DataFrame(
            zip(CLOSES, VOLUMES, strict=True), columns=names, index=pd.DatetimeIndex(DAYS, name="Date")
        )
        folder = tmp_path / str(number)
        folder.mkdir()
        frame.to_parquet(folder / "SIL.parquet")
        (folder / "flat").mkdir()
        frame.set_axis([str(pair) for pair in pairs], axis=1).reset_index().to_parquet(folder / "flat" / "SIL.parquet")
        for place in (folder, folder / "flat"):
            request = FetchRequest("SIL", "SIL", None, dt.date(2026, 1, 30), "forced")
            (outcome,) = FilesSource(place).fetch([request])
            assert outcome.bars["close"].tolist() == CLOSES, outcome.detail


def test_each_layout_is_recognised_by_labels_of_its_own() -> None:
    assert [columns_of(sorted(layout.key_labels) or ["date", "close"]).layout for layout in LAYOUTS] == [*LAYOUTS]


@pytest.mark.parametrize("form", ["Tiingo", "Alpha Vantage, adjusted"])
def test_prices_as_they_were_traded_are_put_on_one_basis(tmp_path: Path, form: str) -> None:
    """Of a split the sessions before it are divided, their dividends too, and their volume multiplied."""
    header = FORMS[form].split("\n")[0]
    names = header.split(",")
    rows = [
        {"close": 300.0, "volume": 100.0, "dividend": 0.6, "split": 1.0, "adjusted": 99.8},
        {"close": 303.0, "volume": 100.0, "dividend": 0.0, "split": 1.0, "adjusted": 101.0},
        {"close": 102.0, "volume": 330.0, "dividend": 0.2, "split": 3.0, "adjusted": 102.0},
    ]

    def cell(name: str, row: dict[str, float], day: str) -> str:
        key = name.lower().replace("_", "")
        if key in ("date", "timestamp"):
            return day
        for part, value in (("adj", "adjusted"), ("div", "dividend"), ("split", "split"), ("volume", "volume")):
            if part in key:
                return str(row[value])
        return str(row["close"])

    days = ("2026-01-28", *DAYS)
    lines = [",".join(cell(name, row, day) for name in names) for row, day in zip(rows, days, strict=True)]
    bars = read(tmp_path, "\n".join([header, *lines[::-1]])).bars.sort_values("session_date")
    assert bars["close"].tolist() == [100.0, 101.0, 102.0]
    assert bars["open"].tolist() == [100.0, 101.0, 102.0]
    assert bars["adj_close"].tolist() == [99.8, 101.0, 102.0]
    np.testing.assert_allclose(bars["dividend"], [0.2, 0.0, 0.2])
    assert bars["volume"].tolist() == [300.0, 300.0, 330.0]
    assert bars["split_ratio"].tolist() == [1.0, 1.0, 3.0]


# ---- what is ambiguous, or something else


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "Date,Close\n3/4/2026,1.5\n4/4/2026,2.5\n",
            (
                "SIL.csv, row 2, column Date: '3/4/2026' may have the day or the month first, and no other row tells; "
                "allowed: dates such as 2026-01-30"
            ),
        ),
        (
            "Date,Close\n1/30/2026,1.5\n31/1/2026,2.5\n",
            (
                "SIL.csv, row 2, column Date: '1/30/2026' has the month first, '31/1/2026' the day; "
                "allowed: dates such as 2026-01-30"
            ),
        ),
        (
            'Date,Close\n2026-01-29,"2,345"\n2026-01-30,"2,346"\n',
            (
                "SIL.csv, row 2, column Close: '2,345' may be 2345 or 2.345; "
                "allowed: a point before decimals, and no sign between thousands"
            ),
        ),
        ('Date,Close\n2026-01-29,"$2,345"\n', "SIL.csv, row 2, column Close: '2,345' may be 2345 or 2.345; " + POINT),
        ("Date,SLV.Close\n2026-01-30,1.5\n", f"SIL.csv, row 1: holds 'SLV'; {ONE_TICKER}"),
        ("Date,Close_SLV\n2026-01-30,1.5\n", f"SIL.csv, row 1: holds 'SLV'; {ONE_TICKER}"),
        ("Date,Close,Open\n,SLV,SLV\n2026-01-30,1.5,2.5\n", f"SIL.csv, row 2: holds 'SLV'; {ONE_TICKER}"),
        (
            "Date,Close/Last,Volume,Symbol\n01/29/2026,$1.5,10,SLV\n",
            f"SIL.csv, row 2, column Symbol: 'SLV'; {ONE_TICKER}",
        ),
        (
            "Price,Close,Close\nTicker,SIL,SILJ\nDate,,\n2026-01-30,1.5,2.5\n",
            f"SIL.csv, row 2: holds 'SILJ'; {ONE_TICKER}",
        ),
        (
            "Symbol,Date,Close\nSIL,2026-01-29,1.5\nSILJ,2026-01-29,2.5\n",
            f"SIL.csv, row 3, column Symbol: 'SILJ'; {ONE_TICKER}",
        ),
    ],
)
def test_what_is_ambiguous_or_of_another_ticker_is_refused_with_the_remedy(
    tmp_path: Path, text: str, says: str
) -> None:
    assert refused(tmp_path, text) == says


def test_other_rows_tell_how_dates_begin(tmp_path: Path) -> None:
    day_first = read(tmp_path, "Date,Close\n3/4/2026,1.5\n13/4/2026,2.5\n").bars["session_date"]
    month_first = read(tmp_path, "Date,Close\n3/4/2026,1.5\n3/13/2026,2.5\n").bars["session_date"]
    assert [str(day.date()) for day in day_first] == ["2026-04-03", "2026-04-13"]
    assert [str(day.date()) for day in month_first] == ["2026-03-04", "2026-03-13"]


@pytest.mark.parametrize(
    ("form", "symbol", "ticker"),
    [("Symbol,Date,Close\n{},2026-01-30,1.5\n", "BRK-B", "BRK.B"), ("Date,{}.Close\n2026-01-30,1.5\n", "SI=F", "si=f")],
)
def test_a_ticker_is_written_in_more_than_one_way(tmp_path: Path, form: str, symbol: str, ticker: str) -> None:
    outcome = read(tmp_path, form.format(ticker), f"{symbol}.csv", symbol)
    assert outcome.status is FetchStatus.OK, outcome.detail


def test_our_own_symbol_is_as_good_as_the_vendors(tmp_path: Path) -> None:
    (tmp_path / "FRES.L.csv").write_text("symbol,session_date,close\nFRES,2026-01-30,1.5\n")
    request = FetchRequest("FRES", "FRES.L", None, dt.date(2026, 1, 30), "forced")
    (outcome,) = FilesSource(tmp_path).fetch([request])
    assert outcome.status is FetchStatus.OK, outcome.detail


@pytest.mark.parametrize(
    ("step", "name"), [("W-MON", "weekly"), ("MS", "monthly"), ("QS", "quarterly"), ("YS", "yearly")]
)
def test_bars_that_are_not_daily_are_refused(tmp_path: Path, step: str, name: str) -> None:
    days = pd.date_range("2019-01-01", periods=8, freq=step)
    # The one that has just begun is dated by its last day.
    days = days.append(pd.DatetimeIndex([days[-1] + pd.Timedelta(days=2)]))
    text = "Date,Close\n" + "".join(f"{day.date()},{n}.5\n" for n, day in enumerate(days))
    assert refused(tmp_path, text) == f"SIL.csv: holds {name} bars; allowed: daily bars (interval 1d in the export)"


def test_bars_of_hours_are_refused(tmp_path: Path) -> None:
    stamps = pd.date_range("2026-01-26 09:30", periods=40, freq="h", tz="America/New_York")
    text = "Date,Close\n" + "".join(f"{stamp},{n}.5\n" for n, stamp in enumerate(stamps))
    assert refused(tmp_path, text) == (
        "SIL.csv: holds several bars of a day; allowed: daily bars (interval 1d in the export) of one ticker"
    )


def test_prices_as_they_were_traded_are_told_by_several_splits(tmp_path: Path) -> None:
    days = pd.bdate_range("2026-01-01", periods=60)
    ratio = np.where(np.arange(60) == 20, 3.0, np.where(np.arange(60) == 40, 0.1, 0.0))
    basis = np.append(np.cumprod(np.where(ratio > 0, ratio, 1.0)[::-1])[::-1][1:], 1.0)
    close = 40 + np.arange(60) / 8
    rows = zip(days, close * basis, ratio, strict=True)
    text = "Date,Close,Stock Splits\n" + "".join(f"{day.date()},{float(c)},{r}\n" for day, c, r in rows)
    outcome = read(tmp_path, text)
    np.testing.assert_allclose(outcome.bars["close"], close)
    assert outcome.detail == (
        "SIL.csv: prices were as traded before each split; they were put on the basis of the last one"
    )
    # Of those that are on one basis nothing is said.
    rows = zip(days, close, ratio, strict=True)
    text = "Date,Close,Stock Splits\n" + "".join(f"{day.date()},{float(c)},{r}\n" for day, c, r in rows)
    assert read(tmp_path, text).detail == ""


def test_an_index_of_parquet_without_a_name(tmp_path: Path) -> None:
    pd.DataFrame({"Close": CLOSES}, index=pd.DatetimeIndex(DAYS)).to_parquet(tmp_path / "SIL.parquet")
    request = FetchRequest("SIL", "SIL", None, dt.date(2026, 1, 30), "forced")
    (outcome,) = FilesSource(tmp_path).fetch([request])
    assert outcome.bars["close"].tolist() == CLOSES, outcome.detail


def test_other_columns_are_no_tickers(tmp_path: Path) -> None:
    outcome = read(tmp_path, "Date,Close,Prev_Close,Volume_avg,Close_adj\n2026-01-30,1.5,1.4,7,1.3\n")
    assert outcome.bars["close"].tolist() == [1.5], outcome.detail


def test_daily_bars_with_holes_are_daily(tmp_path: Path) -> None:
    days = pd.bdate_range("2026-01-01", periods=60)[[*range(0, 20, 3), *range(40, 60)]]
    text = "Date,Close\n" + "".join(f"{day.date()},{n}.5\n" for n, day in enumerate(days))
    assert read(tmp_path, text).status is FetchStatus.OK


# ---- stamps


@pytest.mark.parametrize(
    ("calendar", "zone"),
    [
        ("XNYS", "America/New_York"),
        ("XTSE", "America/Toronto"),
        ("XLON", "Europe/London"),
        ("XASX", "Australia/Sydney"),
    ],
)
@pytest.mark.parametrize("written_in", ["UTC", "its own zone", "a bare date as midnight UTC", "at the close"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_stamp_becomes_the_exchanges_own_date(
    tmp_path: Path, calendar: str, zone: str, written_in: str, kind: str
) -> None:
    """Over both changes of the clock."""
    days = pd.DatetimeIndex(["2026-03-06", "2026-03-09", "2026-03-30", "2026-04-07", "2026-10-02", "2026-10-26"])
    days = days.append(pd.DatetimeIndex(["2026-11-02", "2026-12-15"]))
    if written_in == "a bare date as midnight UTC":
        stamps = days.tz_localize("UTC")
    else:
        there = (days + pd.Timedelta(hours=16 if written_in == "at the close" else 0)).tz_localize(zone)
        stamps = there if written_in == "its own zone" else there.tz_convert("UTC")
    frame = pd.DataFrame({"Date": stamps, "Close": np.arange(1.5, 9.5)})
    if kind == "csv":
        frame["Date"] = [stamp.isoformat(sep=" ") for stamp in stamps]
        frame.to_csv(tmp_path / "SIL.csv", index=False)
    else:
        frame.to_parquet(tmp_path / "SIL.parquet", index=False)
    request = FetchRequest("SIL", "SIL", None, dt.date(2026, 12, 31), "forced", calendar)
    (outcome,) = FilesSource(tmp_path).fetch([request])
    assert outcome.status is FetchStatus.OK, outcome.detail
    assert list(outcome.bars["session_date"]) == list(days)


def test_a_stamp_without_an_offset_stands_as_it_is_written(tmp_path: Path) -> None:
    bars = read(tmp_path, "Date,Close\n2026-01-30 23:00:00,1.5\n", calendar="XASX").bars
    assert str(bars["session_date"][0].date()) == "2026-01-30"


def test_the_metals_day_is_new_yorks(tmp_path: Path) -> None:
    bars = read(tmp_path, "Date,Close\n2026-01-30T05:00:00Z,1.5\n", calendar="CMES").bars
    assert str(bars["session_date"][0].date()) == "2026-01-30"
