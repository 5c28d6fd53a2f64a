"""One token's step of the language model, recorded once and replayed for every token after.

A GPU reads the weights of a large model faster than Python starts the hundreds of small operations of a
step, so writing waits for Python. CUDA can record operations as a graph and start all of them at once, if
nothing in them changes from token to token: no shape, no address, no number that Python knows. Here,
therefore, token and position stand in tensors; keys and values are written to where the position says, into
the room that the cache has for them; and the token attends to that whole room, under a mask that hides what
is behind its position.

What was recorded is good for these rooms only. Where they are left for larger ones, or another conversation
begins in new ones, it is recorded anew. `compile_step` makes its layers faster once for all.
"""

from __future__ import annotations

import logging
import time
import weakref
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, NoReturn

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

from st_llm_cli.errors import UsageError
from st_llm_cli.model.compiled_layers import compiled_layers
from st_llm_cli.model.growing_cache import STEP, GrowingCache
from st_llm_cli.model.st_llm import StllmForConditionalGeneration

log = logging.getLogger(__name__)

LANGUAGE_MODELS = ("llama", "mistral", "qwen2", "qwen3", "gemma", "olmo2", "phi3", "smollm3")
"""Kinds whose step is recorded; a test holds the step of each to its ordinary reading."""

PATIENCE = 16
"""Tokens written into the same rooms, in one answer or in several, before a step is recorded: about as many
as are written in the time that recording takes. So it never costs more than writing cost anyhow, and a
conversation of short answers records as well, once."""

ROUNDING = {torch.float32: 0.01, torch.float16: 0.05, torch.bfloat16: 0.2}
"""How far what a recorded step gives may lie from what the ordinary way gives, as a share of the spread, by
the type of the model's numbers. Of rounding in bfloat16, at most 0.05 was seen, in 32 layers."""

Run = Callable[[], Tensor]

_refused: weakref.WeakSet[StllmForConditionalGeneration] = weakref.WeakSet()
"""Models whose step could not be recorded: it is tried, and said, once."""
_compiled: weakref.WeakSet[StllmForConditionalGeneration] = weakref.WeakSet()
"""Models whose step is recorded with compiled layers."""


def can_be_recorded(model: StllmForConditionalGeneration) -> bool:
    """Whether a step of the language model can be written for any position at once.

    It cannot with attention to a window of positions or with running states, which do not stay in a room;
    with a kernel that takes no mask; with rotations that change with the length; with draws, as of dropout;
    nor on several devices.
    """
    config = model.config.text_config
    return (
        config.model_type in LANGUAGE_MODELS
        and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
        and not getattr(config, "sliding_window", None)
        and model.language_model.config._attn_implementation in ("eager", "sdpa")
        and config.rope_parameters["rope_type"] != "dynamic"
        and not model.language_model.training
        and len({weight.device for weight in model.language_model.parameters()}) == 1
        and model.get_input_embeddings().weight.dtype in ROUNDING
    )


class OneToken:
    """The step: the same operations at the same places in memory, whichever token it is.

    Args:
        model: The model; see `can_be_recorded`.
        cache: What it has read, with room for at least one more position.
        compiled: Whether layers read by compiled code.
    """

    def __init__(
        self, model: StllmForConditionalGeneration, cache: GrowingCache, *, compiled: bool = False
    ) -> None:
        rooms = [layer.rooms for layer in cache.layers]
        device, self._size = rooms[0][0].device, rooms[0][0].shape[-2]
        self.token = torch.zeros(1, 1, dtype=torch.long, device=device)
        """The token to read, [1, 1]."""
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        """Where it stands, [1]."""
        self._cache = Cache([_Room(*room, self.position) for room in rooms])
        self._model = model
        self._compiled = compiled

    def run(self) -> Tensor:
        """Read the token, keys and values into the room → next-token logits, [1, vocabulary], float32."""
        embeds = self._model.get_input_embeddings()(self.token)  # [1, 1, hidden]
        hidden = torch.arange(self._size, device=embeds.device) > self.position  # [room]
        mask = embeds.new_zeros(self._size).masked_fill(hidden, -torch.inf)
        decoder = self._model.language_model.get_decoder()
        with compiled_layers(decoder.layers, self._cache.layers) if self._compiled else nullcontext():
            output = decoder(
                inputs_embeds=embeds,
                attention_mask=mask[None, None, None],  # [1, 1, 1, room]
                position_ids=self.position[None],
                past_key_values=self._cache,
                use_cache=True,
            )
        logits: Tensor = self._model.get_output_embeddings()(output.last_hidden_state[:, -1])
        return logits.float()


class _Room(CacheLayerMixin):
    """Keys and values of a layer as the step sees them: written where a tensor says, seen in whole."""

    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor, position: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.keys, self.values, self._position = keys, values, position
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Do nothing: the room is there."""

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Write one key and one value; the whole room."""
        assert self.keys is not None
        assert self.values is not None
        self.keys.index_copy_(-2, self._position, key_states)
        self.values.index_copy_(-2, self._position, value_states)
        return self.keys, self.values

    def get_max_length(self) -> int:
        """Positions in the room."""
        assert self.keys is not None
        return self.keys.shape[-2]

    def get_seq_length(self) -> NoReturn:
        """Refuse: a length that Python knows would be that of every replay.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("the language model asks for a length, which a recorded step does not have")

    def get_mask_sizes(self, query_length: int) -> NoReturn:
        """Refuse, as `get_seq_length`."""
        self.get_seq_length()


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recorded step, and what it is bound to."""

    token: Tensor
    """The token that a replay reads, [1, 1]."""
    position: Tensor
    """Where it stands, [1]."""
    replay: Run
    """Gives what `OneToken.run` gives, in a tensor that the next replay overwrites."""
    model: StllmForConditionalGeneration
    weights: list[Tensor]
    addresses: list[int]
    """Where the weights are; a model that was moved away leaves something else there."""
    room: weakref.ref[Tensor]
    """The cache's first room. Not held: it would stay in memory beside the larger one that follows it."""

    def fits(self, model: StllmForConditionalGeneration, cache: GrowingCache) -> bool:
        """Whether all that it reads and writes is where it was, and a token more goes into the room."""
        room = cache.room
        return (
            model is self.model
            and room is not None
            and room is self.room()
            and cache.get_seq_length() < room.shape[-2]
            and [weight.data_ptr() for weight in self.weights] == self.addresses
        )

    def read(self, token: int, position: int) -> Tensor:
        """Replay the step → next-token logits, [1, vocabulary], float32."""
        self.token.fill_(token)
        self.position.fill_(position)
        return self.replay().clone()


class Recorder:
    """Reads a sequence on token by token, by a recorded step as soon as that pays."""

    def __init__(self) -> None:
        self.recorded: Recorded | None = None
        """The step in use; None where tokens are read the ordinary way."""
        self._room: weakref.ref[Tensor] | None = None
        self._tokens = 0

    def read(
        self, model: StllmForConditionalGeneration, cache: GrowingCache, token: int, plainly: Run
    ) -> Tensor:
        """Read one token → next-token logits, [1, vocabulary], float32.

        Args:
            model: The model.
            cache: What it has read.
            token: Id of the token.
            plainly: The ordinary way to read it.
        """
        if self.recorded is not None and self.recorded.fits(model, cache):
            length = cache.get_seq_length()
            logits = self.recorded.read(token, length)
            cache.reach(length + 1)  # while the device is at work
            return logits
        self.recorded = None
        tried = self._try(model, cache, token) if self._pays(model, cache) else None
        logits = plainly()
        if tried is not None:
            recorded, *given = tried
            self.recorded = recorded if _agree(model, given, [logits, _last_key(cache)]) else None
        return logits

    def _pays(self, model: StllmForConditionalGeneration, cache: GrowingCache) -> bool:
        """Count the token; whether it is the one before which to record."""
        room = cache.room
        if room is None or room.device.type not in RECORDERS or model in _refused:
            return False
        if self._room is None or room is not self._room():
            self._room, self._tokens = weakref.ref(room), 0
        self._tokens += 1
        return self._tokens == PATIENCE + 1 and can_be_recorded(model)

    def _try(
        self, model: StllmForConditionalGeneration, cache: GrowingCache, token: int
    ) -> tuple[Recorded, Tensor, Tensor] | None:
        """Record the step and try it on a token that the ordinary way reads then too; its logits and key."""
        began, length = time.perf_counter(), cache.get_seq_length()
        try:
            cache.prepare(STEP)
            recorded = record(model, cache)
            logits = recorded.read(token, length)
            key = cache.layers[-1].rooms[0][..., length, :].clone()  # [1, heads, dim]
        except RuntimeError as error:
            _refuse(model, _first_line(error))
            return None
        log.info("recorded the step of one token in %.2f s", time.perf_counter() - began)
        return recorded, logits, key


def record(model: StllmForConditionalGeneration, cache: GrowingCache) -> Recorded:
    """Record the step for the rooms of a cache.

    Args:
        model: The model; see `can_be_recorded`.
        cache: What it has read, prepared for two positions at least.

    Raises:
        RuntimeError: If the step does what cannot be recorded.
    """
    step, room = OneToken(model, cache, compiled=model in _compiled), cache.room
    assert room is not None
    # Not the position of the token that is to try it: one that stayed in the recording would go unnoticed.
    step.position.fill_(cache.get_seq_length() + 1)
    weights = list[Tensor](model.language_model.parameters())
    return Recorded(
        token=step.token,
        position=step.position,
        replay=RECORDERS[room.device.type](step.run, room.device),
        model=model,
        weights=weights,
        addresses=[weight.data_ptr() for weight in weights],
        room=weakref.ref(room),
    )


@torch.no_grad()
def compile_step(model: StllmForConditionalGeneration) -> None:
    """Compile the layers that a recorded step reads a token with: faster writing, for a wait before it.

    Args:
        model: The model, in evaluation mode and where it is to stay.

    Raises:
        UsageError: If steps are not recorded on its device, or not of its kind of language model, or if its
            layers cannot be compiled.
    """
    if model.device.type not in RECORDERS:
        what = f"compiling serves writing on a GPU, and the model is on '{model.device.type}'"
        raise UsageError(what, where="compiled", fix="leave it out, or choose another device")
    if not can_be_recorded(model):
        what = f"the step of this language model ({model.config.text_config.model_type}) cannot be compiled"
        raise UsageError(what, where="compiled", fix="leave it out")
    began, cache = time.perf_counter(), GrowingCache()
    embeds = model.get_input_embeddings()(torch.zeros(1, 1, dtype=torch.long, device=model.device))
    model.language_model.get_decoder()(inputs_embeds=embeds, past_key_values=cache, use_cache=True)
    cache.prepare(STEP)
    try:
        OneToken(model, cache, compiled=True).run()
    except RuntimeError as error:
        what = f"the language model cannot be compiled here: {_first_line(error)}"
        raise UsageError(what, where="compiled", fix="leave it out") from error
    _compiled.add(model)
    log.info("compiled the step of one token in %.1f s", time.perf_counter() - began)


def _last_key(cache: GrowingCache) -> Tensor:
    """Key of the last position in the last layer, [1, heads, dim]: the position is in it, and every layer."""
    keys = cache.layers[-1].keys
    assert keys is not None
    return keys[..., -1, :]


def _agree(model: StllmForConditionalGeneration, recorded: list[Tensor], ordinary: list[Tensor]) -> bool:
    """Whether two ways to read a token give the same but for rounding; if not, say so."""
    apart = torch.stack(
        [(one - other).std() / other.std() for one, other in zip(recorded, ordinary, strict=True)]
    )
    log.info("it differs from the ordinary step by %s of the spread", apart.tolist())
    if (apart <= ROUNDING[model.get_input_embeddings().weight.dtype]).all():  # type: ignore[index]
        return True
    _refuse(model, f"it differs from the ordinary one by {float(apart.max()):.2g} of the spread")
    return False


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _refuse(model: StllmForConditionalGeneration, reason: str) -> None:
    _refused.add(model)
    log.warning("the step of one token cannot be recorded (%s); writing goes on without, only slower", reason)


def _cuda_graph(run: Run, device: torch.device) -> Run:
    """Record as a CUDA graph."""
    stream, graph = torch.cuda.Stream(device), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        # Ending a recording that failed does not put the stream back; this outer context does.
        with torch.cuda.stream(stream):
            run()  # what libraries make on first use must not become part of the graph
            # Other threads may go on; what they do is not recorded.
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                output = run()
    except RuntimeError:
        # The device's generator would believe that recording goes on, and refuse to draw.
        generator = torch.cuda.default_generators[device.index]
        generator.graphsafe_set_state(generator.clone_state())
        raise
    finally:
        torch.cuda.current_stream(device).wait_stream(stream)

    def replay() -> Tensor:
        graph.replay()
        return output

    return replay


RECORDERS: dict[str, Callable[[Run, torch.device], Run]] = {"cuda": _cuda_graph}
"""How operations are recorded, by the kind of device; on others they are not."""
