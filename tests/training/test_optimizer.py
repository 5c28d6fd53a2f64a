import pytest
import torch
from torch import nn

from st_llm_cli.recipe.schema import Train
from st_llm_cli.training.optimizer import Muon, build_optimizer, freeze, freeze_for, orthogonalise, part_of
from tests.training.small import small_recipe
from tests.training.test_build import build


def stage(**settings: object) -> Train:
    return small_recipe(settings).training[0]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 6, 20), (2, 20, 6)])
def test_orthogonalised_matrices_have_singular_values_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices))
    assert values.shape[1] == min(shape[1:])
    assert float(values.max()) < 1.3
    assert float(values.median()) > 0.6


def test_muon_update_keeps_what_the_gradient_points_at() -> None:
    matrix = nn.Parameter(torch.zeros(6, 4))
    matrix.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    Muon([{"params": [matrix], "orthogonal": True}], lr=0.1).step()
    assert float((matrix.detach() * matrix.grad).sum()) < 0
    assert float(matrix.detach().square().mean().sqrt()) == pytest.approx(0.1 * 0.2, rel=0.3)


def test_muon_is_adamw_for_what_is_not_a_matrix() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 5)) for _ in range(2))
    settings = {"lr": 0.01, "betas": (0.9, 0.98), "weight_decay": 0.1}
    optimizers = (Muon([{"params": [ours]}], **settings), torch.optim.AdamW([theirs], **settings))
    for step in range(4):
        ours.grad = theirs.grad = torch.cos(torch.arange(5.0) + step)
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


def test_muon_takes_a_convolution_for_a_matrix() -> None:
    kernels = nn.Parameter(torch.zeros(4, 3, 2, 2))
    kernels.grad = torch.randn(4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    Muon([{"params": [kernels], "orthogonal": True}], lr=0.1).step()
    update = kernels.detach().flatten(1)
    # Rows of an orthogonal update of a wide matrix are about equally long.
    assert float(update.norm(dim=1).std() / update.norm(dim=1).mean()) < 0.3


def test_muon_goes_on_from_a_saved_state() -> None:
    def minimise(steps: int, parameter: nn.Parameter, optimizer: Muon) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (parameter - 1).square().sum().backward()
            optimizer.step()

    def start(value: torch.Tensor) -> tuple[nn.Parameter, Muon]:
        parameter = nn.Parameter(value.clone())
        return parameter, Muon([{"params": [parameter], "orthogonal": True}], lr=0.05)

    straight, optimizer = start(torch.zeros(4, 4))
    minimise(6, straight, optimizer)
    first, saving = start(torch.zeros(4, 4))
    minimise(3, first, saving)
    second, loading = start(first.detach())
    loading.load_state_dict(saving.state_dict())
    minimise(3, second, loading)
    assert torch.equal(second, straight)


def test_frozen_parts_have_no_place_in_the_optimizer() -> None:
    model = build(small_recipe({}))
    freeze(model, ["vision", "language"])
    optimizer = build_optimizer(model, stage())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = {part_of(name) for name, parameter in model.named_parameters() if id(parameter) in held}
    assert names == {"qformer", "projection"}


@pytest.mark.parametrize(
    ("mask", "mvm", "learns"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_the_masked_video_decoder_learns_where_video_is_masked(mask: bool, mvm: bool, learns: bool) -> None:
    method = {"masking": "released", "mvm": "released"}
    model = build(small_recipe({}, **method))
    recipe = small_recipe({"mask": mask}, **(method if mvm else {"masking": "released"}))
    freeze_for(model, recipe.model, recipe.training[0])
    assert model.masked_video_decoder is not None
    assert {weight.requires_grad for weight in model.masked_video_decoder.parameters()} == {learns}
    assert model.projection.weight.requires_grad


def test_a_part_can_have_a_learning_rate_of_its_own() -> None:
    model = build(small_recipe({}))
    optimizer = build_optimizer(model, stage(lr=1e-3, part_lr={"vision": 1e-5}))
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {
        (part_of(name) == "vision", rates[id(parameter)]) for name, parameter in model.named_parameters()
    }
    assert found == {(True, 1e-5), (False, 1e-3)}


def test_every_parameter_is_trained_once() -> None:
    model = build(small_recipe({}))
    for name in ("adamw", "muon"):
        optimizer = build_optimizer(model, stage(optimizer=name))
        held = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
        assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())


def test_word_tables_and_places_are_not_orthogonalised() -> None:
    model = build(small_recipe({}))
    optimizer = build_optimizer(model, stage(optimizer="muon"))
    kinds = {id(p): group["orthogonal"] for group in optimizer.param_groups for p in group["params"]}
    orthogonal = {name for name, parameter in model.named_parameters() if kinds[id(parameter)]}
    assert "vision_model.embeddings.patch_embedding.weight" in orthogonal
    assert "projection.weight" in orthogonal
    for name in (
        "language_model.model.embed_tokens.weight",
        "language_model.lm_head.weight",
        "vision_model.embeddings.position_embedding",
        "qformer.query_tokens",
        "language_model.model.norm.weight",
    ):
        assert name not in orthogonal
