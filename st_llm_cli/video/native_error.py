"""Making one line out of what a reader written in C++ complains of."""

from __future__ import annotations

import re

MAX_LETTERS = 120


def plain_words(error: Exception) -> str:
    """Give the first line of an error that says something, without times, source files and line numbers.

    Example:
        >>> plain_words(RuntimeError("[12:00:01] /src/reader.cc:151: Check failed: st_nb >= 0 no stream"))
        'Check failed: st_nb >= 0 no stream'
    """
    text = re.sub(r"\[\d\d:\d\d:\d\d\]", " ", str(error))
    text = re.sub(r"(\w+, )?\S+\.(cc|cpp|h):\d+[:,]", " ", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:MAX_LETTERS] if lines else type(error).__name__
