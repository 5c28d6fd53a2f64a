"""The temporal branch, against the released formulas written out plainly."""

import pytest
import torch
from torch import Tensor
from transformers import InstructBlipVisionConfig, InstructBlipVisionModel

from st_llm_cli.model.bt_adapter import BTAdapter, start_bt_adapter

DEPTH, FRAMES, PATCHES, DIM = 3, 5, 4, 16
CONFIG = InstructBlipVisionConfig(
    hidden_size=DIM,
    intermediate_size=24,
    num_hidden_layers=4,
    num_attention_heads=2,
    image_size=16,
    patch_size=8,
    initializer_range=0.3,
)


@pytest.fixture
def vision() -> InstructBlipVisionModel:
    torch.manual_seed(0)
    model = InstructBlipVisionModel(CONFIG).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def adapter() -> BTAdapter:
    torch.manual_seed(1)
    made = BTAdapter(CONFIG, depth=DEPTH, max_frames=8).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def trunk(batch: int = 2, frames: int = FRAMES) -> list[Tensor]:
    """Outputs of the last blocks, each [batch, frames, 1+patches, dim]."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(batch, frames, 1 + PATCHES, DIM, generator=generator) for _ in range(DEPTH)]


POSITIONS = torch.randn(1, 1 + PATCHES, DIM, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def by_hand(adapter: BTAdapter, blocks: list[Tensor], positions: Tensor) -> Tensor:
    """The released forward of one clip: [frames, 1+patches, dim] per block, class token and patches apart."""
    frames = len(blocks[0])
    cls = (blocks[0][:, 0].mean(0) + adapter.cls_token[0, 0] + positions[0, 0]) / 2  # [dim]
    patches = blocks[0][:, 1:] + positions[0, 1:]  # [frames, patches, dim]
    patches = patches + adapter.time_embedding.weight[:frames, None]
    for i, block in enumerate(blocks):
        if i > 0:
            cls, patches = cls + block[:, 0].mean(0), patches + block[:, 1:]
        temporal, spatial = adapter.temporal[i], adapter.spatial[i]
        by_patch = patches.transpose(0, 1)  # [patches, frames, dim]
        patches = patches + temporal.output(temporal.attention(temporal.norm(by_patch))[0]).transpose(0, 1)
        tokens = torch.cat([cls.expand(frames, 1, DIM), patches], dim=1)  # [frames, 1+patches, dim]
        tokens = tokens + spatial.self_attn(spatial.layer_norm1(tokens))[0]
        cls, patches = tokens[:, 0].mean(0), tokens[:, 1:]
        cls = cls + spatial.mlp(spatial.layer_norm2(cls))
        patches = patches + spatial.mlp(spatial.layer_norm2(patches))
    branch = torch.cat([cls.expand(frames, 1, DIM), patches], dim=1)
    return (blocks[-1] + branch) / 2


@torch.no_grad()
def test_branch_follows_the_released_formula(adapter: BTAdapter) -> None:
    blocks = trunk()
    joined = adapter(blocks, POSITIONS)
    assert joined.shape == (2, FRAMES, 1 + PATCHES, DIM)
    for clip in range(2):
        assert torch.allclose(joined[clip], by_hand(adapter, [b[clip] for b in blocks], POSITIONS), atol=1e-4)


def test_spatial_norms_have_the_released_eps(adapter: BTAdapter) -> None:
    assert {layer.layer_norm1.eps for layer in adapter.spatial} == {1e-5}
    assert {layer.layer_norm2.eps for layer in adapter.spatial} == {1e-5}
    assert {layer.norm.eps for layer in adapter.temporal} == {1e-6}


@torch.no_grad()
def test_fresh_branch_copies_the_last_blocks(adapter: BTAdapter, vision: InstructBlipVisionModel) -> None:
    start_bt_adapter(adapter, vision)
    for layer, block in zip(adapter.spatial, vision.encoder.layers[-DEPTH:], strict=True):
        ours, theirs = layer.state_dict(), block.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert layer.layer_norm1.eps == 1e-5  # the weights are copied, not the settings
    for layer in adapter.temporal:
        assert not layer.output.weight.any()
        assert not layer.output.bias.any()
    assert not adapter.time_embedding.weight.any()
    assert torch.equal(adapter.cls_token, vision.embeddings.class_embedding)


@torch.no_grad()
def test_fresh_branch_is_the_last_blocks_again(adapter: BTAdapter, vision: InstructBlipVisionModel) -> None:
    """Written with the tower's own blocks: no temporal layer and no time embedding in sight."""
    start_bt_adapter(adapter, vision)
    positions = vision.embeddings.position_embedding
    blocks = [block[0] for block in trunk()]
    joined = adapter([block[None] for block in blocks], positions)[0]

    cls = (blocks[0][:, 0].mean(0) + vision.embeddings.class_embedding[0, 0] + positions[0, 0]) / 2
    patches = blocks[0][:, 1:] + positions[0, 1:]
    for i, (block, layer) in enumerate(zip(blocks, vision.encoder.layers[-DEPTH:], strict=True)):
        layer.layer_norm1.eps = layer.layer_norm2.eps = 1e-5
        if i > 0:
            cls, patches = cls + block[:, 0].mean(0), patches + block[:, 1:]
        tokens = torch.cat([cls.expand(FRAMES, 1, DIM), patches], dim=1)
        tokens = tokens + layer.self_attn(layer.layer_norm1(tokens))[0]
        cls, patches = tokens[:, 0].mean(0), tokens[:, 1:]
        cls, patches = (x + layer.mlp(layer.layer_norm2(x)) for x in (cls, patches))
    expected = (blocks[-1] + torch.cat([cls.expand(FRAMES, 1, DIM), patches], dim=1)) / 2
    assert torch.allclose(joined, expected, atol=1e-4)


@torch.no_grad()
def test_order_of_frames_matters_only_after_training(
    adapter: BTAdapter, vision: InstructBlipVisionModel
) -> None:
    order = [3, 1, 4, 0, 2]

    def shuffling_commutes() -> bool:
        plain = adapter(trunk(), POSITIONS)
        shuffled = adapter([block[:, order] for block in trunk()], POSITIONS)
        return torch.allclose(plain[:, order], shuffled, atol=1e-4)

    assert not shuffling_commutes()  # random weights, as if trained
    start_bt_adapter(adapter, vision)
    assert shuffling_commutes()


def test_trunk_is_left_alone(adapter: BTAdapter) -> None:
    blocks = trunk()
    before = [block.clone() for block in blocks]
    adapter(blocks, POSITIONS)
    assert all(torch.equal(one, other) for one, other in zip(blocks, before, strict=True))


def test_more_frames_than_it_knows(adapter: BTAdapter) -> None:
    with pytest.raises(ValueError, match="the BT-Adapter knows 8 frames, the clip has 9"):
        adapter(trunk(frames=9), POSITIONS)


def test_drop_path_rises_from_nothing() -> None:
    assert BTAdapter(CONFIG, depth=3, max_frames=8, drop_path=0.1).drop_path == [0.0, 0.05, 0.1]
    assert BTAdapter(CONFIG, depth=1, max_frames=8, drop_path=0.1).drop_path == [0.0]


@torch.no_grad()
def test_drop_path_keeps_the_mean_and_is_off_outside_training(adapter: BTAdapter) -> None:
    change = torch.ones(20_000, 1, 1)
    assert torch.equal(adapter._drop(change, 0.4), change)
    torch.manual_seed(0)
    dropped = adapter.train()._drop(change, 0.4)
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.6)]
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)


def test_gradients_reach_every_part(adapter: BTAdapter) -> None:
    adapter(trunk(), POSITIONS).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapter.parameters())
