"""Alerts as they arrive: at a web hook and a mail server on loopback, through Apprise itself."""

import contextlib
import datetime as dt
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from rich.console import Console

from orchestration.alerts.channel_queue import REJECTIONS_BEFORE_GIVING_UP, UNANSWERED_BEFORE_GIVING_UP
from orchestration.alerts.deliver import Report, deliver
from orchestration.alerts.messages import Alert
from orchestration.alerts.outbox import Judgement, opened_outbox
from orchestration.alerts.overview import print_alerts, try_channels
from orchestration.alerts.send import REFUSALS_IN_A_ROUND, Outcome
from orchestration.alerts.senders import send
from orchestration.cli.status import print_status
from orchestration.market.errors import SettingsError
from orchestration.market.universe import load_universe
from orchestration.settings import Settings
from tests.alert_worker import event_ids
from tests.receivers import Webhook, free_port, ids_of, mail_server

pytestmark = pytest.mark.integration

DAY = dt.date(2026, 1, 30)

# Seconds that a delivery may take at most; on a busy machine it takes long until Apprise is loaded.
LONGEST = 45.0


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with Webhook() as running:
        yield running


def home(tmp_path: Path, *channels: str, **more: object) -> Settings:
    return Settings(home=tmp_path, alerts="\n".join(channels), **{"alert_timeout_seconds": LONGEST, **more})


def happen(settings: Settings, *event_ids: str, kind: str = "move", symbol: str = "SIL", words: str = "") -> None:
    """Events of a run that has ended, queued for the channels."""
    alerts = [Alert(i, kind, "warning", (symbol,), DAY, f"{symbol} moved {words}".rstrip()) for i in event_ids]
    with opened_outbox(settings.paths.alerts) as outbox:
        now = time.time()
        outbox.record(alerts, now, f"run of {event_ids}")
        outbox.record_run(f"run of {event_ids}", lambda _: Judgement({}, []), now)
        outbox.enqueue(settings.channels, now, lambda _: None)


def send_all(settings: Settings) -> dict[str, Outcome]:
    return {outcome.channel: outcome for outcome in send(settings.paths, settings.receivers)}


def show(settings: Settings, console: Console | None = None) -> None:
    print_alerts(settings.paths, settings.channels, load_universe(settings.seeds), console or Console())


def try_all(settings: Settings, console: Console | None = None) -> bool:
    return try_channels(settings.paths, settings.receivers, load_universe(settings.seeds), console or Console())


def counts(settings: Settings) -> dict[tuple[str, str], int]:
    with opened_outbox(settings.paths.alerts) as outbox:
        return outbox.counts()


def test_a_web_hook_gets_one_message_once(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}", ui_url="https://ore.example.org")
    happen(settings, "a", "b", words="-14,78 % ∆ Zürich 銀 <b>&amp;</b>")
    assert send_all(settings) == {"desk": Outcome("desk", 2)}
    assert send_all(settings) == {"desk": Outcome("desk", 0)}
    (message,) = hook.messages
    assert message["title"].startswith("SIMULATED Orewatch 2026-01-30: SIL moved -14,78 % ∆ Zürich 銀 <b>&amp;</b>")
    assert message["type"] == "warning"
    assert ids_of(message["message"]) == ["a", "b"]
    assert "https://ore.example.org/runs/run of " in message["message"]
    assert counts(settings) == {("desk", "sent"): 2}


def test_a_mail_server_gets_one_mail_once(tmp_path: Path) -> None:
    with mail_server() as mailbox:
        url = f"mailto://127.0.0.1:{mailbox.port}?smtp=127.0.0.1&mode=insecure&from=ore@example.org&to=me@example.org"
        settings = home(tmp_path, f"mail={url}")
        happen(settings, "a", "b", words="-14,78 % ∆ Zürich 銀 <b>")
        assert send_all(settings)["mail"] == Outcome("mail", 2)
        assert send_all(settings)["mail"] == Outcome("mail", 0)
    (mail,) = mailbox.mails
    assert mail["to"] == "me@example.org"
    assert mail["subject"].startswith("SIMULATED Orewatch 2026-01-30: SIL moved -14,78 % ∆ Zürich 銀 <b>")
    body = mail.get_body(("html", "plain"))
    assert body is not None
    text = body.get_content()
    assert ids_of(text.replace("\r", "")) == ["a", "b"]
    assert text.count("∆ Zürich 銀 <b>") == 2
    assert "http" not in text.replace("http://127.0.0.1:3000", "")  # nothing is fetched when it is opened


def test_each_channel_gets_what_it_wants(tmp_path: Path, hook: Webhook) -> None:
    with Webhook() as silver, Webhook() as failures:
        settings = home(
            tmp_path,
            f"desk={hook.url}",
            f"silver={silver.url} symbols=SIL,SI=F kinds=move",
            f"failures={failures.url} kinds=data",
        )
        happen(settings, "sil")
        happen(settings, "gdx", symbol="GDX")
        happen(settings, "level", kind="level")
        happen(settings, "check", kind="data")
        send_all(settings)
        assert (sorted(hook.ids), silver.ids, failures.ids) == (["check", "gdx", "level", "sil"], ["sil"], ["check"])


def test_a_channel_that_is_down_is_tried_again_and_holds_nobody_up(tmp_path: Path, hook: Webhook) -> None:
    port = free_port()
    settings = home(tmp_path, f"down=json://127.0.0.1:{port}", f"desk={hook.url}")
    happen(settings, "a")
    assert send_all(settings) == {"down": Outcome("down", 0, "connection refused"), "desk": Outcome("desk", 1)}
    with opened_outbox(settings.paths.alerts) as outbox:
        assert outbox.due(time.time()) == set()
        assert outbox.due(time.time() + 61) == {"down"}
    happen(settings, "b")
    with Webhook(port) as up:
        assert send_all(settings) == {"down": Outcome("down", 2), "desk": Outcome("desk", 1)}
        assert up.ids == ["a", "b"]
        assert "may have reached you" not in up.messages[0]["message"]
    assert hook.ids == ["a", "b"]


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_a_refusal_is_named_and_tried_again(tmp_path: Path, hook: Webhook, status: int) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    happen(settings, "a")
    hook.status = status
    assert send_all(settings)["desk"] == Outcome("desk", 0, f"HTTP {status}")
    hook.status = 200
    assert send_all(settings)["desk"] == Outcome("desk", 1)
    assert hook.ids == ["a"]


def test_a_server_that_fails_may_have_taken_the_message(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    happen(settings, "a")
    hook.status, hook.takes_and_fails = 503, True
    assert send_all(settings)["desk"] == Outcome("desk", 0, "HTTP 503")
    hook.status = 200
    assert send_all(settings)["desk"] == Outcome("desk", 1)
    first, again = hook.messages
    assert hook.ids == ["a", "a"]
    assert "may have reached you before" not in first["message"]
    assert "1 of these may have reached you before" in again["message"]


def test_a_refusal_that_the_service_means_is_no_doubt(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    happen(settings, "a")
    hook.status = 429
    send_all(settings)
    hook.status = 200
    send_all(settings)
    assert "may have reached you before" not in hook.messages[0]["message"]


def test_an_event_that_a_service_refuses_holds_nobody_up(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    happen(settings, "a", "poison", "z")
    hook.refuses = {"poison"}
    assert send_all(settings)["desk"] == Outcome("desk", 2, "HTTP 400")
    assert hook.ids == ["a", "z"]
    happen(settings, "later", "evening")
    rounds = [send_all(settings)["desk"] for _ in range(REJECTIONS_BEFORE_GIVING_UP - 2)]
    assert rounds[0] == Outcome("desk", 2, "HTTP 400")
    assert rounds[-1] == Outcome("desk", 0, None, 1)
    assert rounds[-1].text == "desk: 1 given up, refused for good (orewatch alerts)"
    assert hook.ids == ["a", "z", "evening", "later"]
    assert counts(settings) == {("desk", "sent"): 4, ("desk", "expired"): 1}
    console = Console(record=True, width=120)
    show(settings, console)
    assert f"given up, refused {REJECTIONS_BEFORE_GIVING_UP} times: HTTP 400" in console.export_text()
    # It is over: nothing is asked any more.
    asked = hook.requests
    assert send_all(settings)["desk"] == Outcome("desk", 0)
    assert hook.requests == asked


def test_a_channel_that_refuses_everything_loses_nothing(tmp_path: Path, hook: Webhook) -> None:
    """A wrong recipient, which some services answer with 400: it is the channel, not the events."""
    settings = home(tmp_path, f"desk={hook.url}")
    happen(settings, *"abcd")
    hook.status = 400
    for _ in range(REJECTIONS_BEFORE_GIVING_UP + 1):
        asked = hook.requests
        assert send_all(settings)["desk"] == Outcome("desk", 0, "HTTP 400")
        assert hook.requests - asked <= 1 + REFUSALS_IN_A_ROUND
    hook.status = 200
    assert send_all(settings)["desk"] == Outcome("desk", 4)
    assert sorted(hook.ids) == list("abcd")


def test_a_channel_that_hangs_is_left_at_the_time_limit(tmp_path: Path, hook: Webhook) -> None:
    """It sends a byte now and then for ever, which no time-out of a single read ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while True:
                        connection.sendall(b"x")
                        time.sleep(0.2)
                except OSError:
                    return

        threading.Thread(target=trickle, daemon=True).start()
        # How long a delivery takes on this machine: the time limit leaves room for it.
        alone = home(tmp_path / "alone", f"desk={hook.url}")
        happen(alone, "a")
        started = time.monotonic()
        assert send_all(alone) == {"desk": Outcome("desk", 1)}
        limit = min(LONGEST, max(5.0, 5 * (time.monotonic() - started)))
        settings = home(
            tmp_path,
            f"slow=json://127.0.0.1:{listener.getsockname()[1]}",
            f"desk={hook.url}",
            alert_timeout_seconds=limit,
        )
        happen(settings, "a")
        started = time.monotonic()
        outcomes = send_all(settings)
        assert time.monotonic() - started < limit + 15
    assert outcomes["slow"] == Outcome("slow", 0, "no answer in time")
    assert outcomes["desk"] == Outcome("desk", 1)
    with opened_outbox(settings.paths.alerts) as outbox:
        (waiting,) = outbox.queue("slow").pending()
        # It took the request and may have accepted it: the next message says so.
        assert waiting.maybe_delivered
        assert outbox.due(time.time()) == set()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_no_acceptance_and_says_what_to_do(tmp_path: Path, hook: Webhook, status: int) -> None:
    with Webhook() as elsewhere:
        moved = elsewhere.url.removeprefix("json://").partition("@")[2]
        settings = home(tmp_path, f"desk={hook.url}?redirect=yes", f"other={elsewhere.url}")
        hook.status, hook.location = status, f"http://desk:pa55w0rd@{moved}"
        happen(settings, "a")
        outcomes = send_all(settings)
        assert outcomes["other"] == Outcome("other", 1)
        reason = outcomes["desk"].reason
        assert reason == (
            f"HTTP {status}: redirected to http://{moved.partition('/')[0]}, the same path; redirects are not followed:"
            " give the channel the address that answers itself"
        )
        assert (hook.requests, elsewhere.requests) == (1, 1)
        assert counts(settings) == {("desk", "pending"): 1, ("other", "sent"): 1}
        console = Console(record=True, width=400)
        show(settings, console)
        assert reason in console.export_text()
    # It was not accepted, so there is no doubt; and the channel is tried until it takes the event.
    hook.status = 200
    assert send_all(settings)["desk"] == Outcome("desk", 1)
    assert "may have reached you" not in hook.messages[0]["message"]


def test_a_test_message_is_not_redirected_either(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    hook.status, hook.location = 302, "/login?next=t0k3n"
    console = Console(record=True, width=400)
    assert not try_all(settings, console)
    said = console.export_text()
    assert "desk: HTTP 302: redirected to http://127.0.0.1:" in said
    assert "another path" in said
    assert "t0k3n" not in said
    assert hook.requests == 1


def test_a_slow_answer_is_waited_for(tmp_path: Path, hook: Webhook) -> None:
    """Slower than Apprise waits by itself, but within our time limit: the message comes once."""
    settings = home(tmp_path, f"desk={hook.url}?rto=1")
    hook.delay = 4.2
    happen(settings, "a")
    assert send_all(settings) == {"desk": Outcome("desk", 1)}
    assert send_all(settings) == {"desk": Outcome("desk", 0)}
    assert hook.ids == ["a"]


@pytest.mark.parametrize("answer", ["drips", "late", "cut"])
def test_a_service_that_takes_everything_and_never_says_so_is_not_told_for_ever(
    answer: str, tmp_path: Path, hook: Webhook
) -> None:
    settings = home(tmp_path, f"desk={hook.url}", alert_timeout_seconds=1)
    happen(settings, "a")
    hook.drips, hook.delay, hook.cuts = 0.3 * (answer == "drips"), 2.0 * (answer == "late"), answer == "cut"
    reason = "the answer broke off" if answer == "cut" else "no answer in time"
    assert send_all(settings)["desk"] == Outcome("desk", 0, reason)
    happen(settings, "b")
    with opened_outbox(settings.paths.alerts) as outbox:  # more of the same
        for _ in range(UNANSWERED_BEFORE_GIVING_UP - 2):
            outbox.queue("desk").begin(["a"], time.time())
    outcome = send_all(settings)["desk"]
    assert outcome == Outcome("desk", 0, reason, perhaps_delivered=1)
    assert outcome.text.startswith(
        "desk: 1 given up, perhaps delivered, no answer in time (orewatch alerts), not sent:"
    )
    assert hook.ids == ["a", "b", "a"] or hook.ids == ["a", "a", "b"]
    console = Console(record=True, width=400)
    show(settings, console)
    assert f"given up, perhaps delivered: {UNANSWERED_BEFORE_GIVING_UP} attempts" in console.export_text()
    # The rest is told as before, once the service answers in time.
    hook.drips, hook.delay, hook.cuts = 0.0, 0.0, False
    assert send_all(settings)["desk"] == Outcome("desk", 1)
    assert counts(settings) == {("desk", "sent"): 1, ("desk", "expired"): 1}


def test_what_a_slow_channel_cannot_take_in_a_round_follows_in_the_next(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}?overflow=split", alert_timeout_seconds=2)
    hook.delay = 1.0
    happen(settings, "a", "b", words="far " * 6000)
    outcome = send_all(settings)["desk"]
    assert (outcome.sent, outcome.reason) == (1, "it is slow, the rest follows in the next round")
    assert send_all(settings)["desk"] == Outcome("desk", 1)
    assert sorted(hook.ids) == ["a", "b"]


def test_twelve_channels_and_one_that_hangs_on_a_busy_machine(tmp_path: Path, hook: Webhook) -> None:
    """The time limit, here shorter than it takes to start a sender, is for the answer alone."""
    with socket.create_server(("127.0.0.1", 0)) as never_answers:
        hanging = f"hang=json://127.0.0.1:{never_answers.getsockname()[1]}"
        names = [f"desk{n}" for n in range(12)]
        settings = home(tmp_path, hanging, *(f"{name}={hook.url}" for name in names), alert_timeout_seconds=1)
        happen(settings, "a")
        outcomes = send_all(settings)
    assert outcomes.pop("hang") == Outcome("hang", 0, "no answer in time")
    assert outcomes == {name: Outcome(name, 1) for name in names}


def test_a_url_that_apprise_does_not_know_is_no_end(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, "odd=nosuch://s3cret", f"desk={hook.url}")
    happen(settings, "a")
    assert send_all(settings) == {
        "odd": Outcome("odd", 0, "Apprise does not understand its URL"),
        "desk": Outcome("desk", 1),
    }
    assert counts(settings)[("odd", "pending")] == 1


@pytest.mark.slow
def test_secrets_are_nowhere(
    tmp_path: Path, hook: Webhook, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    settings = home(
        tmp_path, f"desk={hook.url}", "odd=nosuch://pa55w0rd/t0k3n", "gone=json://u:pa55w0rd@127.0.0.1:1/t0k3n"
    )
    for status in (200, 401, 500):
        hook.status = status
        happen(settings, f"e{status}")
        send_all(settings)
    try_all(settings)
    show(settings)
    seen = caplog.text + "".join(capfd.readouterr())
    assert "desk" in seen
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"connection refused" in written
    for secret in ("pa55w0rd", "t0k3n"):
        assert secret not in seen
        assert secret.encode() not in written


def test_without_a_channel_each_event_is_logged_once(tmp_path: Path) -> None:
    settings = home(tmp_path)
    with opened_outbox(settings.paths.alerts) as outbox, dg.DagsterInstance.ephemeral() as instance:
        outbox.record([Alert("a", "move", "warning", ("SIL",), DAY, "SIL moved")], time.time(), "run")
        outbox.record_run("run", lambda _: Judgement({}, []), time.time())
        lines: list[str] = []
        assert deliver(settings.paths, settings.receivers, instance, lines.append) == Report(1, [])
        assert deliver(settings.paths, settings.receivers, instance, lines.append) == Report(0, [])
    assert lines == ["SIMULATED warning move 2026-01-30: SIL moved [a]"]


def test_a_test_message_reaches_every_channel(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    happen(settings, "a")
    assert try_all(settings)
    assert "a test of this channel" in hook.messages[0]["title"]
    assert counts(settings) == {("desk", "pending"): 1}  # it is no delivery
    assert not try_all(home(tmp_path, f"desk={hook.url}", f"down=json://127.0.0.1:{free_port()}"))
    assert not try_all(home(tmp_path))


def test_a_channel_that_asks_for_an_unknown_symbol_is_named(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url} symbols=SIL,GONE")
    console = Console(record=True, width=120)
    show(settings, console)
    shown = console.export_text()
    assert "warning OREWATCH_ALERTS: channel 'desk' asks for GONE, not in instruments.csv" in shown
    assert "pa55w0rd" not in shown
    with pytest.raises(SettingsError, match="channel 'desk' asks for GONE"):
        try_all(settings)
    assert hook.requests == 0


def test_status_names_what_could_not_be_sent(tmp_path: Path, hook: Webhook) -> None:
    def status() -> list[str]:
        console = Console(record=True, width=120)
        print_status(settings, console)
        return [line for line in console.export_text().splitlines() if line.startswith("Alerts")]

    settings = home(tmp_path, f"desk={hook.url}", f"down=json://u:pa55w0rd@127.0.0.1:{free_port()}")
    assert status() == []
    assert not settings.paths.alerts.exists()
    happen(settings, "a", "b")
    assert status() == [f"Alerts not sent: {name}: 2 waiting (not tried yet)" for name in ("desk", "down")]
    send_all(settings)
    assert status() == ["Alerts not sent: down: 2 waiting (connection refused)"]
    with opened_outbox(settings.paths.alerts) as outbox:
        for day in range(1, 9):
            outbox.expire(time.time() + day * 86400)
    happen(settings, "c")
    send_all(settings)
    settings = home(tmp_path, f"desk={hook.url}")
    (line,) = status()
    assert line == (
        "Alerts not sent: down: 1 waiting (connection refused); 2 given up (gave up after a week: connection refused)"
    )


def test_many_processes_at_once_send_everything_once(tmp_path: Path, hook: Webhook) -> None:
    settings = home(tmp_path, f"desk={hook.url}")
    hook.delay = 0.3
    workers = [start_worker(settings, 0, 3) for _ in range(4)]
    for worker in workers:
        worker.communicate(timeout=300)
    assert [worker.returncode for worker in workers] == [0] * 4
    send_all(settings)
    assert sorted(hook.ids) == sorted(event_ids(4))


def start_worker(settings: Settings, first: int, last: int) -> "subprocess.Popen[str]":
    """A worker in a process group of its own; it has said `ready`."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.alert_worker", str(settings.home), str(first), str(last)],
        env={**os.environ, "OREWATCH_ALERTS": settings.alerts.get_secret_value()},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker


@pytest.mark.slow
@pytest.mark.parametrize("kills", [10, pytest.param(20, marks=pytest.mark.torture)])
def test_killed_at_random_moments_nothing_is_lost(kills: int, tmp_path: Path, hook: Webhook) -> None:
    """Processes are killed while they note and send events; the last one is left alone.

    An event may come twice only if a process died between the channel's acceptance and the mark in the outbox; then
    the message that brings it again says so, and the id is the same.
    """
    seed = 20260130
    chance = random.Random(seed)  # noqa: S311
    settings = home(tmp_path, f"desk={hook.url}")
    hook.delay = 0.15
    # How long one takes on this machine, undisturbed: the kills fall anywhere within that.
    undisturbed = start_worker(settings, 0, 0)
    began = time.monotonic()
    undisturbed.communicate(timeout=300)
    usual = time.monotonic() - began
    number = landed = 0
    while landed < kills and number < 4 * kills:
        number += 1
        # Each also outbox the events of the one before again, as a check does that is evaluated again.
        worker = start_worker(settings, number - 1, number)
        time.sleep(chance.uniform(0, usual))
        if worker.poll() is None:
            landed += 1
        else:  # the machine was busier when the time was taken
            usual *= 0.9
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.communicate(timeout=300)
    last = start_worker(settings, 0, number)
    last.communicate(timeout=300)
    assert last.returncode == 0
    expected, received = event_ids(number + 1), hook.ids
    lost = set(expected) - set(received)
    twice = {event_id for event_id in received if received.count(event_id) > 1}
    print(  # noqa: T201  (figures of the acceptance; pytest -s shows them)
        f"seed {seed}: {landed} kills of {number} workers; events {len(expected)}, received"
        f" {len(set(received))}, lost {len(lost)}, received again {len(twice)}, in {len(hook.messages)} messages"
    )
    assert lost == set()
    assert set(received) == set(expected)
    assert counts(settings) == {("desk", "sent"): len(expected)}
    seen: set[str] = set()
    for message in hook.messages:
        ids = set(ids_of(message["message"]))
        if again := ids & seen:
            said = int(message["message"].split(" of these may have reached you before")[0].rsplit("\n", 1)[-1])
            assert said >= len(again)
        seen |= ids
    assert landed == kills
