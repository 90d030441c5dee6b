import pytest
import torch

from objectives.errors import InputError
from tasks.models.actor_critic import ActorCritic
from tasks.models.feedforward import cnn, linear, mlp
from tasks.models.resnet import resnet18
from tasks.models.transformer import PADDING, PooledTransformer, Transformer, transformer


@pytest.mark.parametrize("make", [linear, mlp, cnn, resnet18], ids=lambda make: make.__name__)
def test_feed_forward_models_are_a_head_on_features(make: type) -> None:
    model = make((1, 8, 8), 3).eval()
    inputs = torch.randn(5, 1, 8, 8)
    assert model(inputs).shape == (5, 3)
    torch.testing.assert_close(model(inputs), model.head(model.features(inputs)))


def test_width_and_depth() -> None:
    sizes = [m.out_features for m in mlp((4,), 2, width=7, depth=3).modules() if hasattr(m, "bias")]
    assert sizes == [7, 7, 7, 2]
    widths = [
        m.out_channels
        for m in cnn((3, 8, 8), 2, width=4).modules()
        if hasattr(m, "stride") and hasattr(m, "out_channels")
    ]
    assert widths == [4, 8]


def test_resnet18_is_the_published_one() -> None:
    model = resnet18((3, 32, 32), 10)
    assert sum(p.numel() for p in model.parameters()) == 11_173_962
    stages = model.body[:-2](torch.randn(2, 3, 32, 32))
    assert stages.shape == (2, 512, 4, 4)  # 32 pixels are halved three times, not five


def test_the_transformer_does_not_look_ahead() -> None:
    model = Transformer(num_tokens=6, context=9, num_outputs=6, width=16, depth=2, heads=2).eval()
    tokens = torch.randint(6, (2, 9))
    changed = tokens.clone()
    changed[:, 5] = (tokens[:, 5] + 1) % 6
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(after[:, :5], before[:, :5])
    assert not torch.isclose(after[:, 5:], before[:, 5:]).all(dim=-1).any()
    torch.testing.assert_close(model(tokens[:, :4]), before[:, :4])  # nor needs what follows


def test_the_transformer_knows_positions() -> None:
    model = Transformer(num_tokens=3, context=5, num_outputs=3, width=8, depth=1, heads=2).eval()
    scores = model(torch.zeros(1, 5, dtype=torch.long))[0]
    assert not torch.allclose(scores[0], scores[4])


def pooled(num_tokens: int = 9, context: int = 8) -> PooledTransformer:
    return PooledTransformer(num_tokens, context, 3, width=16, depth=2, heads=2).eval()


def test_padding_changes_nothing() -> None:
    model, tokens = pooled(), torch.randint(1, 9, (4, 5))
    padded = torch.cat([tokens, torch.zeros(4, 3, dtype=torch.long)], dim=1)
    torch.testing.assert_close(model(padded), model(tokens))
    with torch.no_grad():
        model.tokens.weight[PADDING] = 100.0
        model.positions.weight[5:] = -100.0
    torch.testing.assert_close(model(padded), model(tokens))


def test_pooled_features_are_the_mean_over_all_positions() -> None:
    model, tokens = pooled(), torch.randint(1, 9, (4, 5))
    mask = torch.ones(4, 1, 1, 5, dtype=torch.bool)
    torch.testing.assert_close(model.features(tokens), model.states(tokens, mask).mean(dim=1))
    torch.testing.assert_close(model(tokens), model.head(model.features(tokens)))
    changed = tokens.clone()
    changed[:, 4] = tokens[:, 4] % 8 + 1
    first = model.states(tokens, mask)[:, 0] - model.states(changed, mask)[:, 0]
    assert (first.abs().amax(dim=-1) > 1e-6).all()  # the first position sees the last


def test_the_task_decides_which_transformer_it_is() -> None:
    sizes = {"num_tokens": 9, "context": 8, "num_outputs": 3, "width": 16, "heads": 2}
    tokens = torch.randint(1, 9, (4, 5))
    assert transformer(**sizes, causal=True)(tokens).shape == (4, 5, 3)
    assert transformer(**sizes, causal=False)(tokens).shape == (4, 3)


def test_heads_have_to_divide_the_width() -> None:
    with pytest.raises(InputError, match="heads=3 does not divide width=16"):
        Transformer(9, 8, 3, width=16, heads=3)


def test_the_policy_starts_undecided_and_the_critic_apart() -> None:
    model = ActorCritic((4,), 3, width=16)
    scores, values = model(torch.randn(50, 4))
    assert (scores.shape, values.shape) == ((50, 3), (50,))
    assert scores.softmax(dim=-1).sub(1 / 3).abs().max() < 0.02
    assert values.std() > 0.1
    values.sum().backward()
    assert all(p.grad is None for p in model.actor.parameters())
