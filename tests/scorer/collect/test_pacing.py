from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from scorer.collect.pacing import Pause, RetryPolicy, duration, exhausted, retry_after


def test_back_off_doubles_with_jitter_up_to_its_limit() -> None:
    policy = RetryPolicy(first_delay=1, max_delay=20)
    for failures, longest in [(1, 1), (2, 2), (3, 4), (5, 16), (6, 20), (5000, 20)]:
        delays = {policy.delay(failures) for _ in range(200)}
        assert longest / 2 <= min(delays) < longest * 0.6
        assert longest * 0.9 < max(delays) <= longest


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("1d", 86400),
        ("2", 2),
        ("0.5", 0.5),
        ("", None),
        ("soon", None),
        ("1x", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


def test_retry_after_in_seconds_milliseconds_and_as_a_date() -> None:
    assert retry_after({}) is None
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after": "3", "retry-after-ms": "250"}) == 0.25
    assert retry_after({"retry-after": "in a while"}) is None
    soon = datetime.now(timezone.utc) + timedelta(seconds=30)
    assert retry_after({"retry-after": format_datetime(soon, usegmt=True)}) == pytest.approx(
        30, abs=2
    )
    assert retry_after({"retry-after": format_datetime(soon - timedelta(hours=1))}) == 0


def test_a_limit_that_is_used_up() -> None:
    assert exhausted({}) is None
    used = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0s"}
    assert exhausted(used) == 60
    assert exhausted(used | {"x-ratelimit-remaining-requests": "3"}) is None
    tokens = {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "90s"}
    assert exhausted(used | tokens) == 90
    assert exhausted({"ratelimit-remaining": "0", "ratelimit-reset": "5"}) == 5
    assert exhausted({"ratelimit-remaining": "0"}) is None


def test_a_pause_holds_everyone_and_only_grows() -> None:
    async def run() -> float:
        pause = Pause()
        await pause.wait()
        started = time.monotonic()
        pause.extend(0.1)
        pause.extend(0.01)
        await asyncio.gather(*(pause.wait() for _ in range(5)))
        return time.monotonic() - started

    assert 0.1 <= asyncio.run(run()) < 2
