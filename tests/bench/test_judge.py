import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from st_llm_cli.bench.judge import HttpJudge, NoReplyError

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
REPLY = b'{"choices": [{"message": {"content": "%s"}}]}'


@contextmanager
def speaking(answer: bytes) -> Iterator[str]:
    """Address of a server that answers each call with the same bytes, HTTP or not."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    call, _ = server.accept()
                except OSError:
                    return
                with call:
                    call.recv(65536)
                    call.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/v1"


def whole(body: bytes, first: bytes = b"HTTP/1.1 200 OK", more: bytes = b"") -> bytes:
    return first + b"\r\nContent-Length: %d\r\n%s\r\n" % (len(body), more) + body


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage, not http\r\n\r\n",
        CHUNKED + b"20\r\nbroken off",
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 500 No\r\nContent-Length: 100\r\n\r\nbroken off",
        whole(b"[" * 100_000),
        whole(b"busy", b"HTTP/1.1 429 Slow", "Retry-After: ²\r\n".encode("latin-1")),
    ],
    ids=["not http", "chunk", "chunk size", "header", "refusal cut off", "nested", "no number of seconds"],
)
def test_what_is_no_reply_may_be_one_a_moment_later(answer: bytes) -> None:
    with speaking(answer) as url, pytest.raises(NoReplyError) as caught:
        HttpJudge(url, "m").ask([{"role": "user", "content": "?"}])
    assert caught.value.passing and caught.value.wait_seconds is None


def test_half_a_character_does_not_cost_the_reply() -> None:
    with speaking(whole(REPLY % rb"yes \ud800")) as url:
        assert HttpJudge(url, "m").ask([{"role": "user", "content": "?"}]) == "yes ?"
