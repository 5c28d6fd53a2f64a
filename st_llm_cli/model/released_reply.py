"""Generated ids → text, letter for letter as the released code decodes them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from st_llm_cli.model.prompt import PROMPT_FORMATS, clean_reply

UNKNOWN, BOS, EOS = 0, 1, 2
"""Vicuna's special ids."""


def released_reply(tokenizer: Any, ids: Sequence[int], *, prompt_format: str) -> str:
    """Decode and clean a reply; special tokens stay in the text, so that an answer may end in `</s>`.

    Args:
        tokenizer: The language model's.
        ids: Generated ids, with or without the opening token older versions of transformers put in front.
        prompt_format: Key of `PROMPT_FORMATS`; in InstructBLIP's set-up `<s>` and `<unk>` are not special.
    """
    ids = list(ids)
    for opening in (UNKNOWN, BOS):
        if ids[:1] == [opening]:
            ids = ids[1:]
    special = {UNKNOWN, BOS, EOS} if PROMPT_FORMATS[prompt_format].video_in_turn else {EOS}
    text, run = "", list[int]()
    for token in [*ids, None]:
        if token is not None and token not in special:
            run.append(token)
            continue
        text += _sentencepiece_text(tokenizer.convert_ids_to_tokens(run))
        text += "" if token is None else tokenizer.convert_ids_to_tokens(token)
        run = []
    return clean_reply(text)


def _sentencepiece_text(pieces: list[str]) -> str:
    """Join pieces as SentencePiece does: without the first blank, one replacement for each stray byte."""
    text, stray = "", b""
    for number, piece in enumerate(pieces):
        if found := re.fullmatch(r"<0x([0-9A-F]{2})>", piece):
            stray += bytes.fromhex(found[1])
            continue
        text += _utf8(stray)
        stray = b""
        if piece == "<unk>":
            text += " ⁇ "
        elif piece != "<s>":
            text += (piece.removeprefix("▁") if number == 0 else piece).replace("▁", " ")
    return text + _utf8(stray)


def _utf8(data: bytes) -> str:
    text = ""
    while data:
        for length in range(1, 5):
            try:
                text += data[:length].decode("utf-8")
                data = data[length:]
                break
            except UnicodeDecodeError:
                continue
        else:
            text += "\ufffd"
            data = data[1:]
    return text
