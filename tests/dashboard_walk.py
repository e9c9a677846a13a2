"""A person's way through the dashboard, in a real browser; says as JSON what was seen.

    python -m tests.dashboard_walk [--no-network] [--pictures FOLDER]

serves the published version of the home in the environment with the command that people use, and walks through every
page on a desktop and on a phone. `--no-network`: in this process's network namespace nothing but loopback exists; it
must be new, the loopback device is brought up here.
"""

import argparse
import contextlib
import fcntl
import json
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
from playwright.sync_api import Page, Request, Response
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from orchestration.settings import PROJECT_ROOT, load_settings
from tests.browser import DESKTOP, PHONE, opened_page
from tests.receivers import free_port

PAGES = ("Market today", "Instrument", "Sector", "Volatility", "Data quality", "Claims")
WAIT_MS = 60_000
CLICK_MS = 5_000
# Of the page Instrument: dates say nothing to it.
LATEST_ONLY = {"Returns to the latest session"}


def bring_up_loopback() -> None:
    """As `ip link set lo up`."""
    with socket.socket() as some:
        request = struct.pack("16sH14s", b"lo", 0x1, b"")  # IFF_UP
        fcntl.ioctl(some, 0x8914, request)  # SIOCSIFFLAGS


@contextlib.contextmanager
def served(port: int) -> Iterator[dict[str, Any]]:
    """The dashboard as `make dashboard` starts it: what it said, its password, seconds until it answered."""
    begin = time.monotonic()
    command = [sys.executable, "-u", "-m", "dashboard.serve", "--port", str(port)]
    server = subprocess.Popen(command, cwd=PROJECT_ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    try:
        assert server.stdout is not None
        for line in server.stdout:
            said.append(line)
            if "Ctrl-C" in line:
                break
        else:
            raise SystemExit("the dashboard did not start:\n" + "".join(said))
        found = re.search(r"with the password (\S+)", "".join(said))
        yield {"said": said, "password": found and found[1], "seconds": round(time.monotonic() - begin, 1)}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(120)


class Visitor:
    """Somebody who looks at the dashboard, and remembers what every chart answered."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        # By their ids: what the charts of the whole dashboard last answered, and their names; those of each page.
        self.answers: dict[int, dict[str, Any]] = {}
        self.names: dict[int, str] = {}
        self.pages: dict[str, list[int]] = {}
        self.at = PAGES[0]
        self.questions = 0
        self.unanswered: set[Request] = set()
        page.set_default_timeout(WAIT_MS)
        page.on("request", self._asked)
        page.on("requestfailed", lambda request: self.unanswered.discard(request))
        page.on("response", self._answered)

    def _asked(self, request: Request) -> None:
        if "/chart/data" in request.url:
            self.questions += 1
            self.unanswered.add(request)

    def _answered(self, response: Response) -> None:
        """Remember what a chart got; the filters ask for their values in the same way, of no chart."""
        found = re.search(r"slice_id%22%3A(\d+)", response.url)
        try:
            content = response.json() if found and "/chart/data" in response.url else None
        except Exception:
            return  # the page was left while it was on its way
        finally:
            self.unanswered.discard(response.request)
        if not found or content is None:
            return
        results = content.get("result") or []
        self.answers[int(found[1])] = {
            "status": response.status,
            "rows": sum(result.get("rowcount") or 0 for result in results),
            "said": content.get("message") or content.get("errors") or [r["error"] for r in results if r.get("error")],
        }

    def log_in(self, password: str) -> None:
        self.page.goto(f"{self.address}/login/")
        self.page.fill("#username", "admin")
        self.page.fill("#password", password)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(lambda url: "login" not in url)

    def open(self) -> float:
        """Load the dashboard; returns the seconds until its first page shows charts."""
        begin = time.monotonic()
        self.unanswered.clear()
        self.page.goto(f"{self.address}/superset/dashboard/orewatch/")
        self.page.locator("[data-test-chart-id]").first.wait_for()
        charts = self.page.request.get(f"{self.address}/api/v1/dashboard/orewatch/charts").json()["result"]
        self.names = {chart["id"]: chart["slice_name"] for chart in charts}
        board = self.page.request.get(f"{self.address}/api/v1/dashboard/orewatch").json()["result"]
        parts = [part for part in json.loads(board["position_json"]).values() if isinstance(part, dict)]
        self.pages = {
            tab["meta"]["text"]: [
                part["meta"]["chartId"] for part in parts if part["type"] == "CHART" and tab["id"] in part["parents"]
            ]
            for tab in parts
            if tab["type"] == "TAB"
        }
        self.at = PAGES[0]
        self.settle()
        return round(time.monotonic() - begin, 1)

    def ask(self, sql: str) -> str:
        """What SQL Lab answers: the rows, or why not."""
        token = self.page.request.get(f"{self.address}/api/v1/security/csrf_token/").json()["result"]
        databases = self.page.request.get(f"{self.address}/api/v1/database/").json()["result"]
        answer = self.page.request.post(
            f"{self.address}/api/v1/sqllab/execute/",
            headers={"X-CSRFToken": token, "Referer": self.address},
            data={"database_id": databases[0]["id"], "sql": sql, "runAsync": False},
        ).json()
        return json.dumps(answer.get("data") or answer)

    def wait_until(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_MS / 1000
        while not reached():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.at}: {what}")
            self.page.wait_for_timeout(50)

    def settle(self) -> None:
        """Scroll to each chart of the page in turn, and wait until all have their answers and show them."""
        for id_ in self.pages[self.at]:
            chart = self.page.locator(f'[data-test-chart-id="{id_}"]:visible')
            chart.scroll_into_view_if_needed()
            shown = chart.locator("canvas, table, .ant-empty, [data-test=chart-error], .ant-alert-error").first
            shown.wait_for(state="attached")
        self.wait_until(
            lambda: self.answers.keys() >= set(self.pages[self.at]) and not self.unanswered, "a chart got no answer"
        )
        for id_ in self.pages[self.at]:
            chart = self.page.locator(f'[data-test-chart-id="{id_}"]:visible')
            chart.locator("[data-test=loading-indicator]").first.wait_for(state="hidden")

    def turn_to(self, name: str) -> None:
        """Choose a page by its tab, or, where the row of tabs ends before it, behind the three dots."""
        chosen = self.page.locator('[role=tab][aria-selected="true"]:visible', has_text=name)

        def clicked() -> bool:
            # A click while the row of tabs is being laid out anew is lost; a person clicks again.
            with contextlib.suppress(PlaywrightTimeout):
                self._click_tab(name)
                chosen.wait_for(timeout=CLICK_MS)
            return chosen.count() > 0

        self.wait_until(clicked, f"the tab {name} is never chosen")
        self.at = name
        self.page.wait_for_timeout(500)
        self.settle()

    def _click_tab(self, name: str) -> None:
        tab = self.page.get_by_role("tab", name=name)
        more = self.page.locator(".ant-tabs-nav-more:visible")
        beside, box = more.bounding_box() if more.count() else None, tab.bounding_box()
        if beside and box and box["x"] + box["width"] > beside["x"]:
            more.hover(timeout=CLICK_MS)
            self.page.get_by_role("option", name=name).click(timeout=CLICK_MS)
        else:
            tab.click(timeout=CLICK_MS)

    def shown(self, title: str) -> dict[str, Any]:
        """What a chart of this page shows: its kind, and the rows of a table as texts."""
        chart = self.page.locator(f'[data-test-chart-name="{title}"]:visible')
        rows = chart.locator("tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
        )
        return {
            "drawn": chart.locator("canvas").count() > 0,
            "rows": rows,
            "error": " ".join(chart.locator("[data-test=chart-error], .ant-alert-error").all_inner_texts()),
            "empty": chart.locator(".ant-empty").count() > 0,
        }

    def all_shown(self) -> dict[str, Any]:
        titles = self.page.locator("[data-test-chart-id]:visible").evaluate_all(
            "charts => charts.map(chart => chart.dataset.testChartName)"
        )
        return {title: self.shown(title) for title in titles}

    def apply_filters(self) -> None:
        """Apply what was chosen; some chart asks anew for it."""
        before = self.questions
        self.page.locator('[data-test="filter-bar__apply-button"]').click()
        self.wait_until(lambda: self.questions > before, "no chart asked anew")
        self.page.wait_for_timeout(500)
        self.settle()

    def choose(self, filter_: str, value: str) -> None:
        """Choose one value of a filter and apply it."""
        box = self.page.locator(f'[data-test="NATIVE_FILTER-{filter_}"]:visible').first
        box.click()
        box.locator("input").fill(value)
        self.page.locator(f'.ant-select-item-option[title="{value}"]:visible').first.click()
        self.page.keyboard.press("Escape")
        self.apply_filters()

    def choose_dates(self, first: str, after_last: str) -> None:
        """Set the filter of dates and apply it."""
        self.page.get_by_text("No filter", exact=True).locator("visible=true").first.click()
        box = self.page.locator(".ant-popover:visible, .ant-modal:visible").first
        box.locator(".ant-select").first.click()
        self.page.locator(".ant-select-item-option:visible", has_text="Advanced").first.click()
        fields = box.locator("input:not([type=search])")
        fields.nth(0).fill(first)
        fields.nth(1).fill(after_last)
        box.get_by_text(f"{first} ≤ col < {after_last}").wait_for()
        box.get_by_role("button", name="apply").click()
        self.apply_filters()

    def rows_of(self, title: str) -> int:
        """How many rows a chart got the last time that it asked."""
        return next(self.answers[id_]["rows"] for id_, name in self.names.items() if name == title)


def new_version(change: str) -> None:
    """Publish another version beside the current one, as a publication does: by one rename of the link."""
    published = load_settings().paths.published
    current = published / "current"
    fresh = published / "versions" / f"changed-{time.monotonic_ns()}"
    shutil.copytree(current.resolve(), fresh)
    file = fresh / "market.duckdb"
    file.chmod(0o600)
    with duckdb.connect(str(file)) as market:
        market.execute(change)
    link = published / "fresh"
    link.symlink_to(Path("versions") / fresh.name)
    link.rename(current)


def walk(visitor: Visitor, password: str, picture: Callable[[str], None]) -> dict[str, Any]:
    """Everything that is looked at, in turn."""
    page, seen = visitor.page, {}
    visitor.log_in(password)
    seen["seconds_to_first_page"] = visitor.open()
    seen["title"] = page.title()
    seen["pages"] = {}
    for name in PAGES:
        visitor.turn_to(name)
        seen["pages"][name] = visitor.all_shown()
        seen["pages"][name]["banner"] = page.get_by_text("SIMULATED prices: none").locator("visible=true").count() > 0
        picture(f"desktop {name}")
    seen["answers"] = {visitor.names[id_]: answer for id_, answer in visitor.answers.items()}
    seen["charts"] = sorted(visitor.names.values())

    published = load_settings().paths.published
    seen["sql"] = {
        name: visitor.ask(sql)
        for name, sql in {
            "table": "select count(*) as bars from daily_bars",
            "part": f"from '{published}/current/returns.parquet' select count(*) as bars",
            "other file": "select * from read_csv('/etc/passwd')",
            "write": f"copy (select 1) to '{published.parent}/written.csv'",
            "change": "delete from daily_bars",
        }.items()
    }
    visitor.turn_to("Market today")
    visitor.choose("tier", "Juniors")
    seen["juniors"] = visitor.shown("The latest session")["rows"]
    picture("desktop juniors")
    visitor.choose("metal", "Silver")
    seen["silver_juniors"] = visitor.shown("The latest session")["rows"]
    visitor.turn_to("Instrument")
    visitor.choose("symbol", "SIL")
    seen["sil"] = visitor.shown("Returns to the latest session")["rows"]
    dated = [title for title in visitor.all_shown() if title not in LATEST_ONLY]
    before = {title: visitor.rows_of(title) for title in dated}
    visitor.choose_dates("2025-09-01", "2026-02-01")
    seen["rows_of_dates"] = {title: (before[title], visitor.rows_of(title)) for title in dated}
    picture("desktop dates")

    page.set_viewport_size(PHONE)
    visitor.open()
    seen["phone_widths"] = {}
    for name in PAGES:
        visitor.turn_to(name)
        seen["phone_widths"][name] = page.evaluate("document.documentElement.scrollWidth")
        picture(f"phone {name}")
    page.set_viewport_size(DESKTOP)

    new_version("update market_summary set close = 12345.67 where symbol = 'SIL'")
    visitor.open()
    seen["after_new_version"] = visitor.shown("The latest session")["rows"]
    new_version("alter table market_summary drop column return_1d")
    visitor.answers.clear()
    visitor.open()
    seen["failed_without_column"] = sorted(
        visitor.names[id_] for id_, answer in visitor.answers.items() if answer["status"] >= 400 or answer["said"]
    )
    seen["said_without_column"] = visitor.shown("The latest session")["error"]
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-network", action="store_true")
    parser.add_argument("--pictures", type=Path)
    asked = parser.parse_args()
    if asked.no_network:
        bring_up_loopback()
    port = free_port()
    with served(port) as server, opened_page() as page:

        def picture(name: str) -> None:
            if asked.pictures:
                page.screenshot(path=asked.pictures / f"{name}.png", full_page=True)

        try:
            seen = walk(Visitor(page, f"http://127.0.0.1:{port}"), server["password"], picture)
        except Exception:
            picture("failed")
            raise
    sys.stdout.write(json.dumps({**seen, "server": server}) + "\n")


if __name__ == "__main__":
    main()
