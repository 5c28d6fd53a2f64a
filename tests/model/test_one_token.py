"""A recorded step gives what reading token by token gives, and where it cannot, nobody is harmed."""

import logging
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.fx.experimental.proxy_tensor import make_fx
from transformers import AutoConfig

from st_llm_cli.errors import UsageError
from st_llm_cli.model import compiled_layers, one_token
from st_llm_cli.model.decoding import PrefixCache
from st_llm_cli.model.generation import Generation
from st_llm_cli.model.growing_cache import STEP
from st_llm_cli.model.one_token import (
    LANGUAGE_MODELS,
    OneToken,
    Run,
    can_be_recorded,
    compile_step,
)
from st_llm_cli.model.session import Session
from st_llm_cli.model.st_llm import StllmForConditionalGeneration
from tests.micro import WORDS, micro_config, micro_frames, micro_model

torch.set_num_threads(1)

SIZES = (
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "num_hidden_layers",
    "vocab_size",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
)


def model_of(kind: str = "llama", **settings: Any) -> StllmForConditionalGeneration:
    """A micro model around a language model of a kind."""
    given = micro_config().text_config
    sizes = {name: getattr(given, name) for name in SIZES}
    windows = {"sliding_window": None} if kind in ("mistral", "phi3") else {}
    config = AutoConfig.for_model(kind, **{**sizes, **windows, "max_position_embeddings": 4096, **settings})
    return micro_model(text_config=config)[0]


def ids_of(length: int, seed: int = 0) -> list[int]:
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(5, len(WORDS), (length,), generator=draws).tolist()


def begun(model: StllmForConditionalGeneration, ids: list[int]) -> PrefixCache:
    """A cache of a sequence."""
    return go_over(model, PrefixCache(), ids)


def go_over(model: StllmForConditionalGeneration, prefix: PrefixCache, ids: list[int]) -> PrefixCache:
    """Let a cache go over to another sequence."""
    shared = prefix.begin(ids)
    prefix.read(model, model.get_input_embeddings()(torch.tensor([ids[shared:]])).detach(), ids[shared:])
    return prefix


def read_all(model: StllmForConditionalGeneration, prefix: PrefixCache, ids: list[int]) -> Tensor:
    """Logits after each of some tokens, [tokens, vocabulary]."""
    return torch.cat([prefix.read_token(model, token) for token in ids])


@pytest.fixture
def recordings(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Record on the CPU, where a replay is the step itself, in one place; what was recorded so far."""
    recorded: list[Run] = []

    def record(run: Run, device: torch.device) -> Run:
        recorded.append(run)
        logits = run()
        return lambda: logits.copy_(run())

    monkeypatch.setitem(one_token.RECORDERS, "cpu", record)
    monkeypatch.setattr(one_token, "_refused", type(one_token._refused)())
    return recorded


# ---- the step itself


def rooms_of(prefix: PrefixCache) -> list[Tensor]:
    return [room for layer in prefix.cache.layers for room in layer.rooms]


@cache
@torch.no_grad()
def operations_of(kind: str) -> tuple[StllmForConditionalGeneration, torch.fx.GraphModule]:
    """A model, and a step's operations alone: for other tokens, positions and rooms of the same size."""
    model = model_of(kind)
    prefix = begun(model, ids_of(20))
    step = OneToken(model, prefix.cache)

    def run(token: Tensor, position: Tensor, *rooms: Tensor) -> Tensor:
        step.token, step.position = token, position
        for layer, keys, values in zip(step._cache.layers, rooms[::2], rooms[1::2], strict=True):
            layer.keys, layer.values, layer._position = keys, values, position
        return step.run()

    step.position.fill_(len(prefix.places))
    traced: torch.fx.GraphModule = make_fx(run)(step.token, step.position, *rooms_of(prefix))
    return model, traced


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
@torch.no_grad()
def test_the_operations_of_a_step_are_the_ordinary_reading_of_each_language_model(kind: str) -> None:
    model, operations = operations_of(kind)
    assert can_be_recorded(model)
    for length in (1, 9, STEP - 9):
        prefix = begun(model, ids_of(length))
        prefix.cache.prepare(8)
        for token in ids_of(8, seed=1):
            position = len(prefix.places)
            logits = operations(torch.tensor([[token]]), torch.tensor([position]), *rooms_of(prefix))
            read = [room[..., position, :].clone() for room in rooms_of(prefix)]
            torch.testing.assert_close(logits, prefix.read_token(model, token), rtol=1e-4, atol=1e-4)
            for got, room in zip(read, rooms_of(prefix), strict=True):
                torch.testing.assert_close(got, room[..., position, :], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
@torch.no_grad()
def test_a_step_reads_nothing_that_could_be_gone_and_waits_for_no_number(kind: str) -> None:
    model, operations = operations_of(kind)
    stays = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    for node in operations.graph.nodes:
        if node.op == "get_attr":
            tensor = getattr(operations, node.target)
            assert tensor.ndim == 0 or tensor.data_ptr() in stays, node
        assert not any(name in str(node.target) for name in ("_local_scalar_dense", "nonzero")), node


@torch.no_grad()
def test_what_stands_behind_the_position_has_no_say() -> None:
    model = model_of()
    prefix = begun(model, ids_of(20))
    prefix.cache.prepare(1)
    step = OneToken(model, prefix.cache)
    step.position.fill_(7)
    expected = begun(model, [*ids_of(20)[:7], 0]).cache.layers[1].keys[..., 7, :]
    step.run()
    torch.testing.assert_close(prefix.cache.layers[1].rooms[0][..., 7, :], expected, rtol=1e-4, atol=1e-4)


def test_a_step_does_not_know_a_length() -> None:
    model = model_of()
    step = OneToken(model, begun(model, ids_of(4)).cache)
    with pytest.raises(NotImplementedError, match="asks for a length"):
        step._cache.get_seq_length()
    with pytest.raises(NotImplementedError, match="asks for a length"):
        step._cache.get_mask_sizes(1, 0)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("mistral", {"sliding_window": 64}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1}),
        ("llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}}),
        ("gpt_neox", {}),
    ],
)
def test_no_step_is_recorded_of_windows_changing_rotations_and_unknown_kinds(
    kind: str, settings: dict[str, Any]
) -> None:
    assert not can_be_recorded(model_of(kind, **settings))


def test_no_step_is_recorded_in_training_or_with_a_kernel_without_masks() -> None:
    model = model_of()
    assert not can_be_recorded(model.train())
    model.eval().language_model.config._attn_implementation = "flash_attention_2"
    assert not can_be_recorded(model)


# ---- when it is recorded


def test_nothing_is_recorded_on_a_cpu() -> None:
    assert set(one_token.RECORDERS) == {"cuda"}
    model = model_of()
    prefix = begun(model, ids_of(9))
    read_all(model, prefix, ids_of(40, seed=1))
    assert prefix.recorder.recorded is None


def test_a_step_is_recorded_once_it_pays(recordings: list[Run]) -> None:
    model = model_of()
    prefix = begun(model, ids_of(9))
    read_all(model, prefix, ids_of(one_token.PATIENCE, seed=1))
    assert not recordings
    read_all(model, prefix, ids_of(100, seed=2))
    assert len(recordings) == 1


@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_tokens_are_read_alike_over_the_edges_of_rooms(kind: str, recordings: list[Run]) -> None:
    model = model_of(kind)
    ids, new = ids_of(STEP - 20), ids_of(STEP + 50, seed=1)
    prefix = begun(model, ids)
    logits = read_all(model, prefix, new)
    assert len(recordings) == 2, "once for each room that was stayed in"
    assert prefix.recorder.recorded is not None
    assert prefix.cache.get_seq_length() == len(prefix.places) == len(ids) + len(new)
    one_token.RECORDERS.pop("cpu")
    torch.testing.assert_close(logits, read_all(model, begun(model, ids), new), rtol=1e-3, atol=1e-3)


def test_a_recording_outlives_what_is_taken_back_and_short_answers_share_it(recordings: list[Run]) -> None:
    model = model_of()
    said = ids_of(30)
    prefix = begun(model, said)
    for turn in range(20):
        read_all(model, prefix, ids_of(4, seed=turn))
        said = prefix.places[: -(turn % 3) or None] + ids_of(3, seed=100 + turn)  # some of it taken back
        expected = begun(model, said)
        go_over(model, prefix, said)
        for token in ids_of(2, seed=200 + turn):
            torch.testing.assert_close(
                prefix.read_token(model, token), expected.read_token(model, token), rtol=1e-3, atol=1e-3
            )
        said = prefix.places
    assert len(recordings) == 1
    assert prefix.recorder.recorded is not None


def test_a_new_conversation_is_recorded_anew(recordings: list[Run]) -> None:
    model = model_of()
    prefix = begun(model, ids_of(9))
    read_all(model, prefix, ids_of(30, seed=1))
    go_over(model, prefix, [4, *ids_of(9)])  # nothing of it was read: the rooms are new
    new = ids_of(30, seed=2)
    logits = read_all(model, prefix, new)
    assert len(recordings) == 2
    one_token.RECORDERS.pop("cpu")
    torch.testing.assert_close(
        logits, read_all(model, begun(model, [4, *ids_of(9)]), new), rtol=1e-3, atol=1e-3
    )


def test_a_room_that_was_left_is_not_kept(recordings: list[Run]) -> None:
    model = model_of()
    prefix = begun(model, ids_of(9))
    read_all(model, prefix, ids_of(30, seed=1))
    recorded = prefix.recorder.recorded
    assert recorded is not None
    assert recorded.room() is not None
    recordings.clear()  # a graph holds no tensors, this stand-in does
    object.__setattr__(recorded, "replay", None)
    go_over(model, prefix, prefix.places + ids_of(600, seed=2))
    assert recorded.room() is None


def test_a_model_that_was_moved_is_not_read_where_it_was(recordings: list[Run]) -> None:
    model = model_of()
    prefix = begun(model, ids_of(9))
    read_all(model, prefix, ids_of(30, seed=1))
    weight = next(model.language_model.parameters())
    weight.data = weight.data.clone()
    read_all(model, prefix, [7])
    assert prefix.recorder.recorded is None


def test_numbers_left_in_new_memory_do_no_harm(
    recordings: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = model_of()
    monkeypatch.setattr(torch, "empty", lambda size, **kind: torch.full(size, torch.nan, **kind))
    prefix = begun(model, ids_of(9))
    assert read_all(model, prefix, ids_of(60, seed=1)).isfinite().all()
    assert prefix.recorder.recorded is not None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_not_taken_for_a_mistake(dtype: torch.dtype, recordings: list[Run]) -> None:
    model = model_of().to(dtype)
    prefix = begun(model, ids_of(9))
    read_all(model, prefix, ids_of(30, seed=1))
    assert prefix.recorder.recorded is not None


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_conversation_is_the_same_with_a_recorded_step(
    temperature: float, monkeypatch: pytest.MonkeyPatch, recordings: list[Run]
) -> None:
    monkeypatch.setattr(one_token, "PATIENCE", 2)
    model, tokenizers = micro_model(eos_token_id=None)
    generation = Generation(max_new_tokens=20, temperature=temperature, seed=3)

    def conversation() -> list[tuple[int, ...]]:
        session = Session(model, tokenizers)
        session.show("a.mp4", frames=micro_frames(1))
        for number, question in enumerate(("What moves first?", "Tell me more.", "How many objects?")):
            list(session.ask(question, generation))
            if number == 1:
                session.undo()
        return [turn.ids for turn in session.turns]

    recorded = conversation()
    assert len(recordings) == 1
    one_token.RECORDERS.pop("cpu")
    assert recorded == conversation()


# ---- when it cannot be


def fails(run: Run, device: torch.device) -> Run:
    raise RuntimeError("operation not permitted when stream is capturing\nand more")


def stays_as_it_was(run: Run, device: torch.device) -> Run:
    logits = run()
    return lambda: logits


def stays_where_it_was(run: Run, device: torch.device) -> Run:
    position: Tensor = run.__self__.position  # type: ignore[attr-defined]
    was = position.clone()

    def replay() -> Tensor:
        position.copy_(was)
        return run()

    return replay


def writes_elsewhere(run: Run, device: torch.device) -> Run:
    def replay() -> Tensor:
        position: Tensor = run.__self__.position  # type: ignore[attr-defined]
        position += 1
        return run()

    return replay


def is_no_number(run: Run, device: torch.device) -> Run:
    return lambda: run() * torch.nan


@pytest.mark.parametrize(
    "record", [fails, stays_as_it_was, stays_where_it_was, writes_elsewhere, is_no_number]
)
def test_a_recording_that_fails_or_is_wrong_is_told_once_and_not_used(
    record: Callable[[Run, torch.device], Run],
    recordings: list[Run],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    model, ids, new = model_of(), ids_of(9), ids_of(60, seed=1)
    with monkeypatch.context() as without:
        without.delitem(one_token.RECORDERS, "cpu")
        expected = read_all(model, begun(model, ids), new)
    monkeypatch.setitem(one_token.RECORDERS, "cpu", record)
    for _ in range(2):
        prefix = begun(model, ids)
        torch.testing.assert_close(read_all(model, prefix, new), expected, rtol=1e-4, atol=1e-4)
        assert prefix.recorder.recorded is None
    (warning,) = [told for told in caplog.records if told.levelno >= logging.WARNING]
    assert "cannot be recorded" in warning.message
    assert "\n" not in warning.message
    assert ("when stream is capturing" if record is fails else "differs") in warning.message


# ---- compiled


@pytest.fixture
def compiling(monkeypatch: pytest.MonkeyPatch, recordings: list[Run]) -> None:
    """Compile to the same operations, on the CPU too, and record there."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(compiled_layers, "BACKEND", "eager")
    monkeypatch.setattr(one_token, "_compiled", type(one_token._compiled)())


@pytest.mark.parametrize("kind", LANGUAGE_MODELS)
def test_one_compilation_serves_all_layers_and_rooms_of_any_size(kind: str, compiling: None) -> None:
    model = model_of(kind, num_hidden_layers=5)
    compile_step(model)
    new = ids_of(30, seed=1)
    begins = [ids_of(length) for length in (20, STEP - 10, 3 * STEP)]
    compiled = [read_all(model, begun(model, ids), new) for ids in begins]
    # Of SmolLM3's layers, some turn no keys.
    assert counters["stats"]["unique_graphs"] == (2 if kind == "smollm3" else 1)
    one_token.RECORDERS.pop("cpu")
    for ids, logits in zip(begins, compiled, strict=True):
        torch.testing.assert_close(logits, read_all(model, begun(model, ids), new), rtol=1e-3, atol=1e-3)
    assert not any("forward" in layer.__dict__ for layer in model.language_model.get_decoder().layers)


def test_only_models_that_were_compiled_read_so(compiling: None) -> None:
    compile_step(model_of())
    graphs = counters["stats"]["unique_graphs"]
    model = model_of(num_hidden_layers=3, intermediate_size=24)
    prefix = begun(model, ids_of(20))
    read_all(model, prefix, ids_of(30, seed=1))
    assert prefix.recorder.recorded is not None
    assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.slow
def test_inductor_compiles_a_step(monkeypatch: pytest.MonkeyPatch, compiling: None) -> None:
    monkeypatch.setattr(compiled_layers, "BACKEND", "inductor")
    model = model_of()
    compile_step(model)
    new = ids_of(30, seed=1)
    logits = read_all(model, begun(model, ids_of(20)), new)
    one_token.RECORDERS.pop("cpu")
    torch.testing.assert_close(logits, read_all(model, begun(model, ids_of(20)), new), rtol=1e-3, atol=1e-3)


def test_what_cannot_be_compiled_is_refused_in_words(
    monkeypatch: pytest.MonkeyPatch, recordings: list[Run]
) -> None:
    with pytest.raises(UsageError, match=r"this language model \(gpt_neox\) cannot be compiled"):
        compile_step(model_of("gpt_neox"))
    monkeypatch.setattr(compiled_layers, "_compiled", lambda backend: cannot_compile)
    model = model_of()
    with pytest.raises(UsageError, match=r"cannot be compiled here: no compiler was found \(leave it out\)$"):
        compile_step(model)
    assert not any("forward" in layer.__dict__ for layer in model.language_model.get_decoder().layers)
    one_token.RECORDERS.pop("cpu")
    with pytest.raises(UsageError, match="serves writing on a GPU, and the model is on 'cpu'"):
        compile_step(model)


def cannot_compile(*given: Any, **named: Any) -> None:
    raise RuntimeError("no compiler was found\nand many lines more")


# ---- CUDA, pretended


class Cuda:
    """What is called of `torch.cuda`, in order."""

    def __init__(self, patch: pytest.MonkeyPatch, fails: bool) -> None:
        self.calls: list[str] = []
        self.fails = fails
        for name in ("Stream", "CUDAGraph", "current_stream", "stream", "graph"):
            patch.setattr(torch.cuda, name, getattr(self, name))
        patch.setattr(torch.cuda, "default_generators", {None: self})

    def Stream(self, device: torch.device) -> "Cuda":
        return self

    def CUDAGraph(self) -> "Cuda":
        return self

    def current_stream(self, device: torch.device) -> "Cuda":
        return self

    def wait_stream(self, other: "Cuda") -> None:
        self.calls.append("wait")

    def stream(self, stream: "Cuda") -> Any:
        return nullcontext()

    def graph(self, graph: "Cuda", *, stream: "Cuda", capture_error_mode: str) -> "Cuda":
        assert capture_error_mode == "thread_local"
        return self

    def __enter__(self) -> None:
        self.calls.append("begin")

    def __exit__(self, *error: object) -> None:
        self.calls.append("end")
        if self.fails:
            raise RuntimeError("operation failed due to a previous error during capture")

    def replay(self) -> None:
        self.calls.append("replay")

    def clone_state(self) -> str:
        return "a state in which nothing is recorded"

    def graphsafe_set_state(self, state: str) -> None:
        self.calls.append(state)


def test_a_graph_is_recorded_after_one_run_that_is_not_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(monkeypatch, fails=False)

    def run() -> Tensor:
        cuda.calls.append("run")
        return torch.ones(1)

    replay = one_token._cuda_graph(run, torch.device("cpu"))
    assert cuda.calls == ["wait", "run", "begin", "run", "end", "wait"]
    assert replay() is replay()
    assert cuda.calls[6:] == ["replay", "replay"]


def read_all_with(monkeypatch: pytest.MonkeyPatch, *, fails: bool) -> Cuda:
    """Write with a pretended recorder of CUDA graphs: the answer is right whatever it does."""
    model, new = model_of(), ids_of(40, seed=1)
    expected = read_all(model, begun(model, ids_of(9)), new)
    cuda = Cuda(monkeypatch, fails=fails)
    monkeypatch.setitem(one_token.RECORDERS, "cpu", one_token._cuda_graph)
    torch.testing.assert_close(read_all(model, begun(model, ids_of(9)), new), expected, rtol=1e-4, atol=1e-4)
    return cuda


def test_a_graph_that_cannot_be_recorded_leaves_the_device_able_to_draw_and_the_answer_right(
    recordings: list[Run], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda = read_all_with(monkeypatch, fails=True)
    assert cuda.calls == ["wait", "begin", "end", "a state in which nothing is recorded", "wait"]
    assert "previous error during capture" in caplog.text


def test_a_graph_that_gives_something_else_is_not_used(
    recordings: list[Run], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pretended replays do nothing, so that what they give is what was recorded, of another position."""
    cuda = read_all_with(monkeypatch, fails=False)
    assert cuda.calls[-1] == "replay"
    assert cuda.calls.count("replay") == 1
    assert "differs" in caplog.text
