"""`text2live doctor`: what it finds, and that it says what to do."""

from __future__ import annotations

import json
import shutil
import socket
from collections import namedtuple
from pathlib import Path

import pytest

from tests.commands import passed, run
from text2live_cli.pipelines import doctor, self_test

Usage = namedtuple("Usage", "total used free")


def findings(result: object) -> dict[str, dict[str, object]]:
    return {one["name"]: one for one in json.loads(result.stdout)["findings"]}  # type: ignore[attr-defined]


def test_all_is_well_here() -> None:
    result = passed(run("doctor", "--json"))
    found = findings(result)
    names = {"versions", "device", "threads", "MP4", "ProRes 4444", "VP9"}
    assert found.keys() == names | {"weights", "network", "extras", "cache", "disk", "memory"}
    assert all(one["good"] for one in found.values())
    assert "one step of an edit and of a fit done" in str(found["device"]["text"])


def test_the_network_is_only_asked_for_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HUB_OFFLINE", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert doctor._network().text == "127.0.0.1 answers"
    assert "does not answer; --clip swatch needs none" in doctor._network().text
    monkeypatch.setenv("HTTPS_PROXY", "http://10.0.0.1")
    assert "through the proxy of HTTPS_PROXY" in doctor._network().text
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "not asked for" in doctor._network().text


def test_what_is_wrong_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(device: object) -> None:
        raise RuntimeError("no such operation\nand a long tail")

    monkeypatch.setattr(self_test, "edit_step", broken)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 10**6))
    result = run("doctor", "--json")
    assert result.exit_code == 1
    found = findings(result)
    assert not found["device"]["good"] and not found["disk"]["good"]
    assert "fails (no such operation): use --device cpu" in str(found["device"]["text"])
    assert "make room" in str(found["disk"]["text"])
