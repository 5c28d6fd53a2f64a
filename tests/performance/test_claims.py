"""What the measurement of the paper's claims rests on."""

from pathlib import Path

import numpy as np
import torch

from st_llm_cli.shapes.encode import Encoding, write_video
from st_llm_cli.shapes.words import pieces, vocabulary
from st_llm_cli.shapes.world import EVAL_SEEDS, make_scene
from st_llm_cli.stages.video_model import VideoModel, load_model
from st_llm_cli.training.data.example import Example
from st_llm_cli.video.reader import read_clip
from tests.performance import claims_order
from tests.performance.claims_long import with_adapter
from tests.performance.claims_rows import packed, unpacked
from tests.performance.long_clips import FPS, FRAMES, KINDS, SIDE, VISIT, long_scene, questions, visitors_in
from tests.performance.right_answers import right_answers


def test_answers_judged_at_once_are_those_the_model_would_write() -> None:
    model = load_model("tiny")
    clips = [claims_order.clip(model, make_scene(seed, num_objects=1), 8) for seed in EVAL_SEEDS[:4]]
    written = [
        [int(_written(model, clip, task.question) == task.answer) for task in clip.tasks] for clip in clips
    ]
    assert list(right_answers(model, clips, clips=3)) == written
    wrong = [Example(None, clips[1].tasks, clips[0].tokens, "queries")]
    assert sum(next(right_answers(model, wrong))) < len(clips[1].tasks)


def _written(model: VideoModel, clip: Example, question: str) -> str:
    options = model._generation({})
    return model.written({"queries": clip.tokens}, model.chat_prompt(question), options)


def test_packed_answers_come_out_again() -> None:
    bits = [0, 0, 0, 0, 1, 0, 1, 1]
    assert packed(bits) == "0b"
    assert unpacked(packed(bits)) == bits


def test_long_clips_show_visits_that_every_second_time_fall_between_sixteen_frames(tmp_path: Path) -> None:
    seen = []
    for seed in range(12):
        scene = long_scene(seed)
        write_video(scene, tmp_path / f"{seed}.mp4", Encoding(SIDE, SIDE, FPS))
        visits = [np.flatnonzero(item.states(np.arange(FRAMES) / FPS).shown) for item in scene.objects[1:]]
        assert [len(frames) for frames in visits] == [VISIT, VISIT]
        assert visits[0].max() < FRAMES // 2 <= visits[1].min()
        clip = read_clip(tmp_path / f"{seed}.mp4", num_frames=FRAMES)
        assert clip.indices == tuple(range(FRAMES))
        few = read_clip(tmp_path / f"{seed}.mp4", num_frames=16).indices
        seen += [bool(set(few) & set(frames.tolist())) for frames in visits]
        assert visitors_in(scene, 16) == seen[-2:]
        usual = np.median(clip.frames, axis=0)
        changed = np.abs(clip.frames - usual).max(axis=(1, 2, 3)) > 60
        assert np.flatnonzero(changed).tolist() == sorted(np.concatenate(visits).tolist())
    assert 6 <= sum(seen) <= 18


def test_questions_about_long_clips_are_put_in_words_that_are_known() -> None:
    words = set(vocabulary())
    for seed in range(20):
        asked = questions(long_scene(seed))
        assert len(asked) == KINDS and len({question for question, _ in asked}) == KINDS
        assert {piece for pair in asked for text in pair for piece in pieces(text)} <= words


def test_a_new_global_local_adapter_adds_nothing_yet(tmp_path: Path) -> None:
    before, after = load_model("tiny"), load_model(str(with_adapter("tiny", tmp_path / "wider")))
    after.model.config.num_local_frames = 4
    clip = torch.randn(8, 9, 128)
    (alone,) = before.model.video_input([clip])
    (local,) = after.model.video_input([clip])
    torch.testing.assert_close(local, alone.unflatten(0, (8, 9))[1::2].flatten(0, 1))


def test_run_backwards_a_clip_looks_the_same_to_who_knows_no_order() -> None:
    assert claims_order.order_blind(["color", "shape"]) == 1.0
    for kind in claims_order.ORDER:
        assert 0.5 <= claims_order.order_blind([kind]) < 0.65
