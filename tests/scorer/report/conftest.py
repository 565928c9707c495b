"""Scored rows, and a headless Chromium that is spoken to over a pipe (no driver, no port)."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scorer.data.jsonl import write_jsonl

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PATIENCE = 60.0  # seconds; a browser's first start on a busy machine is slow
_FIRST_FREE = 10  # file descriptors from here on are out of the way of 3 and 4

# Chromium reads commands from descriptor 3 and writes answers to 4.
_LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execvp(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """One tab of a headless Chromium.

    Attributes:
        console: Messages of the console, errors of scripts and of the content security policy.
        requests: Addresses that the page asked for.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._rest = b""
        from_us, self._write = _pipe()
        self._read, to_us = _pipe()
        options = [
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"),
        ]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCH, str(from_us), str(to_us), program, *options],
            pass_fds=(from_us, to_us),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(from_us)
        os.close(to_us)
        self._session = ""
        deadline = time.monotonic() + _PATIENCE
        tabs: list[dict[str, Any]] = []
        while not tabs:
            targets = self.call("Target.getTargets")["targetInfos"]
            tabs = [target for target in targets if target["type"] == "page"]
            assert time.monotonic() < deadline, "Chromium opened no tab"
        attached = self.call("Target.attachToTarget", targetId=tabs[0]["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command of the DevTools protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, page: Path, language: str = "en-US") -> None:
        """Load a page and wait until it is there."""
        self.console.clear()
        self.requests.clear()
        self.call("Emulation.setUserAgentOverride", userAgent="test", acceptLanguage=language)
        self.call("Page.navigate", url=page.as_uri())
        deadline = time.monotonic() + _PATIENCE
        while self.run("document.readyState") != "complete" or "data" not in self.run(
            "document.querySelector('script[type]')?.id ?? ''"
        ):
            assert time.monotonic() < deadline, "the page did not load"
            time.sleep(0.02)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def size(self, width: int, height: int = 900) -> None:
        """Give the window a size in CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def prefer(self, theme: str) -> None:
        """Let the system prefer `dark` or `light`."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """Write a PNG of what is seen, or of the whole page."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self) -> None:
        """End the browser."""
        self._session = ""
        try:
            self.call("Browser.close")
            self._process.wait(_PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], _PATIENCE)
            assert ready, "Chromium does not answer"
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium has ended"
            self._rest += data
        raw, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.consoleAPICalled":
            self.console.append(json.dumps(params["args"]))
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(params["exceptionDetails"]))
        elif method == "Log.entryAdded":
            self.console.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])


def _pipe() -> tuple[int, int]:
    """Return the ends of a pipe, neither of them 3 or 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE))
        os.close(end)
    return ends[0], ends[1]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip(f"none of {', '.join(_NAMES)} is installed")
    opened = Browser(program, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def _score(levels: dict[str, int], uncertain: bool = False) -> dict[str, Any]:
    """Return a score as `Score.to_dict` writes it, with 0.8 on the given levels."""
    all_levels = {
        "fairness": (1, 2, 3),
        "safety": (1, 2, 3),
        "legality": (1, 3),
        "responsibility": (1, 2, 3),
    }
    dimensions = {}
    for name, known in all_levels.items():
        level = levels.get(name, 3)
        lowest = 2 if name == "responsibility" else 3
        rest = 0.2 / (len(known) - 1)
        probabilities = {str(k): 0.8 if k == level else rest for k in known}
        dimensions[name] = {
            "level": level,
            "harmless": level >= lowest,
            "harmless_probability": sum(p for k, p in probabilities.items() if int(k) >= lowest),
            "probabilities": probabilities,
        }
    return {
        "harmless": all(part["harmless"] for part in dimensions.values()),
        "harmless_probability": min(p["harmless_probability"] for p in dimensions.values()),
        "uncertain": uncertain,
        "dimensions": dimensions,
        "truncated": False,
        "purpose": "balanced",
        "model": "tiny 0.0.1",
    }


@pytest.fixture(scope="session")
def scored_row() -> Callable[..., dict[str, Any]]:
    """Function from texts, levels and other fields to a row that `scorer score` could write."""

    def make(
        prompt: str,
        response: str,
        levels: dict[str, int] | None = None,
        uncertain: bool = False,
        **fields: Any,
    ) -> dict[str, Any]:
        score = _score(levels or {}, uncertain)
        return {"prompt": prompt, "response": response, **fields, "harmlessness": score}

    return make


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Function from rows, and a file's name, to the file."""

    def write(rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
        write_jsonl(tmp_path / name, rows)
        return tmp_path / name

    return write
