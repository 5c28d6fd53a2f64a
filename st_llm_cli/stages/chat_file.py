"""Conversations on disk: saved as JSON, and found together with their videos even when those have moved."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from st_llm_cli.errors import DataError, VideoNotFoundError
from st_llm_cli.json_text import HALF_CHARACTER, parse_json
from st_llm_cli.model.session import Turn
from st_llm_cli.stages.chat import Chat, View
from st_llm_cli.tokens.media import content_digest

if TYPE_CHECKING:
    from st_llm_cli.model.st_llm import StllmForConditionalGeneration
    from st_llm_cli.stages.video_model import VideoModel

FORMAT = 1
MOST_FILES_SEARCHED = 20_000
"""Files looked at in each place, by size first, when a video is not where it was."""


@dataclass(frozen=True)
class _SavedClip:
    view: View
    digest: str | None
    size_bytes: int
    shown_after: int


def save_chat(chat: Chat, path: Path) -> None:
    """Write a conversation down; nothing stands under the name before it is complete.

    Raises:
        DataError: If the file cannot be written.
        VideoError: If a video of the conversation can no longer be read.
    """
    content = {
        "stllm_chat": FORMAT,
        "model": {"name": str(chat.model.folder), "fingerprint": fingerprint(chat.model.model)},
        "visual_tokens": chat.visual_tokens,
        "clips": [_clip_row(chat, number) for number in range(len(chat.seen))],
        "turns": [
            {"question": turn.question, "answer": turn.answer, "ids": list(turn.ids), "ending": turn.ending}
            for turn in chat.turns
        ],
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    if HALF_CHARACTER.search(text):  # a file's name of bytes that are no text: JSON can spell it
        text = json.dumps(content, indent=1)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(f"{text}\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        what = f"cannot be written: {error.strerror}"
        raise DataError(what, where=str(path), fix="save it under another name") from error


def load_chat(path: Path, model: VideoModel, *, max_turns: int | None = None) -> Chat:
    """Take a conversation up again: its videos are looked at anew, its answers stay as they are.

    A video that is not where it was is looked for by its content: beside the saved file, in the current
    folder, and where it was, with all folders below.

    Args:
        path: What `save_chat` wrote.
        model: The model it was held with.
        max_turns: As of `Chat`.

    Raises:
        DataError: If this is no saved conversation, or one with another model.
        VideoNotFoundError: If a video is not found.
        VideoError: If a video cannot be read.
    """
    content = _read(path)
    _check_model(content, model, path)
    try:
        clips = [_saved_clip(row) for row in content["clips"]]
        turns = [_turn(row, model.model.config.text_config.vocab_size) for row in content["turns"]]
        chat = Chat(model, visual_tokens=content["visual_tokens"], max_turns=max_turns)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        what = f"a conversation with something missing or of a wrong kind: {error}"
        raise DataError(what, where=str(path), fix="load another copy of it") from error
    for number in range(len(turns) + 1):
        for clip in (clip for clip in clips if min(clip.shown_after, len(turns)) == number):
            chat.add(_with_path(clip.view, find_video(clip.view.path, clip.digest, clip.size_bytes, path)))
        chat.turns.extend(turns[number : number + 1])
    return chat


def find_video(path: Path, digest: str | None, size_bytes: int, saved_file: Path) -> Path:
    """Find a video by its content, first where it was.

    Args:
        path: Where it was.
        digest: Of its content; None if it was gone when the conversation was saved.
        size_bytes: Of the file; 0 for a folder of pictures, which is not looked for elsewhere.
        saved_file: The saved conversation.

    Raises:
        VideoNotFoundError: If it is nowhere near.
    """
    if path.exists() and digest in (None, content_digest(path)):
        return path
    if digest is not None and size_bytes:
        near = (saved_file.absolute().parent, path.parent, Path.cwd())
        for candidate in _files_of_size(dict.fromkeys(near), size_bytes):
            if content_digest(candidate) == digest:
                return candidate
    gone = "holds another video than when this was saved" if path.exists() else "is no longer here"
    fix = f"put the video beside {saved_file.name}, under any name"
    raise VideoNotFoundError(gone, where=str(path), fix=fix)


def fingerprint(model: StllmForConditionalGeneration) -> str:
    """Tell checkpoints apart at a glance: names, shapes and the first numbers of all tensors.

    Rounded to bfloat16, so that it does not depend on the type a checkpoint is loaded in.
    """
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        head = tensor.detach().flatten()[:16].to("cpu", torch.bfloat16).view(torch.int16)
        digest.update(f"{name} {list(tensor.shape)} {head.tolist()}\n".encode())
    return digest.hexdigest()[:16]


def _clip_row(chat: Chat, number: int) -> dict[str, Any]:
    seen = chat.seen[number]
    view = seen.view
    there = view.path.exists()  # a video that went away meanwhile is no reason to lose what was said
    return {
        "path": os.path.abspath(view.path),
        "digest": content_digest(view.path) if there else None,
        "bytes": view.path.stat().st_size if view.path.is_file() else 0,
        "start": view.start,
        "end": view.end,
        "num_frames": view.num_frames,
        "fps": view.fps,
        "reader": view.reader,
        "shown_after": chat.session.shown_after[seen.shown],
    }


def _saved_clip(row: dict[str, Any]) -> _SavedClip:
    digest = None if row["digest"] is None else str(row["digest"])
    for name, kind in (("start", float), ("end", float), ("num_frames", int), ("fps", float)):
        if row[name] is not None and not isinstance(row[name], (kind, int)):
            raise TypeError(f"'{name}' is {row[name]!r}")
    if int(row["shown_after"]) < 0:
        raise ValueError(f"'shown_after' is {row['shown_after']}")
    view = View(
        Path(row["path"]), row["start"], row["end"], row["num_frames"], row["fps"], str(row["reader"])
    )
    return _SavedClip(view, digest, int(row["bytes"]), int(row["shown_after"]))


def _turn(row: dict[str, Any], vocabulary: int) -> Turn:
    ids = tuple(int(token) for token in row["ids"])
    if not all(0 <= token < vocabulary for token in ids):
        raise ValueError(f"a token that is none of the {vocabulary} there are")
    return Turn(str(row["question"]), str(row["answer"]), ids, str(row["ending"]))


def _with_path(view: View, path: Path) -> View:
    return View(path, view.start, view.end, view.num_frames, view.fps, view.reader)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
        raise DataError(what, where=str(path), fix="give a file that /save wrote") from error
    except ValueError as error:
        raise DataError("not JSON", where=str(path), fix="give a file that /save wrote") from error
    if not isinstance(content, dict) or "stllm_chat" not in content:
        raise DataError("no saved conversation", where=str(path), fix="give a file that /save wrote")
    if content["stllm_chat"] != FORMAT:
        what = f"a conversation of format {content['stllm_chat']}, this version reads format {FORMAT}"
        raise DataError(what, where=str(path), fix="update stllm")
    return content


def _check_model(content: dict[str, Any], model: VideoModel, path: Path) -> None:
    saved = content.get("model")
    if not isinstance(saved, dict) or saved.get("fingerprint") != fingerprint(model.model):
        name = saved.get("name") if isinstance(saved, dict) else None
        what = "a conversation with another model, whose tokens mean something else"
        raise DataError(what, where=str(path), fix=f"start stllm chat with --model {name or 'NAME'}")


def _files_of_size(folders: dict[Path, None], size_bytes: int) -> Iterator[Path]:
    for folder in folders:
        looked_at = 0
        for place, _, names in os.walk(folder):
            for name in names:
                looked_at += 1
                if looked_at > MOST_FILES_SEARCHED:
                    break
                file = Path(place, name)
                try:
                    if file.stat().st_size == size_bytes:
                        yield file
                except OSError:  # gone since, or not ours to look at: then it is not the one
                    continue
