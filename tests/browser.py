"""Looking at web pages in tests: their structure as text, and themselves in headless Chromium."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HOSTILE = "</title></script><script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;.mp4"
TIMES = "[...document.querySelectorAll('video')].map((film) => film.currentTime)"
SEEKED = "[...document.querySelectorAll('video')].every((film) => film.paused && !film.seeking)"
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)

_KEYS = {"Home": 36, "End": 35, "ArrowLeft": 37, "ArrowRight": 39}


class Outline(HTMLParser):
    """What a browser would see: tags with their attributes, and text by the tag around it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open.pop() != tag:  # void elements have no end
            pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data.strip()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]


def png(source: str | None) -> np.ndarray:
    assert source is not None and source.startswith("data:image/png;base64,")
    return np.array(Image.open(BytesIO(base64.b64decode(source.partition(",")[2]))))


def assert_self_contained(page: str) -> None:
    """Nothing may be fetched, and only the page's own style and script may run."""
    outline = Outline(page)
    policy = outline.all("meta")[1]["content"]
    assert policy is not None and policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy and "http" not in policy
    for kind in ("style", "script"):
        (inside,) = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    for _, attributes in outline.tags:
        assert "style" not in attributes and not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")


class Browser:
    """A page in headless Chromium, spoken to in its DevTools protocol over two pipes."""

    def __init__(self, folder: Path) -> None:
        command_out, command_in = os.pipe()
        answer_out, answer_in = os.pipe()

        def as_expected() -> None:  # the protocol is on file descriptors 3 and 4
            ours = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (command_out, answer_in)]
            os.dup2(ours[0], 3)
            os.dup2(ours[1], 4)

        assert CHROMIUM is not None
        self.process = subprocess.Popen(
            [
                CHROMIUM,
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--disable-dev-shm-usage"),
                *(f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"),
            ],
            preexec_fn=as_expected,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(command_out)
        os.close(answer_in)
        self._commands, self._answers = os.fdopen(command_in, "wb"), os.fdopen(answer_out, "rb")
        self._count = 0
        self._session: str | None = None
        self._shown = self._loaded = ""
        self.complaints: list[Any] = []
        self.requests: list[str] = []
        pages = self.call("Target.getTargets")["targetInfos"]
        target = next(page["targetId"] for page in pages if page["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Log", "Network", "Page", "Runtime"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and wait for its result; what happens meanwhile is noted."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self._note(answer)

    def _receive(self) -> dict[str, Any]:
        data = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "Chromium ended"
            data += byte
        return json.loads(data)

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(parameters)
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Page.frameNavigated":
            self._shown = parameters["frame"]["url"]
        elif method == "Page.loadEventFired":
            self._loaded = self._shown

    def run(self, script: str) -> Any:
        """The value of an expression in the page, awaited."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Look at a condition in the page every 20 ms, for 20 s at most."""
        assert self.run(
            "new Promise((done) => { const start = performance.now(); const look = () => {"
            f"if ({condition}) done(true); else if (performance.now() - start > 2e4) done(false);"
            "else setTimeout(look, 20); }; look(); })"
        ), f"never: {condition}"

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            pressed = {"key": key, "windowsVirtualKeyCode": _KEYS[key]}
            self.call("Input.dispatchKeyEvent", type="keyDown", **pressed)
            self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        """Draw the mouse from one point of the window to another, with its button down."""
        for kind, (x, y) in (
            ("mousePressed", start),
            ("mouseMoved", stop),
            ("mouseReleased", stop),
        ):
            self.call(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=int(kind != "mouseReleased"),
                clickCount=1,
            )

    def show_as(self, width: int, height: int, scheme: str) -> None:
        """Take a window of this size, and a "light" or "dark" colour scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def screenshot(self) -> np.ndarray:
        """The whole page as (H, W, 3) uint8."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        return np.array(Image.open(BytesIO(base64.b64decode(data))).convert("RGB"))

    def open(self, path: Path) -> None:
        """Load a file and wait until its films are there, or not."""
        self.complaints.clear()
        self.requests.clear()
        self._shown = self._loaded = ""
        self.call("Page.navigate", url=path.as_uri())
        while self._loaded != path.as_uri():
            self._note(self._receive())
        self.wait_for("document.documentElement.dataset.shown")

    def close(self) -> None:
        self._commands.close()  # Chromium ends with the pipe
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._answers.close()


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser with an empty profile; the test is skipped where none is installed."""
    if CHROMIUM is None:
        pytest.skip("no chromium or google-chrome is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(Path(folder))
        try:
            yield browser
        finally:
            browser.close()
