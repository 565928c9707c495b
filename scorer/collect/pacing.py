"""When to ask again: back-off with jitter, what the server's headers ask for, one pause for all."""

from __future__ import annotations

import asyncio
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

_PIECE = r"(\d+(?:\.\d+)?)(ms|[smhd])"
_DURATION = re.compile(f"(?:{_PIECE})+")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Names of OpenAI's headers, which most servers took over, and of the IETF's draft.
_LIMITS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("ratelimit-remaining", "ratelimit-reset"),
)
_SPREAD = 0.25  # seconds over which the requests that waited for one moment are sent


@dataclass(frozen=True)
class RetryPolicy:
    """How often and when to ask again.

    Attributes:
        retries: Further attempts after a passing failure (connection, time-out, 5xx, malformed).
        first_delay: Seconds before the first of them; it doubles from one to the next.
        max_delay: Seconds between two attempts at most, unless the server asks for more.
        max_wait: Seconds that one prompt waits for rate limits at most. They are no attempts: with
            a tight limit many requests are refused before their turn comes.
    """

    retries: int = 6
    first_delay: float = 1.0
    max_delay: float = 60.0
    max_wait: float = 600.0

    def delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row (1 or more).

        Exponential, of which a random half is left out, so that requests that failed together do
        not come back together.
        """
        longest = min(self.max_delay, self.first_delay * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)


class Pause:
    """A moment before which no request of a run is sent: a limit is the account's, not a prompt's."""

    def __init__(self) -> None:
        self._until = -math.inf

    def extend(self, seconds: float) -> None:
        """Let no request be sent for so long from now."""
        self._until = max(self._until, asyncio.get_running_loop().time() + seconds)

    async def wait(self) -> None:
        """Return when a request may be sent."""
        loop = asyncio.get_running_loop()
        while (rest := self._until - loop.time()) > 0:
            await asyncio.sleep(rest + random.uniform(0, _SPREAD))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait; None where it does not say.

    Reads `retry-after-ms` (milliseconds) and `Retry-After` (seconds or a date; RFC 9110, section
    10.2.3).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def exhausted(headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a limit is lifted that this reply used up; None if none is."""
    waits = [
        duration(headers.get(reset, ""))
        for remaining, reset in _LIMITS
        if headers.get(remaining, "").strip() == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def duration(text: str) -> float | None:
    """Return the seconds of `1m30s`, `20ms` or plain `2`; None if it is none of these."""
    text = text.strip()
    if not _DURATION.fullmatch(text):
        return _number(text)
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PIECE, text))


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
