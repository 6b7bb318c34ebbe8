"""Control features: whose content an item gets, and what noise keeps of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmssl_cli.data.controls import control_features


def case() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(1)
    visual = torch.randn(400, 3, generator=random) * torch.tensor([1.0, 5.0, 0.1]) + torch.tensor([0.0, 7.0, -2.0])
    text = torch.arange(800.0).reshape(400, 2)
    present = {"visual": torch.arange(400) % 4 > 0, "text": torch.ones(400, dtype=torch.bool)}
    return {"visual": visual * present["visual"].unsqueeze(1), "text": text}, present


def test_shuffled_gives_each_item_the_whole_content_of_another() -> None:
    features, present = case()
    shuffled, there = control_features(features, present, "shuffled", seed=3)
    source = (shuffled["text"][:, 0] / 2).long()  # the row tells the item it came from
    assert sorted(source.tolist()) == list(range(400)) and int((source == torch.arange(400)).sum()) < 10
    np.testing.assert_array_equal(shuffled["visual"], features["visual"][source])
    np.testing.assert_array_equal(there["visual"], present["visual"][source])


def test_noise_has_the_moments_of_each_column_over_the_present_items() -> None:
    features, present = case()
    noise, there = control_features(features, present, "noise", seed=3)
    rows, drawn = (values["visual"][present["visual"]].double() for values in (features, noise))
    np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=5 * float(rows.std(0).max()) / 300**0.5)
    np.testing.assert_allclose(drawn.std(0), rows.std(0), rtol=0.2)
    assert not noise["visual"][~present["visual"]].any() and there is present
    assert abs(np.corrcoef(drawn[:, 1], rows[:, 1])[0, 1]) < 0.2  # nothing of an item's own content is left


def test_noise_deals_tokens_out_anew() -> None:
    tokens = torch.tensor([[1, 2, 3], [4, 5, 0], [6, 0, 0], [7, 8, 9]])
    present = {"text": torch.ones(4, dtype=torch.bool)}
    dealt = control_features({"text": tokens}, present, "noise", seed=0)[0]["text"]
    assert sorted(dealt.flatten().tolist()) == sorted(tokens.flatten().tolist())
    assert ((dealt == 0) == (tokens == 0)).all() and (dealt != tokens).any()


@pytest.mark.parametrize("control", ["shuffled", "noise"])
def test_a_seed_gives_the_same_controls_and_another_others(control: str) -> None:
    one, again, other = (control_features(*case(), control, seed)[0]["visual"] for seed in (5, 5, 6))
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_no_control_leaves_everything_as_it_is() -> None:
    features, present = case()
    assert control_features(features, present, "none", 1) == (features, present)
