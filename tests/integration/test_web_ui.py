"""A person's evening in the Dagster web UI, in Chromium: materialize everything, open what failed, read the brief."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import CHROMIUM, opened_page
from tests.receivers import free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
]

OREWATCH = str(Path(sys.executable).with_name("orewatch"))
START_SECONDS = 300
RUN_MS, WAIT_MS = 900_000, 180_000


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The web UI over an empty home."""
    home, port = tmp_path_factory.mktemp("web_ui"), free_port()
    server = subprocess.Popen(
        [OREWATCH, "dev", "--port", str(port)],
        env={**os.environ, "OREWATCH_HOME": str(home / "home"), "OREWATCH_SOURCE": "sample"},
        stdout=(home / "said").open("wb"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        # As a shell starts what is in the background; it must end by a SIGTERM all the same.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            assert server.poll() is None, (home / "said").read_text()
            assert time.monotonic() < until, (home / "said").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=30):
                    break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@dataclass
class Visit:
    """A browser in which everything has been materialized, and whom it has asked."""

    page: Page
    address: str
    hosts: set[str] = field(default_factory=set)


@pytest.fixture(scope="module")
def visit(address: str) -> Iterator[Visit]:
    with opened_page() as page:
        visit = Visit(page, address)
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        page.on("request", lambda request: visit.hosts.add(urlsplit(request.url).netloc))
        page.goto(f"{address}/locations/orewatch/jobs/refresh")
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_text("Launched run").wait_for()
        page.goto(f"{address}/runs")
        page.get_by_text("Success", exact=True).first.wait_for(timeout=RUN_MS)
        yield visit


@contextlib.contextmanager
def dialog(page: Page) -> Iterator[Locator]:
    """What is shown above the page, closed afterwards; pictures in it must be drawn."""
    box = page.locator(".bp5-dialog, [role=dialog]").last
    box.wait_for()
    yield box
    for picture in box.locator("img").all():
        # Waits until it is there; fails if it is none.
        assert picture.evaluate("picture => picture.decode().then(() => picture.naturalWidth > 0)")
    page.keyboard.press("Escape")


def test_the_broken_level_is_a_failed_check_with_table_and_plot(visit: Visit) -> None:
    page = visit.page
    # By its address: the list of the asset's checks shows as many as fit.
    page.goto(f"{visit.address}/assets/market_signals?view=checks&checkDetail=silver_100_psychological")
    page.get_by_text("closed back below 100 in a failed retest, close 78.29").first.wait_for()
    table = page.locator("table").filter(has_text="prev_close").last
    assert "SI=F" in table.inner_text()
    assert "close_cross" in table.inner_text()
    row = page.locator("tr").filter(has_text="[Show Markdown]").last
    row.get_by_text("[Show Markdown]").click()
    with dialog(page) as box:
        box.locator("img").first.wait_for()


def test_the_brief_is_read_in_the_web_ui(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.address}/assets/published/market_brief")
    page.get_by_text("[Show Markdown]").first.click()
    with dialog(page) as box:
        for words in ("SIMULATED", "SI=F", "31.35"):
            expect(box).to_contain_text(words)


def test_the_schedule_is_shown_with_its_times(visit: Visit) -> None:
    visit.page.goto(f"{visit.address}/automation")
    visit.page.get_by_text("refresh_after_close").first.wait_for()
    expect(visit.page.locator("body")).to_contain_text("05:30 PM")


def test_the_browser_asks_nobody_else(visit: Visit) -> None:
    visit.page.goto(f"{visit.address}/overview")
    visit.page.wait_for_timeout(3000)
    assert visit.hosts - {""} == {urlsplit(visit.address).netloc}
