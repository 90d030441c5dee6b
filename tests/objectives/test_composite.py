from functools import partial
from typing import Any

import pytest
import torch
from cases import FACTS, Case, labelled, preference, views

from objectives.classification import cross_entropy
from objectives.composite import Weighted
from objectives.contrastive import info_nce
from objectives.errors import InputError
from objectives.noise_robust import ALDR, ldr
from objectives.objective import Objective, bind, check
from objectives.preference import dpo, sft

CASES = {
    "weighted": Case(
        labelled,
        ("logits",),
        settings=({}, {"weights": {"a": 2.0, "b": 0.5}}),
        lacks={
            "golden": "its terms have theirs",
            "stackable": "its terms are bound before it",
            "defaults": "it has no terms of its own",
        },
        on_task={
            "cartpole": ("objective@terms.a=ppo", "objective@terms.b=ppo"),
            "diabetes": ("objective@terms.a=mse", "objective@terms.b=mse"),
            "friedman": ("objective@terms.a=mse", "objective@terms.b=huber"),
            "linear": ("objective@terms.a=mse", "objective@terms.b=huber"),
            "gym": ("objective@terms.a=ppo", "objective@terms.b=reinforce"),
            "pairs": ("objective@terms.a=dpo", "objective@terms.b=dpo"),
        },
    ),
}


def weighted(weights: dict[str, float], **terms: "partial[Any]") -> Objective:
    return bind(check(partial(Weighted, terms=terms, weights=weights)), FACTS)


def test_by_hand() -> None:
    # equal scores of 5 classes: cross-entropy log 5, ldr 0 + margin term: log((1 + 4 e) / 5)
    record = labelled()
    record.logits.zero_()
    objective = weighted({"a": 3.0, "b": 0.5}, a=partial(cross_entropy), b=partial(ldr, margin=1.0))
    values, metrics = objective(record)
    ce = torch.tensor(5.0, dtype=torch.float64).log()
    lead = torch.tensor((1 + 4 * torch.e) / 5, dtype=torch.float64).log()
    torch.testing.assert_close(values, (3 * ce + 0.5 * lead).expand(8))
    torch.testing.assert_close(metrics["a_loss"], ce)
    torch.testing.assert_close(metrics["b_loss"], lead)


def test_values_of_other_things_are_averaged_first() -> None:
    record = preference()
    chosen = record.chosen_logprobs[record.chosen_mask]  # of tokens
    alone, _ = bind(check(partial(dpo)), {})(record)  # of pairs
    loss, metrics = weighted({"nll": 0.5}, dpo=partial(dpo), nll=partial(sft))(record)
    torch.testing.assert_close(loss, alone.mean() - 0.5 * chosen.mean())
    torch.testing.assert_close(metrics["nll_loss"], -chosen.mean())


def test_one_term_of_weight_one_is_that_term() -> None:
    record = labelled()
    values, _ = weighted({}, only=partial(ldr, tau=0.4))(record)  # no weight given: 1
    assert torch.equal(values, ldr(record.logits, record.labels, tau=0.4))


def test_order_of_terms_does_not_matter() -> None:
    record, weights = labelled(), {"a": 0.3, "b": 2.0}
    a, b = partial(cross_entropy), partial(ldr, tau=0.2)
    values, _ = weighted(weights, a=a, b=b)(record)
    torch.testing.assert_close(weighted(weights, b=b, a=a)(record)[0], values)


def test_a_term_of_weight_zero_does_not_count() -> None:
    record = labelled()
    values, _ = weighted({"b": 0}, a=partial(cross_entropy), b=partial(ldr))(record)
    assert torch.equal(values, cross_entropy(record.logits, record.labels))


def test_terms_keep_their_state_and_their_metrics() -> None:
    objective = weighted({}, robust=partial(ALDR), plain=partial(cross_entropy)).double()
    _, metrics = objective(labelled())
    (temperatures,) = objective.state_dict().values()
    assert temperatures.shape == (12,)
    seen = labelled().index
    torch.testing.assert_close(metrics["robust_temperature"], temperatures[seen].mean())
    assert objective.eval()(labelled())[1].keys() == metrics.keys()


def test_fields_are_those_of_all_terms() -> None:
    objective = weighted({}, plain=partial(cross_entropy), robust=partial(ALDR))
    assert objective.fields == ("logits", "labels", "index")


def test_a_coupled_term_couples_the_sum() -> None:
    coupled = weighted({}, a=partial(info_nce), b=partial(info_nce, tau=1))
    assert coupled.traits.coupled == "the other examples of the batch are the negatives"
    assert not weighted({}, a=partial(cross_entropy)).traits.coupled
    values, metrics = coupled(views())
    assert values.shape == (12,)
    assert "a_contrastive_accuracy" in metrics


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"c": 1.0}, r"weights\.c names no term \(terms: a, b\)"),
        ({"a": -1.0}, "is outside the domain of Weighted: .*greater than or equal to 0"),
        ({"a": "much"}, "=much is outside the domain of Weighted"),
    ],
)
def test_bad_weights_are_refused(weights: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        weighted(weights, a=partial(cross_entropy), b=partial(ldr))


def test_bad_terms_are_refused() -> None:
    with pytest.raises(InputError, match="tau=0 is outside the domain of ldr"):
        weighted({}, a=partial(ldr, tau=0))
    with pytest.raises(InputError, match="cross_entropy has no hyperparameter 'tau'"):
        weighted({}, a=partial(cross_entropy, tau=1.0))
