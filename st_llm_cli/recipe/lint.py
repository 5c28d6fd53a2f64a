"""Settings that are valid one by one and cannot work together."""

from __future__ import annotations

from st_llm_cli.recipe.problems import Problem
from st_llm_cli.recipe.reading import Place
from st_llm_cli.recipe.schema import Model, NewModel, Recipe, Train


def find_contradictions(recipe: Recipe) -> list[Problem]:
    """Say what cannot work in a recipe whose blocks are each valid."""
    problems = _video_input(recipe) + _masking(recipe.model)
    if recipe.model.new is not None:
        problems += _new_model(recipe.model.new)
        if recipe.model.lora is not None:
            what = "adds to a language model that has learnt, which a new one has not; give a checkpoint"
            problems.append(Problem(("model", "lora"), what))
    if recipe.model.auto is not None and recipe.model.lora is not None:
        what = "belongs to a checkpoint that stays; write one with `stllm models new RECIPE DEST` and name it"
        problems.append(Problem(("model", "lora"), what))
    for index, stage in enumerate(recipe.stages):
        if stage.train is not None:
            place: Place = ("stages", index, "train")
            problems += _train(recipe, stage.train, place) + _scale(stage.train, place)
    return problems + _tokens(recipe) + _names(recipe) + _order(recipe)


def _tokens(recipe: Recipe) -> list[Problem]:
    """What speaks against tokens from the cache, where the recipe insists on them."""
    tokens, place = recipe.tokens, ("tokens", "cache")
    if tokens.level != "auto" and tokens.cache == "off":
        return [Problem(("tokens", "level"), "has no effect with cache 'off'; drop it")]
    if tokens.cache != "required":
        return []
    problems = []
    for key, value in (("crop", recipe.video.crop), ("sampler", recipe.video.sampler)):
        if "random" in value:
            what = f"video.{key} '{value}' shows each clip differently every time; its tokens cannot be kept"
            problems.append(Problem(place, what))
    for stage in recipe.training:
        for part in ("vision", "qformer") if tokens.level == "queries" else ("vision",):
            if stage.objective == "answers" and part not in stage.freeze:
                what = f"stage '{stage.name}' trains the {part}: its tokens change with every step; freeze it"
                problems.append(Problem(place, what))
        if "btadapter" in (recipe.model.variant or "") and "projection" not in stage.freeze:
            what = (
                f"stage '{stage.name}' trains the BT-Adapter, which learns with the projection; freeze that"
            )
            problems.append(Problem(place, what))
    new = recipe.model.new
    if tokens.level == "queries" and new is not None and new.qformer.reads_question:
        what = "'queries' of a Q-Former that reads the question differ with each question; use 'frames'"
        problems.append(Problem(("tokens", "level"), what))
    return problems


def _video_input(recipe: Recipe) -> list[Problem]:
    model, num_frames = recipe.model, recipe.video.num_frames
    local = ("model", "num_local_frames")
    if model.video_input != "residual":
        if model.num_local_frames is None:
            return []
        return [
            Problem(local, f"has no effect with video_input '{model.video_input}'; drop it or use 'residual'")
        ]
    if model.num_local_frames is None:
        return [Problem(("model", "video_input"), "'residual' needs num_local_frames")]
    if model.num_local_frames > num_frames:
        what = f"{model.num_local_frames} local frames cannot be chosen from video.num_frames = {num_frames}"
        return [Problem(local, what)]
    return []


def _masking(model: Model) -> list[Problem]:
    problems = []
    masking = model.masking
    if masking is not None and model.video_input == "mean":
        what = (
            "masking needs the tokens of single frames, the 'mean' input has none; drop masking or use 'all'"
        )
        problems.append(Problem(("model", "masking"), what))
    if masking is not None and masking.low > masking.high:
        what = f"low {masking.low} is above high {masking.high}"
        problems.append(Problem(("model", "masking", "low"), what))
    if model.mvm is not None and masking is None:
        what = "masked video modelling needs masking; add 'masking: released' to the model"
        problems.append(Problem(("model", "mvm"), what))
    return problems


def _new_model(new: NewModel) -> list[Problem]:
    problems = []
    if new.vision.image_size % new.vision.patch_size:
        what = f"patches of {new.vision.patch_size} px do not tile an image of {new.vision.image_size} px"
        problems.append(Problem(("model", "new", "vision", "patch_size"), what))
    for name, part in (("vision", new.vision), ("qformer", new.qformer), ("language", new.language)):
        if part.hidden_dim % part.num_heads:
            what = f"{part.num_heads} heads do not divide hidden_dim {part.hidden_dim}"
            problems.append(Problem(("model", "new", name, "num_heads"), what))
    return problems


def _train(recipe: Recipe, train: Train, place: Place) -> list[Problem]:
    problems = []
    if train.warmup_steps >= train.steps:
        what = f"{train.warmup_steps} warm-up steps leave none of {train.steps} steps to train at full rate"
        problems.append(Problem((*place, "warmup_steps"), what))
    if train.objective == "answers" and not train.data:
        problems.append(Problem((*place, "data"), "is missing: nothing to learn from"))
    if train.objective != "answers" and any(source.shapes is None for source in train.data):
        what = (
            f"objective '{train.objective}' knows the truth of moving shapes only; name 'shapes' sources only"
        )
        problems.append(Problem((*place, "data"), what))
    if recipe.model.lora is not None and train.objective != "answers":
        what = f"'{train.objective}' teaches a new model, and model.lora leaves the language model as it is"
        problems.append(Problem((*place, "objective"), what))
    if recipe.model.lora is not None and train.add_layers:
        what = "model.lora leaves the language model as it is, and new layers would learn nothing; drop it"
        problems.append(Problem((*place, "add_layers"), what))
    if "language" in train.freeze and train.add_layers:
        what = "new layers are of the language model, which is frozen; drop one of them"
        problems.append(Problem((*place, "add_layers"), what))
    if recipe.model.lora is not None and "language" in train.freeze:
        what = "'language' is trained by model.lora, whose matrices would be frozen too; drop one of them"
        problems.append(Problem((*place, "freeze"), what))
    idle = {"projection", "language"} if train.objective == "cells" else set()
    for part in train.part_lr:
        if part in train.freeze:
            what = f"'{part}' is frozen and learns nothing; drop it here or in freeze"
            problems.append(Problem((*place, "part_lr", part), what))
        elif part in idle:
            what = f"objective 'cells' does not reach the {part}, which learns nothing; drop it"
            problems.append(Problem((*place, "part_lr", part), what))
    if set(train.freeze) == {"vision", "qformer", "projection", "language"}:
        problems.append(Problem((*place, "freeze"), "every part is frozen: nothing is left to train"))
    return problems


def _scale(train: Train, place: Place) -> list[Problem]:
    """What cannot be shared among processes."""
    problems = []
    if train.deepspeed is not None and train.optimizer == "muon":
        what = "DeepSpeed cuts matrices into flat pieces, which 'muon' cannot make orthogonal; use 'adamw'"
        problems.append(Problem((*place, "optimizer"), what))
    if train.deepspeed is not None and train.objective != "answers":
        what = f"objective '{train.objective}' is for models too small to be shared out; drop it"
        problems.append(Problem((*place, "deepspeed"), what))
    return problems


def _order(recipe: Recipe) -> list[Problem]:
    """Stages that come before what they need, or are in vain."""
    problems = []
    trained, encodes = recipe.model.checkpoint is not None, recipe.model.new is None
    for index, stage in enumerate(recipe.stages):
        trained = trained or stage.train is not None
        if not trained and not (stage.extract_features is not None and encodes):
            what = "comes before training, and a new model knows nothing yet; move it behind"
            kind = "eval" if stage.eval is not None else "extract_features"
            problems.append(Problem(("stages", index, kind), what))
        if stage.extract_features is not None and recipe.tokens.cache == "off":
            what = "fills the token cache, which tokens.cache turns off; drop one of them"
            problems.append(Problem(("stages", index, "extract_features"), what))
    return problems


def _names(recipe: Recipe) -> list[Problem]:
    problems = []
    seen: set[str] = set()
    for index, stage in enumerate(recipe.stages):
        if stage.train is None:
            continue
        if stage.train.name in seen:
            what = f"'{stage.train.name}' names an earlier stage too; each writes a folder of its own"
            problems.append(Problem(("stages", index, "train", "name"), what))
        seen.add(stage.train.name)
    return problems
