"""Answers of an OpenAI-compatible endpoint, many at once, with patience for what goes wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from scorer.collect.answer import CONTENT_FILTER, MALFORMED, Answer, failed, finished
from scorer.collect.pacing import Pause, RetryPolicy, exhausted, retry_after
from scorer.collect.prompts import Item
from scorer.collect.run import Sampling
from scorer.data.schema import without_controls
from scorer.errors import MissingExtraError, ScorerError

MAX_TOKENS_FIELDS = ("max_tokens", "max_completion_tokens")

GIVE_UP_AFTER = 20
"""Failures in a row, other than those of the answer itself, after which a run stops."""

_HIDDEN = "***"
_LONG_SECRET = 16  # characters; a shorter one (`test`, a user's name) may be a word of an answer
_LONG_DELAY = 5.0  # seconds from which a wait for a rate limit is told
_DETAIL = 300  # characters of a server's message that are kept
_ACCOUNT_STATUS = (401, 402, 404)  # key, balance, and model or address: no prompt will fare better
_PASSING_STATUS = (408, 409, 425)  # beside all of 5xx
_ACCOUNT_CODES = ("insufficient_quota", "billing_hard_limit_reached", "invalid_api_key")
# How providers say in an error that the prompt or answer did not pass their own filter: OpenAI and
# Azure, Qwen, DeepSeek, Moonshot, GLM.
_FILTERED = re.compile(
    r"content[ _]?filter|content[ _]?policy|content management policy|data_?inspection"
    r"|content exists risk|considered high risk|sensitive|敏感|不安全",
    re.IGNORECASE,
)

_log = logging.getLogger(__name__)


class _PassingError(Exception):
    """An attempt that failed in a way that may pass; `wait` is what the server asks for."""

    def __init__(self, kind: str, detail: str, wait: float | None = None) -> None:
        super().__init__(kind, detail)
        self.kind, self.detail, self.wait = kind, detail, wait


class _RateLimitedError(_PassingError):
    """The server asks to come back later."""


class _RefusedError(Exception):
    """A prompt that this server will not answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.error)
        self.answer = answer


class Endpoint:
    """A model behind an OpenAI-compatible chat completions endpoint.

    The `openai` client sends each request once; asking again is done here, since a rate limit must
    hold back all requests at once, a malformed body is worth another attempt, and an answer that
    is given up needs its reason in the file.

    Args:
        model: Name of the model at the endpoint.
        base_url: Address up to and without `/chat/completions`. User name and password in it are
            used, but never shown or recorded.
        api_key: None for a server that needs none.
        sampling: What the model is asked with.
        concurrency: Requests that are under way at once, at most.
        timeout: Seconds for one attempt, from the request to the reply's last byte.
        policy: When to ask again.
        max_tokens_field: Name of the field for `sampling.max_tokens`; newer models of OpenAI want
            `max_completion_tokens`.

    Raises:
        ScorerError: If the address or the key cannot be one.
        MissingExtraError: If the `openai` package is not installed.
    """

    packages: Sequence[str] = ("openai",)

    def __init__(
        self,
        model: str,
        base_url: str,
        api_key: str | None,
        sampling: Sampling,
        *,
        concurrency: int = 8,
        timeout: float = 120.0,
        policy: RetryPolicy | None = None,
        max_tokens_field: str = "max_tokens",
    ) -> None:
        self.model, self.sampling = model, sampling
        self._concurrency, self._timeout = concurrency, timeout
        self._policy = policy or RetryPolicy()
        self._max_tokens_field = max_tokens_field
        self._base_url = base_url
        self._shown_url, secrets = _split_url(base_url)
        if api_key is not None and not re.fullmatch(r"[!-~]+", api_key):
            raise ScorerError("the API key holds white space or characters that no key has")
        self._api_key = api_key
        self._secrets = [secret for secret in (api_key, *secrets) if secret]
        try:
            import openai
        except ModuleNotFoundError as error:
            raise MissingExtraError("An endpoint", "collect", str(error.name)) from error
        self._openai = openai
        self._pause = Pause()
        self._failures_in_a_row = 0

    def settings(self) -> dict[str, Any]:
        """Return the model's name and address, without key and credentials."""
        return {
            "backend": "endpoint",
            "model": self.model,
            "base_url": self._shown_url,
            "max_tokens_field": self._max_tokens_field,
        }

    def run_details(self) -> dict[str, Any]:
        """Return the concurrency and the limits of patience."""
        return {
            "concurrency": self._concurrency,
            "timeout": self._timeout,
            "retries": self._policy.retries,
        }

    def ask(self, items: Sequence[Item], on_answer: Callable[[Item, Answer], None]) -> None:
        """Ask the prompts, `concurrency` at once, and hand over each answer as it comes.

        Raises:
            ScorerError: If the server refuses the key, the model or any further request, asks for
                more patience than the policy has, or `GIVE_UP_AFTER` prompts in a row failed.
        """
        asyncio.run(self._ask_all(items, on_answer))

    async def _ask_all(
        self, items: Sequence[Item], on_answer: Callable[[Item, Answer], None]
    ) -> None:
        rest = iter(items)

        async def work(client: Any) -> None:
            for item in rest:  # shared: each worker takes the next one
                answer, failed_to_ask = await self._answer(client, item)
                on_answer(item, answer)
                self._count(failed_to_ask, answer)

        async with self._openai.AsyncOpenAI(
            base_url=self._base_url,
            api_key=self._api_key or "none",  # the client insists on one
            timeout=self._timeout,
            max_retries=0,
        ) as client:
            workers = [asyncio.create_task(work(client)) for _ in range(self._concurrency)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    def _count(self, failed_to_ask: bool, answer: Answer) -> None:
        """Stop the run where one prompt after the other fails: the server is gone or refuses all."""
        self._failures_in_a_row = self._failures_in_a_row + 1 if failed_to_ask else 0
        if self._failures_in_a_row >= GIVE_UP_AFTER:
            raise ScorerError(
                f"{self._shown_url}: {GIVE_UP_AFTER} prompts in a row failed, the last with: "
                f"{answer.error}; what came before is kept, and --retry-failed asks again"
            )

    async def _answer(self, client: Any, item: Item) -> tuple[Answer, bool]:
        """Return a prompt's answer or failure, and whether the asking itself is what failed."""
        failures, limits, waited = 0, 0, 0.0
        while True:
            await self._pause.wait()
            try:
                return await self._attempt(client, item), False
            except _RateLimitedError as error:
                limits += 1
                delay = error.wait or self._policy.delay(limits)
                self._refuse_to_wait(delay, error)
                waited += delay
                if waited > self._policy.max_wait:
                    detail = f"still refused after {self._policy.max_wait:g} s: {error.detail}"
                    return failed(error.kind, detail), True
                if delay >= _LONG_DELAY:
                    _log.info("%s: all requests wait %.0f s", error.kind, delay)
                self._pause.extend(delay)
            except _PassingError as error:
                failures += 1
                if failures > self._policy.retries:
                    return failed(error.kind, f"{error.detail} (attempts: {failures})"), True
                if error.wait:
                    self._refuse_to_wait(error.wait, error)
                await asyncio.sleep(error.wait or self._policy.delay(failures))
            except _RefusedError as error:
                return error.answer, error.answer.kind != CONTENT_FILTER

    def _refuse_to_wait(self, delay: float, error: _PassingError) -> None:
        if delay > self._policy.max_wait:
            raise ScorerError(
                f"{self._shown_url}: the server asks to wait {delay:,.0f} s, more than the "
                f"{self._policy.max_wait:g} s allowed ({error.kind}: {error.detail}); what came "
                "before is kept, and the same command goes on later"
            )

    async def _attempt(self, client: Any, item: Item) -> Answer:
        """Return what one request gives.

        Raises:
            _PassingError: If another attempt may do better.
            _RefusedError: If it will not, for this prompt.
            ScorerError: If it will not, for any prompt.
        """
        openai = self._openai
        try:
            # The client's own time-out counts anew with every byte that comes.
            reply = await asyncio.wait_for(
                client.chat.completions.with_raw_response.create(**self._request(item)),
                self._timeout,
            )
        except (asyncio.TimeoutError, openai.APITimeoutError) as error:
            raise _PassingError("time-out", f"no whole reply in {self._timeout:g} s") from error
        except openai.APIStatusError as error:
            raise self._refusal(error) from error
        except openai.APIConnectionError as error:
            cause = self._clean(str(error.__cause__ or error))
            raise _PassingError("connection", cause) from error
        if wait := exhausted(reply.headers):
            self._pause.extend(min(wait, self._policy.max_wait))
        # The body is read here and not by the client, which takes any JSON for a completion.
        return self._read(reply.http_response.content)

    def _request(self, item: Item) -> dict[str, Any]:
        sampling = self.sampling
        optional = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": sampling.seed,
            self._max_tokens_field: sampling.max_tokens,
        }
        return {
            "model": self.model,
            "messages": sampling.messages(item.prompt),
            **{name: value for name, value in optional.items() if value is not None},
            "extra_body": dict(sampling.extra) or None,
        }

    def _refusal(self, error: Any) -> Exception:
        """Return what an HTTP error means for the prompt or the run."""
        status, headers = error.status_code, error.response.headers
        detail = self._clean(error.response.text)
        kind = f"HTTP {status}"
        if status in _ACCOUNT_STATUS or error.code in _ACCOUNT_CODES:
            return ScorerError(f"{self._shown_url}: {kind}: {detail}")
        if status == 429:
            return _RateLimitedError("rate limit", detail, retry_after(headers))
        if status in _PASSING_STATUS or status >= 500:
            return _PassingError(kind, detail, retry_after(headers))
        if _FILTERED.search(error.response.text):
            return _RefusedError(failed(CONTENT_FILTER, detail))
        return _RefusedError(failed(kind, detail))

    def _read(self, body: bytes) -> Answer:
        """Return the answer in a chat completion.

        Raises:
            _PassingError: If the body is none.
        """
        try:
            text = body.decode("utf-8-sig")
            # A key that a server repeats, wherever it does, is hidden before anything is read.
            completion = json.loads(self._hide(text, shortest=_LONG_SECRET))
        except (ValueError, RecursionError) as error:
            shown = self._clean(body.decode("utf-8", "replace"))
            raise _PassingError(MALFORMED, f"no JSON: {shown}") from error
        try:
            choice = completion["choices"][0]
            message = choice["message"]
            reason = choice.get("finish_reason")
            # `refusal` is where OpenAI's models put an answer that declines.
            answer = message.get("content") or message.get("refusal") or ""
            thought = message.get("reasoning_content") or message.get("reasoning")
            if not isinstance(answer, str) or not isinstance(reason, (str, type(None))):
                raise TypeError
        except (AttributeError, LookupError, TypeError) as error:
            raise _PassingError(MALFORMED, f"no chat completion: {self._clean(text)}") from error
        model = completion.get("model")
        return finished(
            answer,
            reason,
            thought if isinstance(thought, str) else None,
            tokens=_tokens(completion.get("usage")),
            model=model if isinstance(model, str) else None,
        )

    def _clean(self, text: str) -> str:
        """Return a server's text as one short line without secrets and control characters."""
        line = self._hide(without_controls(" ".join(text.split())))
        return line if len(line) <= _DETAIL else f"{line[:_DETAIL]}…"

    def _hide(self, text: str, shortest: int = 1) -> str:
        """Return a text without key and credentials of so many characters or more."""
        for secret in self._secrets:
            if len(secret) >= shortest:
                text = text.replace(secret, _HIDDEN)
        return text


def _tokens(usage: object) -> tuple[int, int]:
    if not isinstance(usage, Mapping):
        return 0, 0
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    prompt, completion = (count if isinstance(count, int) else 0 for count in counts)
    return prompt, completion


def _split_url(url: str) -> tuple[str, list[str]]:
    """Return (the address without credentials, the credentials that it held).

    Raises:
        ScorerError: If it is no HTTP address; its text is not repeated, since it may hold a secret.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
        raise ScorerError("the base URL must be http(s)://HOST[:PORT]/PATH, without ? and #")
    host = f"[{host}]" if ":" in host else host
    credentials = [part for part in (parts.username, parts.password) if part]
    decoded = [unquote(part) for part in credentials]
    secrets = {*credentials, *decoded, *(quote(part, safe="") for part in decoded)}
    # The longest first, so that one that holds another goes as a whole.
    return f"{parts.scheme}://{host}{port}{parts.path}", sorted(secrets, key=len, reverse=True)
