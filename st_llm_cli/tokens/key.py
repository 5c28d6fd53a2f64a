"""What makes two clips' tokens the same: the name of an entry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

LEVELS = ("frames", "queries")
"""`frames`: after the last vision norm; `queries`: Q-Former output."""


@dataclass(frozen=True)
class Key:
    """Everything that decides what the tokens of a clip are, and nothing else.

    Where a file lies, what it is called and when it was written is not among it: copies share an entry.
    """

    media: str
    """Digest of the video's content, from `media.content_digest`."""
    indices: tuple[int, ...]
    """Numbers of the frames, in order. All of them: a BT-Adapter lets the frames of a clip see each other."""
    reader: str
    """Who decoded. Readers differ in the last bits of a colour, and some count frames differently."""
    transform: str
    """What was done to the pictures, in canonical words: `ResizeCenterCrop(resolution=224)`."""
    encoder: str
    """Identity of the encoder, from `encoder.encoder_identity`."""
    level: str
    """A name of `LEVELS`."""
    question: str | None
    """What the Q-Former read beside the frames; None if nothing."""
    dtype: str
    """Type the tokens were computed and are kept in: `float16`."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ValueError(f"level {self.level!r}; it can be {', '.join(map(repr, LEVELS))}")
        if self.level == "frames" and self.question is not None:
            raise ValueError("the vision encoder reads no question; level 'frames' has none")

    def canonical(self) -> str:
        """Write the key as JSON that is the same everywhere, for the digest and for people."""
        return self._text

    @cached_property
    def _text(self) -> str:
        return _CANONICAL.encode(vars(self))

    @cached_property
    def digest(self) -> str:
        """Name of the entry: 40 hexadecimal digits."""
        return digest_of(self.canonical())


def digest_of(text: str) -> str:
    """Digest of a text, which may hold a file name of any bytes; 40 hexadecimal digits."""
    return hashlib.blake2b(text.encode(errors="surrogateescape"), digest_size=20).hexdigest()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
