"""A judge that misbehaves on request: an HTTP server with a script."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = str | Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Script:
    """What the judge says: successive replies by a piece of the user's message, else the usual one."""

    replies: Mapping[str, Sequence[Reply]] = field(default_factory=dict)
    usual: Reply = '{"pred": "yes", "score": 5}'
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, message: str) -> Reply:
        with self.lock:
            # The longest piece wins: <qa-1-1> is not <qa-1-10>, but nothing keeps pieces from being alike.
            for piece in sorted(self.replies, key=len, reverse=True):
                if piece in message:
                    number = self.counts.get(piece, 0)
                    self.counts[piece] = number + 1
                    replies = self.replies[piece]
                    return replies[min(number, len(replies) - 1)]
        return self.usual


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def status(code: int, body: bytes = b"no", **headers: str) -> Reply:
    return lambda handler: send(handler, code, body, **headers)


def raw(body: bytes) -> Reply:
    return status(200, body)


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.close()


def dawdle(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(1.0)
    hang_up(handler)


def cut_short(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    hang_up(handler)


@contextmanager
def judge_server(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            script.requests.append({"path": self.path, **body})
            script.headers.append(dict(self.headers))
            reply = script.next(body["messages"][-1]["content"])
            if isinstance(reply, str):
                content = {"choices": [{"message": {"role": "assistant", "content": reply}}]}
                send(self, 200, json.dumps(content).encode())
            else:
                reply(self)

        def log_message(self, format: str, *values: Any) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # the other side did not wait
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
