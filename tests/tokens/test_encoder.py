import torch

from st_llm_cli.tokens.encoder import encoder_identity

WEIGHTS = {"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.float16)}


def test_identity_does_not_depend_on_order_or_layout() -> None:
    again = {"b": WEIGHTS["b"].clone(), "a": torch.ones(3, 2).T}
    assert encoder_identity(WEIGHTS.items(), {"depth": 3}) == encoder_identity(again.items(), {"depth": 3})


def test_one_changed_weight_is_another_encoder() -> None:
    changed = {**WEIGHTS, "a": WEIGHTS["a"] + torch.eye(2, 3) * 1e-6}
    assert encoder_identity(WEIGHTS.items(), {}) != encoder_identity(changed.items(), {})


def test_name_shape_type_and_settings_count() -> None:
    plain = encoder_identity(WEIGHTS.items(), {"eps": 1e-5})
    others = [
        encoder_identity([("c", WEIGHTS["a"]), ("b", WEIGHTS["b"])], {"eps": 1e-5}),
        encoder_identity([("a", WEIGHTS["a"].view(3, 2)), ("b", WEIGHTS["b"])], {"eps": 1e-5}),
        encoder_identity([("a", WEIGHTS["a"]), ("b", WEIGHTS["b"].bfloat16())], {"eps": 1e-5}),
        encoder_identity(WEIGHTS.items(), {"eps": 1e-6}),
    ]
    assert plain not in others
