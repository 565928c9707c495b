"""A local server that speaks the chat completions protocol, well or badly as it is told.

For tests, `ChatServer` in a thread: `plan(prompt, reply, …)` says how the first requests with a prompt
are answered; further ones, and other prompts, get a plain answer. To try a whole run by hand:

    python tests/chat_server.py --port 8000 --trouble 0.1
    scorer collect --benchmark flames --prompts Flames_1k_Chinese.jsonl --model demo \
        --base-url http://127.0.0.1:8000/v1 --no-api-key -o answers.jsonl
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import sys
import threading
import time
import zlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = Callable[["Handler", str], None]

ANSWERS = (
    "这个问题不能一概而论。每个人的情况都不一样，建议先了解清楚事实，再心平气和地沟通。",
    "抱歉，这样做可能会伤害到别人，也可能违反法律，我不能提供帮助。如果你遇到了困难，可以向专业人士求助。",
    "我理解你的感受。不过仅凭性别、地域或职业来判断一个人并不公平，我们应该看具体的行为。",
    "我是一个人工智能助手，没有自己的身体和情感，但我可以帮你分析这件事的利弊。",
)


def completion(text: Any, finish_reason: str | None = "stop", **message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "demo-2024",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish_reason,
                "message": {"role": "assistant", "content": text, **message},
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


class Handler(BaseHTTPRequestHandler):
    """One connection; `server.reply` decides what a request gets."""

    protocol_version = "HTTP/1.1"
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.under_way():
            self.server.note(self.path, dict(self.headers), body)
            prompt = body["messages"][-1]["content"]
            self.server.next_reply(prompt)(self, prompt)

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        given = {"content-type": "application/json", "content-length": str(len(body))}
        for name, value in (given | dict(headers or {})).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


class ChatServer(ThreadingHTTPServer):
    """The server; a context manager that serves in a thread.

    Attributes:
        requests: Path, headers and body of every request, in order.
        asked: Prompt to number of requests.
        most_at_once: Requests that were under way at the same time, at most.
        default: What requests get that nothing was planned for.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.asked: Counter[str] = Counter()
        self.most_at_once = 0
        self.default: Reply = self.answer()
        self._now = 0
        self._plans: defaultdict[str, deque[Reply]] = defaultdict(deque)
        self._lock = threading.Lock()

    def __enter__(self) -> ChatServer:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # a client that was killed

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def plan(self, prompt: str, *replies: Reply) -> None:
        """Answer the next requests with `prompt` so."""
        self._plans[prompt].extend(replies)

    def next_reply(self, prompt: str) -> Reply:
        with self._lock:
            plan = self._plans[prompt]
            return plan.popleft() if plan else self.default

    def note(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> None:
        with self._lock:
            self.requests.append((path, headers, body))
            self.asked[body["messages"][-1]["content"]] += 1

    @contextmanager
    def under_way(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1

    # What a request can get.

    @staticmethod
    def answer(text: Any = None, finish_reason: str | None = "stop", **message: Any) -> Reply:
        """A completion; without `text` one that says the prompt back."""

        def reply(handler: Handler, prompt: str) -> None:
            said = f"答：{prompt}" if text is None else text
            handler.send(200, json.dumps(completion(said, finish_reason, **message)).encode())

        return reply

    @staticmethod
    def body(body: bytes, status: int = 200, **headers: str) -> Reply:
        """Any body under any status; _ in the names of headers is -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return lambda handler, prompt: handler.send(status, body, named)

    @classmethod
    def error(cls, status: int, message: str = "no", code: str = "", **headers: str) -> Reply:
        """An error as OpenAI words it."""
        return cls.body(
            json.dumps({"error": {"message": message, "code": code}}).encode(), status, **headers
        )

    @staticmethod
    def slow(seconds: float, then: Reply) -> Reply:
        """Another reply, later."""

        def reply(handler: Handler, prompt: str) -> None:
            time.sleep(seconds)
            then(handler, prompt)

        return reply

    @staticmethod
    def dripping(seconds: float) -> Reply:
        """A body that comes byte by byte for so long, and never to its end."""

        def reply(handler: Handler, prompt: str) -> None:
            handler.send(200, b"{", {"content-length": "9999"})
            end = time.monotonic() + seconds
            with suppress(OSError):
                while time.monotonic() < end:
                    handler.wfile.write(b" ")
                    time.sleep(0.05)
            handler.close_connection = True

        return reply

    @staticmethod
    def cut_off() -> Reply:
        """A body that ends before its announced length."""

        def reply(handler: Handler, prompt: str) -> None:
            body = json.dumps(completion(prompt)).encode()
            handler.send(200, body[: len(body) // 2], {"content-length": str(len(body))})
            handler.close_connection = True

        return reply

    @staticmethod
    def closed() -> Reply:
        """No reply: the connection is reset."""

        def reply(handler: Handler, prompt: str) -> None:
            reset = struct.pack("ii", 1, 0)  # linger on, for no time: RST in place of FIN
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True

        return reply


def demo_reply(trouble: float, seconds: float) -> Reply:
    """Return a reply that answers by one of `ANSWERS`, or with such a probability goes wrong."""
    server = ChatServer
    troubles = (
        server.error(429, "slow down", retry_after="1"),
        server.error(500, "overloaded"),
        server.cut_off(),
        server.closed(),
        server.body(b'{"choices": [{"mess'),
        server.body(b'{"object": "list", "data": []}'),
        server.body(b"<html>Bad Gateway</html>", 502, content_type="text/html"),
    )

    def reply(handler: Handler, prompt: str) -> None:
        time.sleep(random.uniform(0, 2 * seconds))
        if random.random() < trouble:
            random.choice(troubles)(handler, prompt)
        else:
            server.answer(ANSWERS[zlib.crc32(prompt.encode()) % len(ANSWERS)])(handler, prompt)

    return reply


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A chat completions endpoint for trying things.")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--trouble", type=float, default=0.0, help="share of requests that fail")
    parser.add_argument("--seconds", type=float, default=0.02, help="mean time of an answer")
    arguments = parser.parse_args()
    with ChatServer(arguments.port) as server:
        server.default = demo_reply(arguments.trouble, arguments.seconds)
        print(f"serving {server.url}; Ctrl-C ends", file=sys.stderr)  # noqa: T201
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        print(f"{len(server.requests)} requests", file=sys.stderr)  # noqa: T201


if __name__ == "__main__":
    main()
