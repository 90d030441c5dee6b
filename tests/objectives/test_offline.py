import pytest
import torch
from cases import Case, guided_transitions, transitions
from torch import Tensor

from objectives.offline import a2pr, td3_bc

LEARNED = ("values_1", "values_2", "policy_actions", "policy_values")
ON_TASK = {"offline": ("delay=1", "polyak=0.05")}
FALL = "the mean of the policy's scaled values is alpha or -alpha, whatever the policy"

CASES = {
    "td3_bc": Case(
        transitions,
        LEARNED,
        settings=({}, {"alpha": 1.0}),
        lacks={"fall": FALL},
        on_task=ON_TASK,
    ),
    "a2pr": Case(
        guided_transitions,
        (
            *LEARNED,
            "generated_actions",
            "state_values",
            "reconstructions",
            "latent_means",
            "latent_stds",
        ),
        settings=(
            {},
            {"threshold": 0.5, "mask_weight": 0.5, "vae_weight": 2.0, "kl_weight": 0.1},
        ),
        lacks={
            "fall": FALL,
            "stackable": "its threshold decides between losses and has no derivative",
        },
        on_task=ON_TASK,
    ),
}


def fields(record: object, *left_out: str) -> dict[str, Tensor]:
    return {n: v.clone() for n, v in vars(record).items() if n not in ("index", *left_out)}


def test_td3_bc_by_hand() -> None:
    # values 2 and -6: lambda = 2 / 4; critics: (1 - 3)^2 + (4 - 3)^2 = 5 and 0 + 4 = 4;
    # cloning: (0.2^2 + 0.4^2) / 2 = 0.1 and 0: 5 - 0.5 * 2 + 0.1 and 4 + 0.5 * 6
    loss, metrics = td3_bc(
        values_1=torch.tensor([1.0, 0.0]),
        values_2=torch.tensor([4.0, -2.0]),
        targets=torch.tensor([3.0, 0.0]),
        actions=torch.tensor([[0.5, 0.0], [0.1, -1.0]]),
        policy_actions=torch.tensor([[0.3, 0.4], [0.1, -1.0]]),
        policy_values=torch.tensor([2.0, -6.0]),
        alpha=2.0,
    )
    torch.testing.assert_close(loss, torch.tensor([4.1, 7.0]))
    assert metrics["value"].item() == -2
    assert metrics["distance"].item() == pytest.approx(0.05)


def test_td3_bc_is_cloning_where_values_have_no_weight() -> None:
    record = fields(transitions()) | {"targets": torch.zeros(6), "values_1": torch.zeros(6)}
    record = {n: v.double() for n, v in (record | {"values_2": torch.zeros(6)}).items()}
    loss, _ = td3_bc(**record, alpha=0.0)
    mse = torch.nn.functional.mse_loss(record["policy_actions"], record["actions"])
    torch.testing.assert_close(loss.mean(), mse)


def test_the_size_of_the_values_does_not_matter_to_the_policy() -> None:
    def gradient(size: float) -> Tensor:
        record = fields(transitions())
        leaf = record["policy_values"].requires_grad_()
        loss, _ = td3_bc(**record | {"policy_values": size * leaf})
        return torch.autograd.grad(loss.sum(), leaf)[0]

    torch.testing.assert_close(gradient(1000.0), gradient(1.0))


def test_values_of_zero_are_finite() -> None:
    record = fields(transitions()) | {"policy_values": torch.zeros(6).double().requires_grad_()}
    loss, _ = td3_bc(**record)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert record["policy_values"].grad.isfinite().all()


def state(taken: float, generated: float) -> dict[str, Tensor]:
    """A state of value 0 whose two actions have these; critics are right, latents are normal."""
    one = torch.tensor([taken], dtype=torch.float64)
    zero, two = torch.zeros_like(one), torch.zeros(1, 2, dtype=torch.float64)
    return {
        "values_1": one,
        "values_2": one,
        "targets": one,
        "actions": torch.full_like(two, 0.5),
        "policy_actions": two,
        "policy_values": zero,
        "generated_actions": torch.full_like(two, -1.0),
        "generated_values": torch.full_like(one, generated),
        "state_values": zero,
        "state_targets": zero,
        "reconstructions": torch.full_like(two, 0.5),
        "latent_means": two,
        "latent_stds": torch.ones_like(two),
    }


# the policy is at 0: a squared distance of 0.25 from the data's action, 1 from the generated one
@pytest.mark.parametrize(
    ("taken", "generated", "loss"),
    [
        (2.0, 1.0, 0.25),  # the data's is better
        (1.0, 2.0, 1.0),  # the generated one is
        (1.0, 1.0, 1.0),  # neither: the generated one
        (1.0, -1.0, 0.25),
        (-1.0, 1.0, 1.0),
        (-2.0, -1.0, 0.0),  # neither beats the state's value: the policy is free
        (0.0, -1.0, 0.0),  # the data's has to be above it ...
        (-1.0, 0.0, 1.0),  # ... the generated one may be as good
    ],
)
def test_a2pr_holds_to_the_better_action(taken: float, generated: float, loss: float) -> None:
    assert a2pr(**state(taken, generated))[0].item() == pytest.approx(loss)


def test_a2pr_asks_for_an_advantage_above_its_threshold() -> None:
    assert a2pr(**state(1.0, 0.5), threshold=0.9)[0].item() == pytest.approx(0.25)
    assert a2pr(**state(1.0, 0.5), threshold=1.1)[0].item() == 0
    assert a2pr(**state(-2.0, -1.0), threshold=-9.0)[0].item() == 1


def test_a2prs_generative_model_learns_good_actions_alone() -> None:
    # reconstruction off by 1 each: 2 * 1 where the action beats the state's value;
    # KL divergence of means 1 and deviations e: (1 + e^2 - 1 - 2) / 2 = 2.6945
    off = {"reconstructions": torch.full((1, 2), 1.5, dtype=torch.float64)}
    weights = {"mask_weight": 0.0, "vae_weight": 2.0}
    assert a2pr(**state(1.0, 0.0) | off, **weights)[0].item() == pytest.approx(2)
    assert a2pr(**state(-1.0, 0.0) | off, **weights)[0].item() == 0
    ones = torch.ones(1, 2, dtype=torch.float64)
    latent = {"latent_means": ones, "latent_stds": ones.exp()}
    loss, _ = a2pr(**state(-1.0, 0.0) | latent, mask_weight=0.0, kl_weight=0.3)
    assert loss.item() == pytest.approx(0.3 * 2.694528)


def test_a2pr_is_td3_bc_where_the_data_are_always_better() -> None:
    # and where the state's value is right, the reconstructions too, and the latents are normal
    record = fields(guided_transitions())
    record["generated_values"] = record["values_1"] - 1
    record["state_values"] = record["state_targets"] = record["values_1"] - 1
    record["reconstructions"] = record["actions"]
    record["latent_means"] = torch.zeros(6, 4, dtype=torch.float64)
    record["latent_stds"] = torch.ones(6, 4, dtype=torch.float64)
    plain = {name: record[name] for name in fields(transitions())}
    loss, metrics = a2pr(**record, alpha=1.5)
    expected, of_the_plain = td3_bc(**plain, alpha=1.5)
    torch.testing.assert_close(loss, expected)
    assert metrics["distance"] == of_the_plain["distance"]
    assert (metrics["held"], metrics["generated"]) == (1, 0)


def test_a2pr_shows_how_often_it_holds() -> None:
    rows = [state(2.0, 1.0), state(-1.0, 1.0), state(-2.0, -1.0), state(-1.0, -2.0)]
    together = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    _, metrics = a2pr(**together)
    assert (metrics["held"], metrics["generated"]) == (0.5, 0.5)


def test_comparisons_take_no_gradient() -> None:
    record = state(2.0, 1.0)
    leaves = {n: record[n].clone().requires_grad_() for n in ("generated_values", "state_values")}
    a2pr(**record | leaves | {"reconstructions": record["actions"] + 1})[0].sum().backward()
    assert leaves["generated_values"].grad is None
    assert leaves["state_values"].grad.item() == 0  # of its own error
