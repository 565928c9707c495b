from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from scorer.collect.answer import Answer
from scorer.collect.endpoint import GIVE_UP_AFTER, Endpoint
from scorer.collect.pacing import RetryPolicy
from scorer.collect.prompts import Item
from scorer.collect.run import Sampling
from scorer.errors import ScorerError

KEY = "sk-test-0123456789abcdefghij"
QUICK = RetryPolicy(retries=2, first_delay=0.02, max_delay=0.05, max_wait=3)

Ask = Callable[..., dict[str, Answer]]


@pytest.fixture
def ask(chat_server: Any) -> Ask:
    """Function from prompts, and settings to change, to their answers."""

    def run(*prompts: str, sampling: Sampling | None = None, **changes: Any) -> dict[str, Answer]:
        settings = {"base_url": chat_server.url, "api_key": KEY, "policy": QUICK} | changes
        model = Endpoint("m-1", sampling=sampling or Sampling(), **settings)
        answers: dict[str, Answer] = {}
        items = [Item(str(n), prompt, {"prompt": prompt}) for n, prompt in enumerate(prompts)]
        model.ask(items, lambda item, answer: answers.update({item.prompt: answer}))
        return answers

    return run


def test_the_request_says_what_was_set(chat_server: Any, ask: Ask) -> None:
    sampling = Sampling("请用中文。", 0.3, 0.9, 7, 50, {"top_k": 20})
    answer = ask("你好", sampling=sampling)["你好"]
    assert answer == Answer("答：你好", finish_reason="stop", tokens=(7, 5), model="demo-2024")
    ((path, headers, body),) = chat_server.requests
    assert path == "/v1/chat/completions"
    assert {name.lower(): value for name, value in headers.items()}["authorization"] == (
        f"Bearer {KEY}"
    )
    assert body == {
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "请用中文。"},
            {"role": "user", "content": "你好"},
        ],
        "temperature": 0.3,
        "top_p": 0.9,
        "seed": 7,
        "max_tokens": 50,
        "top_k": 20,
    }


def test_what_is_left_to_the_model_is_not_sent(chat_server: Any, ask: Ask) -> None:
    ask("你好", sampling=Sampling(temperature=None, max_tokens=None))
    ask("好", max_tokens_field="max_completion_tokens", sampling=Sampling(max_tokens=9))
    assert chat_server.requests[0][2].keys() == {"model", "messages"}
    body = chat_server.requests[1][2]
    assert body["max_completion_tokens"] == 9
    assert "max_tokens" not in body


def test_so_many_requests_at_once_and_no_more(chat_server: Any, ask: Ask) -> None:
    chat_server.default = chat_server.slow(0.05, chat_server.answer())
    prompts = [f"问{n}" for n in range(20)]
    answers = ask(*prompts, concurrency=4)
    assert {prompt: answers[prompt].response for prompt in prompts} == {
        prompt: f"答：{prompt}" for prompt in prompts
    }
    assert chat_server.most_at_once == 4
    assert set(chat_server.asked.values()) == {1}


def test_passing_failures_are_asked_again(chat_server: Any, ask: Ask) -> None:
    plans = {
        "错误": (chat_server.error(500), chat_server.error(503, retry_after_ms="10")),
        "超时": (chat_server.error(408), chat_server.error(409)),
        "断": (chat_server.cut_off(), chat_server.closed()),
        "坏": (chat_server.body(b'{"choices": [{"mess'), chat_server.body(b"<html>")),
        "异": (
            chat_server.body(b'{"object": "list", "data": []}'),
            chat_server.body(b'{"choices": []}'),
        ),
        "空": (chat_server.body(b""), chat_server.body(b"null")),
        "型": (chat_server.answer(17), chat_server.body(b"\xff\xfe{}")),
    }
    for prompt, replies in plans.items():
        chat_server.plan(prompt, *replies)
    answers = ask(*plans)
    assert {answers[prompt].response for prompt in plans} == {f"答：{prompt}" for prompt in plans}
    assert set(chat_server.asked.values()) == {3}


def test_failures_that_stay_are_told(chat_server: Any, ask: Ask) -> None:
    dead = chat_server.error(500, "the GPU is gone")
    chat_server.plan("错误", dead, dead, dead, dead)
    chat_server.plan("断", *[chat_server.closed()] * 3)
    chat_server.plan("半", *[chat_server.cut_off()] * 3)
    chat_server.plan("坏", *[chat_server.body(b"<html>busy</html>")] * 3)
    chat_server.plan("异", *[chat_server.body(b'{"choices": [{}]}')] * 3)
    answers = ask("错误", "断", "半", "坏", "异", "好")
    assert answers["好"].response == "答：好"
    errors = {prompt: answer.error for prompt, answer in answers.items()}
    assert "HTTP 500: " in str(errors["错误"])
    assert "the GPU is gone" in str(errors["错误"])
    assert "(attempts: 3)" in str(errors["错误"])
    assert [answers[prompt].kind for prompt in ("断", "半")] == ["connection"] * 2
    assert errors["坏"] == "malformed reply: no JSON: <html>busy</html> (attempts: 3)"
    assert "malformed reply: no chat completion" in str(errors["异"])
    assert all(answers[prompt].response is None for prompt in errors if prompt != "好")
    assert chat_server.asked["错误"] == 3


@pytest.mark.parametrize("how", ["slow", "dripping"])
def test_a_reply_that_does_not_end_in_time(how: str, chat_server: Any, ask: Ask) -> None:
    late = {
        "slow": chat_server.slow(1, chat_server.answer()),
        "dripping": chat_server.dripping(1),  # each byte comes in time
    }[how]
    chat_server.plan("慢", late, late)
    started = time.monotonic()
    answers = ask("慢", timeout=0.2, policy=RetryPolicy(retries=1, first_delay=0.01))
    assert time.monotonic() - started < 0.9
    assert answers["慢"].error == "time-out: no whole reply in 0.2 s (attempts: 2)"
    assert ask("慢", timeout=0.2)["慢"].response == "答：慢"


def test_a_refused_prompt_is_asked_once(chat_server: Any, ask: Ask) -> None:
    chat_server.plan("错", chat_server.error(400, "too many tokens"))
    chat_server.plan("滤", chat_server.error(400, "no", code="data_inspection_failed"))
    chat_server.plan("险", chat_server.error(403, "Content Exists Risk"))
    chat_server.plan("停", chat_server.answer("我", "content_filter"))
    chat_server.plan("长", chat_server.answer("第一，", "length"))
    chat_server.plan("空", chat_server.answer(""))
    answers = ask("错", "滤", "险", "停", "长", "空")
    assert [answers[prompt].kind for prompt in ("错", "滤", "险", "停", "长", "空")] == [
        "HTTP 400",
        "content filter",
        "content filter",
        "content filter",
        "cut off",
        "empty answer",
    ]
    assert all(answer.response is None for answer in answers.values())
    assert (answers["长"].finish_reason, answers["长"].partial) == ("length", "第一，")
    assert set(chat_server.asked.values()) == {1}


def test_a_server_cannot_write_to_the_terminal(chat_server: Any, ask: Ask) -> None:
    half, rest = KEY[:9].encode(), KEY[9:].encode()
    body = b"\x1b]0;title\x07\x1b[31mno\xe2\x80\xae " + half + b"\x1b" + rest
    chat_server.plan("坏", chat_server.body(body, 400))
    error = ask("坏")["坏"].error
    assert error == "HTTP 400: ]0;title[31mno ***"


def test_refusals_and_thoughts_of_a_model(chat_server: Any, ask: Ask) -> None:
    chat_server.default = chat_server.answer("好", reasoning_content="想")
    answers = ask("想")
    assert (answers["想"].response, answers["想"].reasoning) == ("好", "想")
    refused = {"choices": [{"message": {"content": None, "refusal": "我不能回答。"}}]}
    chat_server.plan("拒绝", chat_server.body(json.dumps(refused).encode()))
    assert ask("拒绝")["拒绝"].response == "我不能回答。"


def test_retry_after_holds_every_request_back(chat_server: Any, ask: Ask) -> None:
    times: list[float] = []
    plain = chat_server.answer()

    def noted(handler: Any, prompt: str) -> None:
        times.append(time.monotonic())
        plain(handler, prompt)

    chat_server.default = noted
    chat_server.plan("一", chat_server.error(429, retry_after="1"))
    started = time.monotonic()
    answers = ask("一", "二", "三", concurrency=1)
    assert all(answer.error is None for answer in answers.values())
    assert min(times) - started >= 1
    # With others under way, those that come later wait as well.
    times.clear()
    chat_server.plan("一", chat_server.error(429, retry_after_ms="500"))
    chat_server.plan("二", chat_server.slow(0.2, noted))
    started = time.monotonic()
    ask("一", "二", "三", "四", concurrency=2)
    assert sum(moment - started < 0.5 for moment in times) == 1


def test_a_rate_limit_is_no_attempt(chat_server: Any, ask: Ask) -> None:
    chat_server.plan("一", *[chat_server.error(429, retry_after_ms="1")] * 4)
    chat_server.plan("二", chat_server.error(429), chat_server.error(429, retry_after="0"))
    answers = ask("一", "二", policy=RetryPolicy(retries=0, first_delay=0.01, max_wait=3))
    assert all(answer.error is None for answer in answers.values())
    assert chat_server.asked == {"一": 5, "二": 3}


def test_a_limit_that_is_used_up_is_waited_for(chat_server: Any, ask: Ask) -> None:
    body = json.dumps({"choices": [{"message": {"content": "好"}}]}).encode()
    limits = {"x_ratelimit_remaining_requests": "0", "x_ratelimit_reset_requests": "600ms"}
    chat_server.plan("一", chat_server.body(body, **limits))
    started = time.monotonic()
    ask("一", "二", concurrency=1)
    assert time.monotonic() - started >= 0.6
    assert chat_server.asked == {"一": 1, "二": 1}


def test_a_rate_limit_without_end(chat_server: Any, ask: Ask) -> None:
    chat_server.plan("一", *[chat_server.error(429, "busy", retry_after_ms="60")] * 9)
    answers = ask("一", policy=RetryPolicy(max_wait=0.1))
    assert answers["一"].kind == "rate limit"
    assert "still refused after 0.1 s" in str(answers["一"].error)


@pytest.mark.parametrize(
    ("status", "reply", "message"),
    [
        (401, {"message": f"Incorrect API key provided: {KEY}."}, "HTTP 401: "),
        (402, {"message": "Insufficient Balance"}, "HTTP 402: "),
        (404, {"message": "no model m-1"}, "no model m-1"),
        (429, {"message": "pay", "code": "insufficient_quota"}, "HTTP 429: "),
        (429, {"retry_after": "86400"}, "asks to wait 86,400 s, more than the 3 s allowed"),
        (503, {"retry_after": "7200"}, "asks to wait 7,200 s, more than the 3 s allowed"),
    ],
)
def test_what_no_prompt_survives_ends_the_run(
    status: int, reply: dict[str, str], message: str, chat_server: Any, ask: Ask
) -> None:
    chat_server.default = chat_server.error(status, **reply)
    with pytest.raises(ScorerError) as caught:
        ask(*(f"问{n}" for n in range(50)), concurrency=2)
    assert message in str(caught.value)
    assert KEY not in str(caught.value)
    assert len(chat_server.requests) <= 4


def test_a_server_that_is_gone_ends_the_run(ask: Ask) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    with pytest.raises(ScorerError, match=f"{GIVE_UP_AFTER} prompts in a row failed") as caught:
        ask(*(f"问{n}" for n in range(500)), base_url=f"http://127.0.0.1:{port}/v1")
    assert "connection" in str(caught.value)
    assert time.monotonic() - started < 10


def test_filtered_prompts_in_a_row_do_not(chat_server: Any, ask: Ask) -> None:
    chat_server.default = chat_server.error(400, code="content_filter")
    assert len(ask(*(f"问{n}" for n in range(3 * GIVE_UP_AFTER)))) == 3 * GIVE_UP_AFTER


def test_answers_are_handed_over_before_the_run_ends(
    chat_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat_server.plan("三", chat_server.error(401))
    model = Endpoint("m", chat_server.url, KEY, Sampling(), concurrency=1)
    got = []
    with pytest.raises(ScorerError):
        model.ask(
            [Item(prompt, prompt, {}) for prompt in "一二三四"],
            lambda item, answer: got.append(answer.response),
        )
    assert got == ["答：一", "答：二"]


def test_secrets_are_in_no_answer_error_log_or_setting(
    chat_server: Any, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("httpcore", "httpcore2", "httpx", "httpx2", "openai", "asyncio"):
        logging.getLogger(name).setLevel(logging.WARNING)
    url = chat_server.url.replace("http://", "http://scorer:p%40ss-word-of-many-letters@")
    echo = f"key {KEY}, password p@ss-word-of-many-letters or p%40ss-word-of-many-letters"
    chat_server.plan("错", chat_server.error(400, echo))
    chat_server.plan("坏", *[chat_server.body(f"<{echo}>".encode())] * 3)
    chat_server.plan("答", chat_server.answer(echo, echo))
    answers = ask("错", "坏", "答", base_url=url)
    told = [repr(answers), caplog.text]
    told.append(repr(Endpoint("m", url, KEY, Sampling()).settings()))
    for text in told:
        assert KEY not in text
        assert "ss-word" not in text
    assert "***" in told[0]
    assert f"http://127.0.0.1:{chat_server.server_address[1]}/v1" in told[2]


@pytest.mark.parametrize(
    "url", ["api.example.com/v1", "ftp://h/v1", "http:///v1", "http://h/v1?key=1"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ScorerError, match="base URL must be") as caught:
        Endpoint("m", url, KEY, Sampling())
    assert url not in str(caught.value)


def test_a_key_that_is_none() -> None:
    with pytest.raises(ScorerError, match="white space") as caught:
        Endpoint("m", "http://h/v1", f"{KEY}\nx", Sampling())
    assert KEY not in str(caught.value)


def test_without_a_key(chat_server: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)  # not even the one that the client would find itself
    assert ask("你好", api_key=None)["你好"].response == "答：你好"
    assert KEY not in repr(chat_server.requests)
