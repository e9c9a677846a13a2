"""What is said before a build begins where the engine is not there."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.market.errors import SettingsError
from orchestration.settings import Settings
from orchestration.transform import spark as engine


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _name: True)
    monkeypatch.setenv("JAVA_HOME", "anywhere")


@pytest.fixture
def master() -> Iterator[int]:
    """A port on loopback where something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def on_spark(address: str) -> Settings:
    return Settings(engine="spark", spark=address)


def require(settings: Settings) -> None:
    engine.require_engine(settings.engine, settings.spark, settings.has_java)


def test_duckdb_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _name: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    require(Settings())


def test_spark_needs_its_packages_and_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(engine, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="make spark-environment"):
        require(on_spark("local[2]"))
    monkeypatch.setattr(engine, "find_spec", lambda _name: True)
    with pytest.raises(SettingsError, match="default-jre-headless"):
        require(on_spark("local[2]"))


def test_java_is_found_by_its_variable_or_on_the_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda _name: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", "anywhere")
    require(on_spark("local[2]"))
    monkeypatch.delenv("JAVA_HOME")
    (tmp_path / "java").touch(0o755)
    require(on_spark("local[2]"))


@pytest.mark.usefixtures("installed")
def test_a_cluster_is_asked_before_a_build_begins(master: int) -> None:
    require(on_spark("local[2]"))
    require(on_spark(f"spark://127.0.0.1:{master}"))
    require(on_spark(f"spark://127.0.0.1:99999,127.0.0.1:{master}"))


@pytest.mark.usefixtures("installed")
def test_a_cluster_that_does_not_answer_is_named() -> None:
    with socket.socket() as bound:  # takes the port and does not listen
        bound.bind(("127.0.0.1", 0))
        address = f"spark://127.0.0.1:{bound.getsockname()[1]}"
        with pytest.raises(SettingsError, match=rf"^OREWATCH_SPARK={address}: nothing answers there\. Start"):
            require(on_spark(address))
