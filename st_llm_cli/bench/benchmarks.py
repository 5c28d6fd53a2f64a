"""The benchmarks by name."""

from __future__ import annotations

from st_llm_cli.bench import custom, mvbench, open_answers, tempcompass, tvbench, vcgbench, vinoground
from st_llm_cli.bench.benchmark import Benchmark

BENCHMARKS = {
    "mvbench": Benchmark(
        about="20 tasks of temporal understanding, 4000 multiple-choice questions",
        layout="either branch of OpenGVLab/MVBench: json/ beside video/, or test.json and folders of clips",
        load=mvbench.load,
    ),
    "tvbench": Benchmark(
        about="10 tasks that neither a single frame nor the text can answer, multiple choice",
        layout="json/<task>.json and video/<task>/",
        load=tvbench.load,
    ),
    "tempcompass": Benchmark(
        about="action, direction, speed, order and change, asked in four ways (captions need a judge)",
        layout="questions/*.json and videos/",
        load=tempcompass.load,
        released_sampler="uniform",
        released_frames=16,
    ),
    "vinoground": Benchmark(
        about="500 pairs of clips that differ in the order of events; text, video and group score",
        layout="vinoground_textscore.json, vinoground_videoscore.json and their folders of clips",
        load=vinoground.load,
        released_sampler="uniform",
        released_frames=16,
    ),
    "vcgbench": Benchmark(
        about="long answers about 500 clips, judged in five dimensions",
        layout="Benchmarking_QA/*.json and Test_Videos/",
        load=vcgbench.load,
        released_sampler="released_chat",
        released_frames=64,
        max_new_tokens=300,
        num_beams=5,
        judged=True,
    ),
    "msvd": Benchmark(
        about="short answers about YouTube clips, judged",
        layout="test_qa.json or test_q.json and test_a.json, and YouTubeClips/ or videos/",
        load=open_answers.load_msvd,
        released_sampler="released_chat",
        released_frames=64,
        max_new_tokens=300,
        num_beams=5,
        judged=True,
    ),
    "msrvtt": Benchmark(
        about="short answers about web clips, judged",
        layout="test_qa.json or test_q.json and test_a.json, and videos/all/ or videos/",
        load=open_answers.load_msrvtt,
        released_sampler="released_chat",
        released_frames=64,
        max_new_tokens=300,
        num_beams=5,
        judged=True,
    ),
    "activitynet": Benchmark(
        about="short answers about long clips of activities, judged; by type of question",
        layout="test_q.json and test_a.json, and all_test/",
        load=open_answers.load_activitynet,
        released_sampler="released_chat",
        released_frames=16,
        max_new_tokens=300,
        num_beams=5,
        judged=True,
    ),
    "custom": Benchmark(
        about="questions of your own",
        layout="a folder like MVBench's, or a .jsonl file with one question a line",
        load=custom.load,
        released_sampler="mvbench",
    ),
    "shapes": Benchmark(
        about="the moving shapes that the bundled model knows; the clips are drawn on demand",
        layout="a folder to draw into, or one drawn before",
        load=custom.load,
        released_sampler="uniform",  # what can be known without order is known for evenly spread frames
        released_frames=8,
    ),
}
"""Benchmarks `stllm eval` knows."""
