"""Conversations about files: what is looked at, what is kept when it fails, what is found again."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from st_llm_cli.errors import DataError, UsageError, VideoError, VideoNotFoundError
from st_llm_cli.model.generation import Generation
from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.world import make_scene
from st_llm_cli.stages.chat import Chat, View
from st_llm_cli.stages.chat_file import fingerprint, load_chat, save_chat
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.tokens.store import TokenCache
from st_llm_cli.video.clip import Clip
from tests.micro import write_micro_checkpoint

torch.set_num_threads(1)
SHORT = Generation(max_new_tokens=4)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_micro_checkpoint(tmp_path_factory.mktemp("micro"))


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> VideoModel:
    return load_model(str(checkpoint))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, name in enumerate(("a.mp4", "b.mp4")):
        write_video(make_scene(number + 1), folder / name, Encoding(64, 48, 10))
    return folder


@pytest.fixture
def chat(model: VideoModel, videos: Path) -> Chat:
    chat = Chat(model)
    chat.watch(View(videos / "a.mp4"))
    return chat


def say(chat: Chat, question: str) -> str:
    return "".join(chat.ask(question, SHORT))


def test_the_first_answer_is_that_of_a_single_question(chat: Chat, model: VideoModel) -> None:
    clip = chat.seen[0].clip
    assert say(chat, "What moves?") == model.answer(clip, "What moves?", max_new_tokens=4)


def test_another_video_begins_another_conversation(chat: Chat, videos: Path) -> None:
    say(chat, "What moves?")
    chat.watch(View(videos / "b.mp4"))
    assert chat.turns == []
    assert [seen.view.path.name for seen in chat.seen] == ["b.mp4"]


def test_one_more_video_goes_on_with_the_conversation(chat: Chat, videos: Path) -> None:
    say(chat, "What moves?")
    chat.add(View(videos / "b.mp4"))
    say(chat, "And now?")
    assert [seen.view.path.name for seen in chat.seen] == ["a.mp4", "b.mp4"]
    assert len(chat.turns) == 2


def test_another_part_takes_the_place_of_the_first(chat: Chat) -> None:
    say(chat, "What moves?")
    seen = chat.look_again(start=1.0, end=2.0, num_frames=3)
    assert len(seen.clip.indices) == 3
    assert all(1.0 <= time <= 2.0 for time in seen.clip.times_seconds)
    assert chat.session.clips == [seen.shown]
    assert len(chat.turns) == 1


@pytest.mark.parametrize("name", ["none.mp4", "text.mp4"])
def test_what_cannot_be_watched_leaves_the_conversation_as_it_was(
    chat: Chat, videos: Path, name: str
) -> None:
    (videos / "text.mp4").write_text("no video")
    say(chat, "What moves?")
    before = chat.seen, list(chat.turns), list(chat.session.clips)
    for attempt in (chat.watch, chat.add):
        with pytest.raises(VideoError):
            attempt(View(videos / name))
    with pytest.raises(VideoError):
        chat.watch(View(videos / "b.mp4"), View(videos / name))
    with pytest.raises(VideoError, match="ends after"):
        chat.look_again(start=100.0)
    assert (chat.seen, chat.turns, chat.session.clips) == before


def test_a_model_of_shapes_is_shown_as_many_turns_as_it_learned(videos: Path, tmp_path: Path) -> None:
    model = load_model(str(write_micro_checkpoint(tmp_path / "shapes", trained_on="shapes")))
    chat = Chat(model)
    chat.watch(View(videos / "a.mp4"))
    assert chat.session.max_turns == 1
    longer = Chat(model, max_turns=3)
    longer.watch(View(videos / "a.mp4"))
    assert longer.session.max_turns == 3
    save_chat(longer, tmp_path / "saved.json")
    assert load_chat(tmp_path / "saved.json", model, max_turns=2).session.max_turns == 2


def test_without_a_video_there_is_nothing_to_talk_about(model: VideoModel) -> None:
    for attempt in (lambda: Chat(model).ask("What?"), lambda: Chat(model).look_again(num_frames=2)):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert caught.value.fix == "give one: /video FILE"


def test_tokens_from_the_cache_give_the_same_answers(checkpoint: Path, videos: Path, tmp_path: Path) -> None:
    def first_answers() -> tuple[list[str], Chat]:
        chat = Chat(load_model(str(checkpoint), cache=TokenCache(tmp_path / "cache")))
        chat.watch(View(videos / "a.mp4"))
        return [say(chat, question) for question in ("What moves?", "What then?")], chat

    made, _ = first_answers()
    found, chat = first_answers()
    assert found == made
    assert not isinstance(chat.seen[0].clip, Clip)
    assert chat.model.tokens is not None
    assert chat.model.tokens.cache.use.hits == 1
    assert chat.pictures(chat.seen[0]).frames.shape == (4, 28, 28, 3)


# ---- doubts


def test_nothing_is_doubted_without_reason(chat: Chat) -> None:
    assert chat.doubts(SHORT) == []


def test_doubts_name_what_may_be_wrong(chat: Chat, videos: Path) -> None:
    chat.add(View(videos / "b.mp4"))
    say(chat, "Is the circle a zebra")
    doubts = " ".join(chat.doubts(Generation(max_new_tokens=4, temperature=0.5)))
    assert "It sees 2 clips at once" in doubts
    assert "It does not know 'zebra'" in doubts
    assert "temperature 0.5: try /set temperature 0" in doubts


def test_an_empty_answer_is_doubted(chat: Chat) -> None:
    say(chat, "Is it red")
    chat.turns[-1] = replace(chat.turns[-1], answer=" ")
    assert any("The last answer is empty" in doubt for doubt in chat.doubts(SHORT))


def test_frames_far_apart_are_doubted(model: VideoModel, tmp_path: Path) -> None:
    scene = replace(make_scene(1), duration_seconds=20.0)
    write_video(scene, tmp_path / "long.mp4", Encoding(64, 48, 2))
    chat = Chat(model)
    chat.watch(View(tmp_path / "long.mp4"))
    (doubt,) = chat.doubts(SHORT)
    assert "frames are up to 5.0 s apart" in doubt
    assert "try /frames 20" in doubt


# ---- files


def test_a_saved_conversation_goes_on_as_if_it_had_not_been_left(
    chat: Chat, model: VideoModel, videos: Path, tmp_path: Path
) -> None:
    say(chat, "What moves?")
    chat.add(View(videos / "b.mp4", start=0.5, num_frames=3))
    say(chat, "Und dann?")
    save_chat(chat, tmp_path / "saved.json")
    loaded = load_chat(tmp_path / "saved.json", model)
    assert [(turn.question, turn.answer, turn.ids) for turn in loaded.turns] == [
        (turn.question, turn.answer, turn.ids) for turn in chat.turns
    ]
    assert [seen.view for seen in loaded.seen] == [seen.view for seen in chat.seen]
    assert say(loaded, "What last?") == say(chat, "What last?")


def test_a_video_whose_name_is_no_text_is_saved_too(model: VideoModel, videos: Path, tmp_path: Path) -> None:
    video = tmp_path / os.fsdecode(b"bad\xff.mp4")
    video.write_bytes((videos / "a.mp4").read_bytes())
    chat = Chat(model)
    chat.watch(View(video))
    save_chat(chat, tmp_path / "saved.json")
    assert load_chat(tmp_path / "saved.json", model).seen[0].view == View(video)


def test_a_video_that_moved_is_found_by_its_content(
    chat: Chat, model: VideoModel, videos: Path, tmp_path: Path
) -> None:
    say(chat, "What moves?")
    saved = tmp_path / "saved.json"
    save_chat(chat, saved)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.move(videos / "a.mp4", tmp_path / "elsewhere" / "renamed.mp4")
    assert load_chat(saved, model).seen[0].view.path == Path(moved)
    shutil.copy(videos / "b.mp4", videos / "a.mp4")  # another video in its place
    assert load_chat(saved, model).seen[0].view.path == Path(moved)


def test_a_video_that_is_gone_is_named(chat: Chat, model: VideoModel, videos: Path, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    save_chat(chat, saved)
    (videos / "a.mp4").unlink()
    with pytest.raises(VideoNotFoundError, match="is no longer here") as caught:
        load_chat(saved, model)
    assert caught.value.where == str(videos / "a.mp4")
    assert caught.value.fix == "put the video beside saved.json, under any name"
    (videos / "a.mp4").write_bytes((videos / "b.mp4").read_bytes())
    with pytest.raises(VideoNotFoundError, match="holds another video than when this was saved"):
        load_chat(saved, model)


def test_what_was_said_can_be_saved_without_the_video(
    chat: Chat, model: VideoModel, videos: Path, tmp_path: Path
) -> None:
    say(chat, "What moves?")
    content = (videos / "a.mp4").read_bytes()
    (videos / "a.mp4").unlink()
    save_chat(chat, tmp_path / "saved.json")
    (videos / "a.mp4").write_bytes(content)
    assert len(load_chat(tmp_path / "saved.json", model).turns) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bytes", float("inf")),
        ("shown_after", float("inf")),
        ("shown_after", -1),
        ("num_frames", "8"),
        ("start", []),
    ],
)
def test_a_clip_of_a_wrong_kind_is_refused(key: str, value: object, chat: Chat, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    save_chat(chat, saved)
    content = json.loads(saved.read_text())
    content["clips"][0][key] = value
    saved.write_text(json.dumps(content))
    with pytest.raises(DataError, match="something missing or of a wrong kind"):
        load_chat(saved, chat.model)


def test_a_full_folder_does_not_hide_the_others(
    chat: Chat, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_chat(chat, tmp_path / "saved.json")
    full = tmp_path / "full"
    full.mkdir()
    for number in range(4):
        (full / str(number)).touch()
    (videos / "a.mp4").rename(videos / "renamed.mp4")
    monkeypatch.chdir(full)
    monkeypatch.setattr("st_llm_cli.stages.chat_file.MOST_FILES_SEARCHED", 3)
    assert load_chat(tmp_path / "saved.json", chat.model).seen[0].view.path.name == "renamed.mp4"


def test_a_conversation_with_another_model_is_refused(chat: Chat, tmp_path: Path) -> None:
    save_chat(chat, tmp_path / "saved.json")
    other = load_model(str(write_micro_checkpoint(tmp_path / "other", seed=5)))
    with pytest.raises(DataError, match="a conversation with another model") as caught:
        load_chat(tmp_path / "saved.json", other)
    assert caught.value.fix == f"start stllm chat with --model {chat.model.folder}"


def test_a_model_is_known_again_whatever_type_it_is_loaded_in(checkpoint: Path, model: VideoModel) -> None:
    assert fingerprint(load_model(str(checkpoint), dtype="bfloat16").model) == fingerprint(model.model)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (None, "cannot be read: No such file"),
        ("{", "not JSON"),
        ("[]", "no saved conversation"),
        ("[" * 200_000, "not JSON"),
        ({"stllm_chat": 99}, "of format 99, this version reads format 1"),
        ({"clips": [{}]}, "something missing or of a wrong kind"),
        (
            {"turns": [{"question": "a", "answer": "b", "ids": [10**6], "ending": "end"}]},
            "a token that is none",
        ),
        ({"model": None}, "another model"),
    ],
)
def test_a_damaged_file_is_refused(
    chat: Chat, model: VideoModel, tmp_path: Path, change: object, complaint: str
) -> None:
    saved = tmp_path / "saved.json"
    if isinstance(change, dict):
        save_chat(chat, saved)
        saved.write_text(json.dumps({**json.loads(saved.read_text()), **change}))
    elif isinstance(change, str):
        saved.write_text(change)
    with pytest.raises(DataError, match=complaint):
        load_chat(saved, model)


def test_where_nothing_can_be_written_says_so(chat: Chat, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be written: No such file or directory"):
        save_chat(chat, tmp_path / "no" / "folder.json")
