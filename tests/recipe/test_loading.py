from pathlib import Path

import pytest

from st_llm_cli.errors import RecipeError
from st_llm_cli.recipe import Recipe, dump_recipe, list_recipes, load_recipe

GOOD = """\
description: One short stage on moving shapes.
video: {num_frames: 8}
model:
  new: {}
  masking: {mean: 0.4}
stages:
  - train:
      name: first
      data: [{shapes: {}}]
      steps: 10
      lr: 1e-5
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(folder, text), overrides)
    return str(caught.value).replace(f"{folder}/", "")


def test_defaults_fill_what_the_file_leaves_out(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert recipe.video.num_frames == 8
    assert recipe.model.masking is not None
    assert (recipe.model.masking.mean, recipe.model.masking.std) == (0.4, 0.1)


def test_number_without_a_point_before_its_exponent_is_a_number(tmp_path: Path) -> None:
    assert load_recipe(write(tmp_path, GOOD)).training[0].lr == 1e-5


@pytest.mark.parametrize("name", ["released", "paper"])
def test_presets_differ_in_the_smallest_share(tmp_path: Path, name: str) -> None:
    text = GOOD.replace("{mean: 0.4}", f"{name}\n  mvm: {name}")
    model = load_recipe(write(tmp_path, text)).model
    assert model.masking is not None
    assert model.masking.low == {"released": 0.1, "paper": 0.3}[name]
    assert model.mvm is not None
    assert model.mvm.loss == {"released": "cosine", "paper": "mse"}[name]


def test_dump_reads_back_equal(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    (tmp_path / "again.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert load_recipe(tmp_path / "again.yaml") == recipe


def test_recipe_cannot_be_changed_after_loading(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        recipe.video.num_frames = 3


def test_override_wins_over_the_file(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD), ["stages.0.train.lr=2e-6", "model.masking=paper"])
    assert recipe.training[0].lr == 2e-6
    assert recipe.model.masking is not None
    assert recipe.model.masking.low == 0.3


def test_override_makes_blocks_the_file_leaves_out(tmp_path: Path) -> None:
    text = GOOD.replace("video: {num_frames: 8}\n", "")
    assert load_recipe(write(tmp_path, text), ["video.num_frames=4"]).video.num_frames == 4


def test_every_bundled_recipe_loads() -> None:
    assert list_recipes(), "no bundled recipe found"
    for name in list_recipes():
        assert isinstance(load_recipe(name), Recipe)


def test_every_field_says_what_it_means() -> None:
    silent = [
        f"{block.__name__}.{name}"
        for block in all_blocks(Recipe)
        for name, field in block.model_fields.items()
        if not field.description
    ]
    assert not silent


def all_blocks(root: type) -> list[type[Recipe]]:
    from st_llm_cli.recipe.block import Block

    blocks, todo = [], list(Block.__subclasses__())
    while todo:
        block = todo.pop()
        todo += block.__subclasses__()
        blocks.append(block)
    assert root in blocks
    return blocks  # type: ignore[return-value]


WRONG = {
    "unknown key": (
        "mean: 0.4",
        "maen: 0.4",
        "line 5, model.masking.maen: unknown key; did you mean 'mean'?",
    ),
    "unknown key at the root": ("video:", "vidoe:", "line 2, vidoe: unknown key; did you mean 'video'?"),
    "key nothing like another": (
        "num_frames: 8",
        "zzz: 8",
        "line 2, video.zzz: unknown key; known: num_frames",
    ),
    "word that is not a choice": (
        "new: {}",
        "new: {}\n  video_input: residul",
        "model.video_input: must be 'all', 'mean' or 'residual', not 'residul'; did you mean 'residual'?",
    ),
    "text for a number": (
        "steps: 10",
        "steps: ten",
        "stages.0.train.steps: must be a whole number, not the text 'ten'",
    ),
    "quoted number": ("steps: 10", "steps: '10'", "must be a whole number, not the text '10'"),
    "half a frame": ("num_frames: 8", "num_frames: 8.5", "video.num_frames: must be a whole number, not 8.5"),
    "no frames": ("num_frames: 8", "num_frames: 0", "video.num_frames: must be greater than 0, not 0"),
    "missing key": ("      steps: 10\n", "", "line 7, stages.0.train.steps: is missing"),
    "number for a block": ("{num_frames: 8}", "8", "video: must be a block with the keys num_frames"),
    "unknown preset": ("{mean: 0.4}", "papr", "model.masking: unknown preset 'papr'; known: released, paper"),
    "no origin": (
        "new: {}",
        "video_input: all",
        "line 3, model: give exactly one of 'checkpoint', 'new' and",
    ),
    "two origins": ("new: {}", "new: {}\n  checkpoint: x", "give exactly one of 'checkpoint', 'new' and"),
    "unknown stage": ("- train:", "- trian:", "line 7, stages.0.trian: unknown key; did you mean 'train'?"),
    "masking the mean": (
        "new: {}",
        "new: {}\n  video_input: mean",
        "masking needs the tokens of single frames",
    ),
    "local frames without local input": (
        "new: {}",
        "new: {}\n  num_local_frames: 4",
        "num_local_frames: has no effect with video_input 'all'",
    ),
    "residual without local frames": (
        "new: {}",
        "new: {}\n  video_input: residual",
        "'residual' needs num_local_frames",
    ),
    "more local frames than frames": (
        "new: {}",
        "new: {}\n  video_input: residual\n  num_local_frames: 16",
        "16 local frames cannot be chosen from video.num_frames = 8",
    ),
    "mvm without masking": (
        "masking: {mean: 0.4}",
        "mvm: released",
        "model.mvm: masked video modelling needs masking",
    ),
    "low above high": ("mean: 0.4", "low: 0.8", "model.masking.low: low 0.8 is above high 0.7"),
    "patches that do not tile": (
        "new: {}",
        "new: {vision: {patch_size: 7}}",
        "patches of 7 px do not tile an image of 48 px",
    ),
    "two sources in one entry": (
        "shapes: {}",
        "shapes: {}, jsonl: {annotations: a, media: b}",
        "names shapes and jsonl; write each as an entry of its own",
    ),
    "no source": ("shapes: {}", "weight: 2", "names no source; write one of: shapes, videochat2, conver"),
    "source without its folder": (
        "shapes: {}",
        "videochat2: {annotations: a.json}",
        "stages.0.train.data.0.videochat2.media: is missing",
    ),
    "cache of random crops": (
        "{num_frames: 8}",
        "{num_frames: 8, crop: random}\ntokens: {cache: required}",
        "tokens.cache: video.crop 'random' shows each clip differently every time",
    ),
    "cache of random frames": (
        "{num_frames: 8}",
        "{num_frames: 8, sampler: released_random}\ntokens: {cache: required}",
        "tokens.cache: video.sampler 'released_random' shows each clip differently every time",
    ),
    "cache of an encoder that learns": (
        "{num_frames: 8}",
        "{num_frames: 8}\ntokens: {cache: required}",
        "tokens.cache: stage 'first' trains the vision: its tokens change with every step; freeze it",
    ),
    "cache of a BT-Adapter that learns": (
        "{num_frames: 8}\nmodel:\n  new: {}",
        "{num_frames: 8}\ntokens: {cache: required}\nmodel:\n  checkpoint: a\n"
        "  variant: instructblip_vicuna0_btadapter",
        "tokens.cache: stage 'first' trains the BT-Adapter, which learns with the projection; freeze that",
    ),
    "level without a cache": (
        "{num_frames: 8}",
        "{num_frames: 8}\ntokens: {cache: off, level: frames}",
        "tokens.level: has no effect with cache 'off'",
    ),
    "same key twice": (
        "steps: 10",
        "steps: 10\n      steps: 20",
        "key 'steps' is given twice, first in line 10",
    ),
    "tab": ("video:", "\tvideo:", "line 2, column 1: is not valid YAML"),
    "unclosed bracket": ("{num_frames: 8}", "{num_frames: 8", "is not valid YAML"),
    "new layers that are frozen": (
        "steps: 10",
        "steps: 10\n      add_layers: 2\n      freeze: [language]",
        "stages.0.train.add_layers: new layers are of the language model, which is frozen",
    ),
    "everything frozen": (
        "steps: 10",
        "steps: 10\n      freeze: [vision, qformer, projection, language]",
        "every part is frozen",
    ),
    "rate of a frozen part": (
        "steps: 10",
        "steps: 10\n      freeze: [vision]\n      part_lr: {vision: 1.0e-5}",
        "stages.0.train.part_lr.vision: 'vision' is frozen and learns nothing",
    ),
    "rate of a part that is not reached": (
        "steps: 10",
        "steps: 10\n      objective: cells\n      part_lr: {language: 1.0e-5}",
        "part_lr.language: objective 'cells' does not reach the language",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_mistake_is_named_with_its_place(tmp_path: Path, case: str) -> None:
    old, new, expected = WRONG[case]
    assert old in GOOD
    assert expected in complaint(tmp_path, GOOD.replace(old, new))


def test_all_problems_are_listed_at_once(tmp_path: Path) -> None:
    text = GOOD.replace("mean", "maen").replace("steps: 10", "steps: ten")
    assert complaint(tmp_path, text) == (
        "recipe.yaml: 2 problems\n"
        "  line 5, model.masking.maen: unknown key; did you mean 'mean'?\n"
        "  line 10, stages.0.train.steps: must be a whole number, not the text 'ten'"
    )


def test_list_at_the_root_is_refused_in_words(tmp_path: Path) -> None:
    said = complaint(tmp_path, "- train: {}\n")
    assert said.startswith("recipe.yaml: is a list, a recipe is a mapping (write the keys ")


@pytest.mark.parametrize("text", ["", "# nothing here\n", "null\n"])
def test_empty_file_is_refused_in_words(tmp_path: Path, text: str) -> None:
    assert complaint(tmp_path, text).startswith("recipe.yaml: is empty (a recipe is a mapping with the keys ")


def test_binary_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(RecipeError, match="is not UTF-8 text"):
        load_recipe(tmp_path / "recipe.yaml")


WRONG_OVERRIDES = {
    "stages.0.train.rl=1": "--set, stages.0.train.rl: unknown key; did you mean 'lr'?",
    "stages.0.train.steps=ten": "--set, stages.0.train.steps: must be a whole number, not the text 'ten'",
    "stages.4.train.steps=1": "stages is a list of 1, '4' is not one of its entries (entries are counted",
    "description.x=1": "description is the text 'One short stage on moving shapes.', which has no 'x' inside",
    "lr": "--set lr: is not of the form key=value (write for example --set stages.0.train.lr=1e-5)",
    "model.masking=[": "--set model.masking=[: the value is not valid YAML",
}


@pytest.mark.parametrize("override", WRONG_OVERRIDES)
def test_override_is_checked_like_the_file(tmp_path: Path, override: str) -> None:
    assert WRONG_OVERRIDES[override] in complaint(tmp_path, GOOD, override)


def test_missing_file_names_what_comes_near(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(RecipeError, match=r"no such recipe.*did you mean '.*recipe\.yaml'\?"):
        load_recipe(tmp_path / "recpie.yaml")


def test_folder_is_not_a_recipe(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    with pytest.raises(RecipeError, match=r"is a folder.*did you mean '.*recipe\.yaml'\?"):
        load_recipe(tmp_path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("stages.0.train.deepspeed=zero4", "no DeepSpeed configuration 'zero4'; zero2, zero3, "),
        ("stages.0.train.optimizer=muon", "DeepSpeed cuts matrices into flat pieces"),
        ("stages.0.train.freeze=[language]", "'language' is trained by model.lora"),
        ("stages.0.train.add_layers=2", "model.lora leaves the language model as it is"),
        ("stages.1.eval.answer=guess", "must be 'options' or 'generate', not 'guess'"),
        ("stages.2.extract_features.worker=3", "unknown key; did you mean 'workers'?"),
        ("tokens.cache=off", "fills the token cache, which tokens.cache turns off"),
        ("stages.2={}", "is not one stage; write one of: extract_features, train, eval"),
    ],
)
def test_stages_that_cannot_work_are_refused(tmp_path: Path, setting: str, message: str) -> None:
    text = GOOD.replace("new: {}", "checkpoint: tiny\n  lora: {rank: 4}").replace(
        "steps: 10", "steps: 10\n      deepspeed: zero2"
    )
    text += "  - eval: {bench: shapes, data: shapes}\n  - extract_features: {}\n"
    assert load_recipe(write(tmp_path, text)).stages[1].eval is not None
    assert message in complaint(tmp_path, text, setting)


@pytest.mark.parametrize(
    ("character", "what", "fix"),
    [
        ("\\ud800", "half a character, which no file takes", "write it in full, or leave it out"),
        ("\\0", "NUL, which no name and no command takes", "leave it out"),
    ],
)
def test_text_that_no_file_takes_is_named_with_its_line(
    tmp_path: Path, character: str, what: str, fix: str
) -> None:
    text = GOOD.replace("shapes: {}", f'jsonl: {{annotations: "a{character}.jsonl", media: videos}}')
    said = complaint(tmp_path, text)
    assert said.startswith(
        f"recipe.yaml, line 9, stages.0.train.data.0.jsonl.annotations: holds {what}: 'a\\"
    )
    assert said.endswith(f".jsonl'; {fix}")
    said = complaint(tmp_path, GOOD, f'description="{character}"')
    assert said.startswith(f"recipe.yaml, --set, description: holds {what}")


def test_a_new_model_cannot_be_measured_before_it_has_learnt(tmp_path: Path) -> None:
    text = GOOD.replace("stages:\n", "stages:\n  - eval: {bench: shapes, data: shapes}\n")
    assert "comes before training" in complaint(tmp_path, text)
