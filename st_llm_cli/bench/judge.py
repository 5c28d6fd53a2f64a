"""Asking a judge model: any endpoint that speaks OpenAI's chat completions, local ones included."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Protocol

from st_llm_cli.errors import UsageError
from st_llm_cli.json_text import parse_json

ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 30.0
TIMEOUT_SECONDS = 60.0
LARGEST_REPLY = 1_000_000
"""Bytes of a reply that are read at most."""
MAX_NEW_TOKENS = 64
HOPELESS = (401, 403, 404)
"""Status codes that no question to this judge will ever get past."""
PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""Status codes that may be gone a moment later."""

Messages = Sequence[Mapping[str, str]]


class NoReplyError(Exception):
    """The judge gave no reply.

    Args:
        why: What happened.
        passing: Whether it may be different a moment later.
        wait_seconds: How long the judge asks to wait; None if it does not say.
    """

    def __init__(self, why: str, *, passing: bool, wait_seconds: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.passing = passing
        self.wait_seconds = wait_seconds


class Judge(Protocol):
    """Someone who can be asked to judge."""

    @property
    def name(self) -> str:
        """Who judges; part of every number."""

    def ask(self, messages: Messages) -> str:
        """Give the reply to some messages.

        Raises:
            NoReplyError: If there is none.
            UsageError: If there never will be one.
        """


@dataclass(frozen=True)
class HttpJudge:
    """A model behind an OpenAI-compatible endpoint, asked at temperature 0.

    Args:
        url: Base address, such as `http://localhost:8000/v1`.
        model: Name of the model there.
        key: Secret the endpoint wants; none if empty. It is not shown when this object is printed.
        timeout_seconds: How long to wait for one reply.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        """Refuse what is no address.

        Raises:
            UsageError: If it does not begin with http:// or https://.
        """
        if not self.url.startswith(("http://", "https://")):
            what, fix = f"'{self.url}' is no address", "give one such as http://localhost:8000/v1"
            raise UsageError(what, where="judge_url", fix=fix)

    @property
    def name(self) -> str:
        """Who judges; part of every number."""
        return self.model

    def ask(self, messages: Messages) -> str:
        """Give the reply to some messages; see `Judge`."""
        body = {
            "model": self.model,
            "messages": list(messages),
            "temperature": 0,
            "max_tokens": MAX_NEW_TOKENS,
        }
        headers = {"Content-Type": "application/json", "User-Agent": "stllm"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        address = f"{self.url.rstrip('/')}/chat/completions"
        request = urllib.request.Request(address, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_seconds) as response:
                return _content(response.read(LARGEST_REPLY))
        except urllib.error.HTTPError as error:
            raise self._refusal(error, address) from error
        except (OSError, HTTPException, ValueError, RecursionError) as error:
            # not reached, cut off, too slow, not HTTP, or not JSON
            reason = getattr(error, "reason", None) or error
            raise NoReplyError(f"{type(error).__name__}: {reason}", passing=True) from error

    def _refusal(self, error: urllib.error.HTTPError, address: str) -> Exception:
        try:
            said = error.read(200).decode("utf-8", "replace").strip()
        except (OSError, HTTPException):  # the status is what counts
            said = ""
        what = f"status {error.code}" + (f": {said}" if said else "")
        if error.code in HOPELESS:
            fix = "check `judge_url`, `judge_model` and the key named by `judge_key_env`"
            return UsageError(f"the judge refuses with {what}", where=address, fix=fix)
        wait = error.headers.get("Retry-After", "")
        seconds = float(wait) if wait.isdecimal() else None
        return NoReplyError(what, passing=error.code in PASSING, wait_seconds=seconds)


class Paced:
    """A judge that is not asked more often than so many times a minute, however many ask at once.

    Args:
        judge: Who is asked.
        per_minute: Questions a minute at most, above 0.
        sleep: Waits some seconds.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        judge: Judge,
        per_minute: float,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if per_minute <= 0:
            what, fix = f"{per_minute:g} questions a minute", "give a number above 0"
            raise UsageError(what, where="judge_rate", fix=fix)
        self._judge = judge
        self._between_seconds = 60.0 / per_minute
        self._sleep, self._clock = sleep, clock
        self._next = float("-inf")
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Who judges; part of every number."""
        return self._judge.name

    def ask(self, messages: Messages) -> str:
        """Give the reply to some messages, once it is this question's turn; see `Judge`."""
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + self._between_seconds
        if turn > now:
            self._sleep(turn - now)
        return self._judge.ask(messages)


def ask_until(
    judge: Judge,
    messages: Messages,
    accept: Callable[[str], bool],
    *,
    attempts: int = ATTEMPTS,
    sleep: Callable[[float], None] = time.sleep,
) -> str:
    """Ask until a reply can be used, a limited number of times, waiting longer each time something fails.

    Args:
        judge: Whom.
        messages: What.
        accept: Whether a reply can be used.
        attempts: Times to ask at most.
        sleep: Waits some seconds.

    Raises:
        NoReplyError: If no usable reply came; it says what came instead.
        UsageError: If there never will be one.
    """
    failure = NoReplyError("was not asked", passing=False)
    for attempt in range(attempts):
        if attempt:
            wait = 2.0 ** (attempt - 1) if failure.wait_seconds is None else failure.wait_seconds
            sleep(min(wait, LONGEST_WAIT_SECONDS))
        try:
            reply = judge.ask(messages)
        except NoReplyError as error:
            failure = error
            if not error.passing:
                break
            continue
        if accept(reply):
            return reply
        failure = NoReplyError(f"unusable reply {reply[:200]!r}", passing=True, wait_seconds=0.0)
    raise failure


def _content(body: bytes) -> str:
    """Take the text out of a response.

    Raises:
        NoReplyError: If there is none.
    """
    try:
        parsed = parse_json(body)
        content = parsed["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        shown = body[:80].decode("utf-8", "replace")
        raise NoReplyError(f"a response without a reply: {shown!r}", passing=True) from error
    if not isinstance(content, str) or not content.strip():
        raise NoReplyError("an empty reply", passing=True)
    return content.encode("utf-8", "replace").decode("utf-8")  # half a character cannot be kept
