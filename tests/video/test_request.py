from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from st_llm_cli.errors import UsageError
from st_llm_cli.video.decode import READERS
from st_llm_cli.video.request import READER_NAMES, SAMPLER_NAMES, Request, check_request


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        ({"sampler": "unifrom"}, "unknown sampler 'unifrom' (did you mean 'uniform'?)"),
        ({"sampler": "xyz"}, "unknown sampler 'xyz' (choose one of uniform, released_middle"),
        ({"reader": "pyaf"}, "unknown reader 'pyaf' (did you mean 'pyav'?)"),
        ({"num_frames": 8, "fps": 1.0}, "both a number of frames (8) and a rate (1.0 a second) were given"),
        ({"num_frames": 0}, "num_frames: 0 frames were asked for (ask for at least 1)"),
        ({"num_frames": -3}, "num_frames: -3 frames were asked for"),
        ({"fps": 1.0, "max_frames": 0}, "max_frames: 0 frames were asked for"),
        ({"num_frames": 10**9}, "num_frames: 1000000000 frames were asked for (ask for at most 1000000)"),
        ({"fps": 1.0, "max_frames": 10**9}, "max_frames: 1000000000 frames were asked for"),
        ({"num_frames": 2.5}, "num_frames: 2.5 is not a whole number (give an int)"),
        ({"num_frames": "8"}, "num_frames: '8' is not a whole number"),
        ({"num_frames": True}, "num_frames: True is not a whole number"),
        ({"seed": 0.5}, "seed: 0.5 is not a whole number"),
        ({"fps": "2"}, "fps: '2' is not a number (give a float)"),
        ({"end": "1:30"}, "end: '1:30' is not a number"),
        ({"sampler": 3}, "unknown sampler '3'"),
        ({"transform": 224}, "transform: 224 cannot be applied to a picture (give a function of a"),
        ({"fps": 0.0}, "fps: a rate of 0.0 frames per second (give a number above 0, and at most 1e+12)"),
        ({"fps": 1e300}, "fps: a rate of 1e+300 frames per second (give a number above 0, and at"),
        ({"fps": float("nan")}, "fps: a rate of nan frames per second"),
        ({"folder_fps": -1.0}, "folder_fps: a rate of -1.0 frames per second"),
        ({"fps": 1.0, "sampler": "random"}, "the sampler 'random' counts frames, it does not go by a rate"),
        ({"sampler": "released_rate"}, "the sampler 'released_rate' needs a rate"),
        ({"max_frames": 4}, "max_frames limits fps, which was not given"),
        ({"start": -1.0}, "start: the clip was to start at -1 s (give 0 or more seconds)"),
        ({"start": float("nan")}, "start: the clip was to start at nan s"),
        (
            {"start": 5.0, "end": 2.0},
            "the clip was to end at 2 s, before or at its start at 5 s (raise `end` or",
        ),
        ({"start": 5.0, "end": 5.0}, "the clip was to end at 5 s, before or at its start at 5 s"),
        ({"end": 0.0}, "the clip was to end at 0 s, before or at its start at 0 s"),
    ],
)
def test_what_no_video_could_fulfil_is_refused(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_request(Request(Path("clip.mp4"), **wishes))
    assert words in str(caught.value)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_can_be_asked_for(sampler: str) -> None:
    fps = 1.0 if sampler == "released_rate" else None
    check_request(Request(Path("clip.mp4"), sampler=sampler, fps=fps))


def test_the_readers_that_can_be_named_are_those_there_are() -> None:
    assert tuple(READERS) == READER_NAMES
