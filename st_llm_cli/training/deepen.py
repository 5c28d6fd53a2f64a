"""Put layers on top of a language model, which change nothing until they have learnt.

A new layer writes nothing into the residual stream: the matrices that end its attention and its MLP are zero.
So a model that answers questions goes on answering them while it learns what needs another step of thought.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from st_llm_cli.errors import TrainingError
from st_llm_cli.model.config import StllmConfig
from st_llm_cli.model.st_llm import StllmForConditionalGeneration


def deeper_config(config: StllmConfig, layers: int) -> StllmConfig:
    """Configuration of a model with so many more layers on top of its language model."""
    deeper = copy.deepcopy(config)
    text = deeper.text_config
    text.num_hidden_layers += layers
    if getattr(text, "layer_types", None):
        text.layer_types = [*text.layer_types, *text.layer_types[-1:] * layers]
    return deeper


@torch.no_grad()
def deepen(model: StllmForConditionalGeneration, layers: int, seed: int) -> StllmForConditionalGeneration:
    """Make the same model with more layers on top of its language model, and the same answers.

    Args:
        model: The model; its tensors are the new one's.
        layers: How many to add; none gives the model back.
        seed: Of the new layers' weights; the global random state is left alone.

    Raises:
        TrainingError: If the language model's layers are not built like Llama's.
    """
    if not layers:
        return model
    before = model.config.text_config.num_hidden_layers
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        deeper = StllmForConditionalGeneration(deeper_config(model.config, layers))
    new = deeper.load_state_dict(model.state_dict(), strict=False, assign=True)
    assert not new.unexpected_keys, "the old model is a part of the new one"
    for layer in deeper.language_model.get_decoder().layers[before:]:
        for end in _ENDS:
            nn.init.zeros_(_matrix(layer, end).weight)
    return deeper


def _matrix(layer: nn.Module, name: str) -> nn.Linear:
    try:
        matrix = layer.get_submodule(name)
    except AttributeError:
        matrix = layer
    if not isinstance(matrix, nn.Linear) or matrix.bias is not None:
        what = f"no layers can be added to this language model: its own have no '{name}' without a bias"
        raise TrainingError(what, where="add_layers", fix="drop it")
    return matrix


_ENDS = ("self_attn.o_proj", "mlp.down_proj")
"""What the results of a layer's attention and of its MLP come from, in Llama and its kin."""
