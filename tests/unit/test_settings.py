"""Settings: what runs out of the box, and the one line that names a wrong variable."""

import datetime as dt
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from orchestration.market.errors import SettingsError
from orchestration.settings import DBT_PROJECT_DIR, PROJECT_ROOT, Settings, load_settings

AS_OF = "allowed: a date as YYYY-MM-DD from 2018-01-02 to 2026-03-06"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("OREWATCH_"):
            monkeypatch.delenv(name)


def test_defaults_run_the_simulated_market() -> None:
    settings = load_settings()
    assert settings.source == "sample"
    assert settings.simulated
    assert settings.home == PROJECT_ROOT / "data"
    assert settings.seeds == DBT_PROJECT_DIR / "seeds"
    assert settings.files is None
    assert settings.as_of == dt.date(2026, 1, 30)
    assert settings.restatement_sessions == 10
    assert settings.whole_history_days == 7
    # 20:00 in New York, when every session of the day has closed.
    assert settings.now() == dt.datetime(2026, 1, 31, 1, 0, tzinfo=dt.UTC)


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OREWATCH_SOURCE", "files")
    monkeypatch.setenv("OREWATCH_FILES", str(tmp_path))
    monkeypatch.setenv("OREWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OREWATCH_AS_OF", "2026-01-29")
    monkeypatch.setenv("OREWATCH_RESTATEMENT_SESSIONS", "0")
    settings = load_settings()
    assert settings.source == "files"
    assert settings.files == tmp_path
    assert settings.as_of == dt.date(2026, 1, 29)
    assert settings.restatement_sessions == 0
    assert settings.paths.lake == tmp_path / "home" / "files" / "lake"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOURCE", "HOME", "FILES", "SEEDS", "AS_OF", "RESTATEMENT_SESSIONS"):
        monkeypatch.setenv(f"OREWATCH_{name}", "")
    assert load_settings() == Settings()
    assert load_settings().home == PROJECT_ROOT / "data"


def test_unrelated_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE", "yahoo")
    assert load_settings().source == "sample"


def test_relative_paths_and_home_signs_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(home=Path("here")).home == tmp_path / "here"
    assert Settings(home=Path("~/there")).home == tmp_path / "there"


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("SOURCE", "csv", "allowed: sample, yahoo, files"),
        ("SOURCE", "Yahoo", "allowed: sample, yahoo, files"),
        ("AS_OF", "yesterday", AS_OF),
        ("AS_OF", "30.01.2026", AS_OF),
        ("AS_OF", "2026-02-30", AS_OF),
        ("AS_OF", "2017-12-29", AS_OF),
        ("AS_OF", "2026-03-09", AS_OF),
        ("AS_OF", "1767225600", AS_OF),
        ("RESTATEMENT_SESSIONS", "-1", "allowed: a whole number from 0 to 252"),
        ("RESTATEMENT_SESSIONS", "253", "allowed: a whole number from 0 to 252"),
        ("RESTATEMENT_SESSIONS", "1.5", "allowed: a whole number from 0 to 252"),
        ("RESTATEMENT_SESSIONS", "ten", "allowed: a whole number from 0 to 252"),
        ("WHOLE_HISTORY_DAYS", "0", "allowed: a whole number from 1 to 3650"),
        ("WHOLE_HISTORY_DAYS", "9" * 30, "allowed: a whole number from 1 to 3650"),
        ("YAHOO_PAUSE_SECONDS", "-0.1", "allowed: a number from 0 to 60"),
        ("YAHOO_PAUSE_SECONDS", "nan", "allowed: a number from 0 to 60"),
        ("YAHOO_TIMEOUT_SECONDS", "0", "allowed: a number above 0 and up to 300"),
        ("YAHOO_TIMEOUT_SECONDS", "inf", "allowed: a number above 0 and up to 300"),
        ("YAHOO_ATTEMPTS", "0", "allowed: a whole number from 1 to 20"),
        ("MEMORY_GB", "0.1", "allowed: a number from 0.5 on"),
        ("FULL_REFRESH_BELOW_BARS", "-1", "allowed: a whole number from 0 on"),
        ("FULL_REFRESH_BELOW_BARS", "many", "allowed: a whole number from 0 on"),
        ("SPARK", "yarn", "allowed: local[2], local[*] or spark://HOST:PORT"),
        ("SPARK", "spark://master", "allowed: local[2], local[*] or spark://HOST:PORT"),
        ("YAHOO_BACKOFF_SECONDS", "soon", "allowed: a number from 0 to 300"),
    ],
)
def test_wrong_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str) -> None:
    monkeypatch.setenv(f"OREWATCH_{name}", value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"OREWATCH_{name}={value}: {allowed}"


def test_several_wrong_values_stand_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_SOURCE", "c\nsv")
    monkeypatch.setenv("OREWATCH_YAHOO_ATTEMPTS", "x")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == (
        "OREWATCH_SOURCE=c\\nsv: allowed: sample, yahoo, files; "
        "OREWATCH_YAHOO_ATTEMPTS=x: allowed: a whole number from 1 to 20"
    )


def test_files_needs_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A refresh does; what only reads tables does not."""
    monkeypatch.setenv("OREWATCH_SOURCE", "files")
    with pytest.raises(SettingsError) as caught:
        load_settings().drop_folder()
    assert str(caught.value) == (
        "OREWATCH_FILES is not set; allowed: the folder that holds one CSV or Parquet per source symbol"
    )
    monkeypatch.setenv("OREWATCH_FILES", str(tmp_path / "none"))
    with pytest.raises(SettingsError) as caught:
        load_settings().drop_folder()
    assert str(caught.value) == (f"OREWATCH_FILES={tmp_path / 'none'} is not a folder; allowed: an existing folder")


def test_seeds_that_are_no_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OREWATCH_SEEDS", str(tmp_path / "none"))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == (
        f"OREWATCH_SEEDS={tmp_path / 'none'} is not a folder; allowed: a folder with the seed files"
    )


def test_home_that_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    monkeypatch.setenv("OREWATCH_HOME", str(tmp_path / "home"))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == (f"OREWATCH_HOME={tmp_path / 'home'} is not a folder; allowed: a folder, or a new name")


def test_home_of_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_HOME", "~nobody-of-this-name/data")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith("OREWATCH_HOME=~nobody-of-this-name/data: ")
    assert str(caught.value).endswith("; allowed: a folder")


def test_simulated_and_real_prices_never_share_a_path(tmp_path: Path) -> None:
    sample = Settings(source="sample", home=tmp_path)
    yahoo = Settings(source="yahoo", home=tmp_path)
    files = Settings(source="files", home=tmp_path, files=tmp_path)
    for attribute in (
        "root",
        "lake",
        "warehouse",
        "published",
        "lock",
        "published_file",
        "dagster",
    ):
        paths = [getattr(settings.paths, attribute) for settings in (sample, yahoo, files)]
        assert len(set(paths)) == 3, attribute
        for settings, path in zip((sample, yahoo, files), paths, strict=True):
            assert path.is_relative_to(tmp_path / settings.source)
    assert (sample.simulated, yahoo.simulated, files.simulated) == (True, False, False)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().source = "yahoo"  # type: ignore[misc]


def test_real_sources_use_the_clock() -> None:
    before = dt.datetime.now(dt.UTC)
    assert before <= Settings(source="yahoo").now() <= dt.datetime.now(dt.UTC)


def test_summer_evening_of_the_simulated_market() -> None:
    assert Settings(as_of=dt.date(2025, 7, 1)).now() == dt.datetime(2025, 7, 2, 0, 0, tzinfo=dt.UTC)


def test_quotes_in_a_path_are_doubled_for_duckdb(tmp_path: Path) -> None:
    home = tmp_path / "o'reilly"
    environment = Settings(home=home).dbt_environment()
    assert environment["OREWATCH_ROOT"] == f"{tmp_path}/o''reilly/sample"
    assert Settings(home=home, engine="spark").dbt_environment()["OREWATCH_ROOT"] == f"{home}/sample"
    assert environment["OREWATCH_SOURCE"] == "sample"
    assert all(isinstance(value, str) for value in environment.values())


def test_a_misspelt_variable_does_not_pass_for_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_SOURC", "yahoo")
    with pytest.raises(
        SettingsError, match=r"^OREWATCH_SOURC: there is no such setting; allowed: OREWATCH_ALERTS, .*OREWATCH_SOURCE"
    ):
        load_settings()


@pytest.mark.parametrize("sign", list("*?[]{}#"))
def test_a_home_that_reads_as_a_pattern_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sign: str) -> None:
    home = tmp_path / f"a{sign}b" / "data"
    monkeypatch.setenv("OREWATCH_HOME", str(home))
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"OREWATCH_HOME={home}: allowed: a path without any of * ? [ ] {{ }} #"


def test_quotes_and_spaces_in_a_home_are_fine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / 'it\'s "my" data'
    monkeypatch.setenv("OREWATCH_HOME", str(home))
    assert load_settings().home == home


def test_given_settings_mean_the_same_in_another_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "drop").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OREWATCH_SOURCE", "files")
    monkeypatch.setenv("OREWATCH_FILES", "drop")
    monkeypatch.setenv("OREWATCH_HOME", "../home")
    monkeypatch.setenv("OREWATCH_AS_OF", "2026-02-03")
    monkeypatch.setenv("OREWATCH_SEEDS", "")
    settings = load_settings()
    assert settings.given_environment() == {
        "OREWATCH_SOURCE": "files",
        "OREWATCH_FILES": str(tmp_path / "drop"),
        "OREWATCH_HOME": str(tmp_path.parent / "home"),
        "OREWATCH_AS_OF": "2026-02-03",
    }
    monkeypatch.chdir("/")
    for name, value in settings.given_environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == settings


def test_the_address_of_postgresql_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_POSTGRES_URL", "postgresql://me:geheim@127.0.0.1/market")
    settings = load_settings()
    assert "geheim" not in repr(settings)
    assert settings.given_environment() == {"OREWATCH_POSTGRES_URL": "postgresql://me:geheim@127.0.0.1/market"}
    for wrong in ("geheim", "mysql://me:geheim@h/d", "postgresql://me:ge heim@h/d", "postgresql://"):
        monkeypatch.setenv("OREWATCH_POSTGRES_URL", wrong)
        with pytest.raises(SettingsError) as caught:
            load_settings()
        assert str(caught.value) == (
            "OREWATCH_POSTGRES_URL: allowed: postgresql://USER:PASSWORD@HOST:PORT/DATABASE, signs like @ in it as %40"
        )


@pytest.mark.parametrize(
    "address",
    ["bucket", "s3://", "s3:///", "file:///", "s3://me:geheim@bucket", "s3://bucket?secret_key=geheim", "s3://b c"],
)
def test_the_address_of_an_object_store_holds_no_secret(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("OREWATCH_STORE", address)
    with pytest.raises(SettingsError, match=r"^OREWATCH_STORE=.*: allowed: an address like s3://BUCKET/FOLDER") as told:
        load_settings()
    assert "geheim" not in str(told.value)


@pytest.mark.parametrize("place", ["", "/home", "/home/files/lake"])
def test_a_home_is_no_object_store_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str) -> None:
    monkeypatch.setenv("OREWATCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OREWATCH_STORE", f"file://{tmp_path}{place}")
    with pytest.raises(SettingsError, match="allowed: a folder that is not of the home, nor around it"):
        load_settings()
    monkeypatch.setenv("OREWATCH_STORE", f"file://{tmp_path}/home-in-the-store/")
    assert load_settings().store == f"file://{tmp_path}/home-in-the-store"


@pytest.mark.parametrize("name", ["Market", "1st", "a-b", "a" * 31, "pg_mine", 'a"b'])
def test_a_schema_is_a_plain_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("OREWATCH_POSTGRES_SCHEMA", name)
    with pytest.raises(SettingsError, match=rf"^OREWATCH_POSTGRES_SCHEMA={name}: allowed: up to 30 small letters"):
        load_settings()


def test_an_address_of_the_ui_with_a_password_is_refused_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OREWATCH_UI_URL", "https://user:hunter2@example.org/ui")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert "without user name and password" in str(error.value)
    assert "hunter2" not in str(error.value)
