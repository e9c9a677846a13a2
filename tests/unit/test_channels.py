"""OREWATCH_ALERTS: channels and their filters, and errors that keep secrets."""

import pytest

from orchestration.channels import Channel, read_channels, wrong_filters
from orchestration.market.errors import SettingsError
from orchestration.settings import Settings, load_settings

SECRET = "json://desk:pa55w0rd@example.org/t0k3n?a=b&c=d;e,f"  # noqa: S105  (made up)


def test_channels_on_one_line_or_several() -> None:
    text = f"""
      desk={SECRET}  kinds=level,move symbols=SI=F,SIL
      mail=mailto://me:pw@example.org severity=error
    """
    one, two = read_channels(text)
    assert (one.name, one.url) == ("desk", SECRET)
    assert (one.kinds, one.symbols, one.severity) == ({"level", "move"}, {"SI=F", "SIL"}, "info")
    assert (two.name, two.url, two.severity) == ("mail", "mailto://me:pw@example.org", "error")
    assert read_channels(" ".join(text.split())) == (one, two)
    assert read_channels("") == ()


@pytest.mark.parametrize(
    ("filters", "kind", "symbols", "severity", "wanted"),
    [
        ("", "data", (), "info", True),
        ("kinds=move", "move", ("SIL",), "warning", True),
        ("kinds=move", "level", ("SIL",), "warning", False),
        ("symbols=SIL", "move", ("SIL",), "warning", True),
        ("symbols=SIL", "move", ("SLV",), "warning", False),
        ("symbols=SIL", "data", ("SLV", "SIL"), "warning", True),
        ("symbols=SIL", "data", (), "error", True),  # about no instrument in particular
        ("severity=warning", "level", ("SIL",), "info", False),
        ("severity=warning", "level", ("SIL",), "warning", True),
        ("severity=warning", "data", (), "error", True),
        ("severity=error kinds=data", "data", (), "warning", False),
    ],
)
def test_a_channel_hears_what_it_wants(
    filters: str, kind: str, symbols: tuple[str, ...], severity: str, wanted: bool
) -> None:
    (channel,) = read_channels(f"desk=json://x {filters}")
    assert channel.wants(kind, symbols, severity) is wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SECRET, "word 1 is neither a channel nor a filter"),
        (f"Desk={SECRET}", "word 1 is neither a channel nor a filter"),
        (f"desk={SECRET} t0k3n", "word 2 is neither a channel nor a filter"),
        ("kinds=move", "word 1 is neither a channel nor a filter"),
        (f"desk={SECRET} desk={SECRET}", "channel 'desk' is named twice"),
        (f"desk={SECRET} kinds=moves", "channel 'desk': kinds is not understood; allowed: level, move, pair"),
        (f"desk={SECRET} severity=info,error", "allowed: one of info, warning, error"),
        (f"desk={SECRET} symbols=,", "allowed: symbols of instruments.csv"),
        (f"desk={SECRET} watchlists=Core", "allowed: watchlists of instruments.csv"),
        (f"desk={SECRET} kinds=move kinds=level", "channel 'desk' has kinds twice"),
        (
            f"desk={SECRET} symbols=SIL,example.org/t0k3n",
            "channel 'desk': symbols is not understood; allowed: symbols of",
        ),
    ],
)
def test_a_wrong_text_is_one_line_without_its_secrets(text: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_ALERTS", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith("OREWATCH_ALERTS: ")
    assert says in str(caught.value)
    for secret in ("pa55w0rd", "t0k3n", "example.org"):
        assert secret not in str(caught.value)
    with pytest.raises(ValueError, match="alerts") as raw:
        Settings(alerts=text)
    assert "pa55w0rd" not in f"{raw.value} {raw.value!r}"


def test_symbols_that_no_seed_names_are_named_without_the_url() -> None:
    channels = read_channels(f"desk={SECRET} symbols=SIL,sil,GONE  mail={SECRET} symbols=SIL  all={SECRET}")
    (line,) = wrong_filters(channels, ["SIL", "SLV"], [])
    assert line.startswith("OREWATCH_ALERTS: channel 'desk' asks for GONE, sil, not in instruments.csv; allowed: ")
    assert "example.org" not in line
    assert wrong_filters(channels, ["SIL", "sil", "GONE"], []) == []


def test_a_channel_hears_of_the_members_of_its_watchlists() -> None:
    (channel,) = read_channels("desk=json://x watchlists=core,mine symbols=AG")
    assert channel.filters == "symbols AG; watchlists core, mine"
    filled = channel.with_members({"core": ("SIL", "SLV"), "other": ("GDX",)})
    heard = {symbol for symbol in ("AG", "SIL", "SLV", "GDX") if filled.wants("move", (symbol,), "info")}
    assert heard == {"AG", "SIL", "SLV"}
    assert filled.wants("data", (), "error")  # about no instrument in particular
    (line,) = wrong_filters([channel], ["AG"], ["core"])
    assert line == (
        "OREWATCH_ALERTS: channel 'desk' asks for mine, not in instruments.csv; allowed: watchlists of instruments.csv"
    )
    # One that has lost its last instrument does not become one that wants everything.
    (empty,) = read_channels("desk=json://x watchlists=gone")
    assert not empty.with_members({}).wants("move", ("SIL",), "error")


def test_a_url_is_never_represented() -> None:
    settings = Settings(alerts=f"desk={SECRET}")
    shown = f"{settings} {settings!r} {settings.channels} {settings.model_dump()} {settings.model_dump_json()}"
    assert "pa55w0rd" not in shown
    assert settings.channels == (Channel("desk", SECRET),)
    # What `orewatch dev` starts must know them.
    assert settings.given_environment() == {"OREWATCH_ALERTS": f"desk={SECRET}"}
    assert "OREWATCH_ALERTS" not in settings.dbt_environment()


@pytest.mark.parametrize("address", ["127.0.0.1:3000", "ftp://x", "http://", "https:///runs"])
def test_the_address_of_the_ui_is_one(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_UI_URL", address)
    with pytest.raises(SettingsError, match="allowed: an address that begins with http:// or https://"):
        load_settings()
    assert Settings(ui_url="https://ore.example.org/").ui_url == "https://ore.example.org"
