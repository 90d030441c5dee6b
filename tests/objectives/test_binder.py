"""The binder, objectives/objective.py: domains, facts, fields and what a module remembers."""

from functools import partial
from typing import Any

import pytest
import torch
from cases import labelled
from torch import Tensor

from objectives.classification import cross_entropy
from objectives.composite import Weighted
from objectives.contrastive import ISogCLR, info_nce
from objectives.errors import InputError
from objectives.noise_robust import ALDR, ldr
from objectives.objective import (
    Objective,
    bind,
    check,
    declare,
    fill,
    hyperparameters,
    objective_fields,
    title,
)
from objectives.policy import ppo
from objectives.preference import dpo, inpo
from objectives.regression import quantile


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            partial(ldr, tau=0),
            "tau=0 is outside the domain of ldr: input should be greater than 0.",
        ),
        (
            partial(ldr, tau=-1),
            "tau=-1 is outside the domain of ldr: input should be greater than 0.",
        ),
        (
            partial(ldr, tau="a"),
            "tau=a is outside the domain of ldr: input should be a valid number.",
        ),
        (
            partial(ldr, tau=True),
            "tau=True is outside the domain of ldr: input should be a valid number.",
        ),
        (
            partial(ldr, tau=float("nan")),
            "tau=nan is outside the domain of ldr: input should be a finite number.",
        ),
        (
            partial(ldr, margin=float("inf")),
            "margin=inf is outside the domain of ldr: input should be a finite number.",
        ),
        (
            partial(ldr, normalize="yes"),
            "normalize=yes is outside the domain of ldr: input should be a valid boolean.",
        ),
        (
            partial(ALDR, alpha=1),
            "alpha=1 is outside the domain of ALDR: input should be greater than 1.",
        ),
        (
            partial(info_nce, tau=0.0),
            "tau=0.0 is outside the domain of info_nce: input should be greater than 0.",
        ),
        (
            partial(dpo, beta=-0.1),
            "beta=-0.1 is outside the domain of dpo: input should be greater than 0.",
        ),
        (
            partial(ppo, epsilon=1),
            "epsilon=1 is outside the domain of ppo: input should be less than 1.",
        ),
        (
            partial(ppo, epsilon=0),
            "epsilon=0 is outside the domain of ppo: input should be greater than 0.",
        ),
        (
            partial(ppo, value_weight=-1),
            "value_weight=-1 is outside the domain of ppo: "
            "input should be greater than or equal to 0.",
        ),
        (
            partial(quantile, levels=[0.5, 1]),
            "levels[1]=1 is outside the domain of quantile: input should be less than 1.",
        ),
        (
            partial(quantile, levels=[0.0]),
            "levels[0]=0.0 is outside the domain of quantile: input should be greater than 0.",
        ),
        (
            partial(quantile, levels=["low"]),
            "levels[0]=low is outside the domain of quantile: input should be a valid number.",
        ),
        (
            partial(quantile, levels=0.5),
            "levels=0.5 is outside the domain of quantile: input should be a valid tuple.",
        ),
        (
            partial(inpo, tau=0.2),
            "tau=0.2 is outside the domain of inpo: it should not be above eta=0.1.",
        ),
        (
            partial(ISogCLR, tau_min=0.8),
            "tau_min=0.8 is outside the domain of ISogCLR: it should not be above tau_max=0.7.",
        ),
        (partial(ldr, temperature=1), "ldr has no hyperparameter 'temperature' (it has: tau, "),
        (partial(cross_entropy, tau=1), "cross_entropy has no hyperparameter 'tau' (it has: none)"),
        (partial(ldr, logits=1), "ldr has no hyperparameter 'logits' (it has: tau, "),
    ],
    ids=lambda value: value if isinstance(value, str) else title(value),
)
def test_outside_the_domain(factory: "partial[Any]", message: str) -> None:
    with pytest.raises(InputError) as error:
        check(factory)
    assert str(error.value).startswith(message)


def test_no_levels_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"levels=\(\) is outside the domain of quantile: .*1 item"
    ):
        check(partial(quantile, levels=[]))


def test_one_hyperparameter_may_bound_another() -> None:
    assert check(partial(inpo, tau=0.2, eta=0.2)).keywords == {"tau": 0.2, "eta": 0.2}


def test_values_are_coerced_and_defaults_filled_in() -> None:
    checked = check(partial(ldr, tau=2))
    assert checked.keywords == {"tau": 2.0, "margin": 0.0, "normalize": False}
    assert type(checked.keywords["tau"]) is float
    assert check(partial(quantile, levels=[0.5])).keywords == {"levels": (0.5,)}


def test_a_composed_config_stands_for_the_objective_in_it() -> None:
    checked = check({"paper": "x", "tau": 3, "objective": partial(ldr, tau=3)})
    assert checked.func is ldr
    assert checked.keywords["tau"] == 3.0


def test_facts_complete_what_is_left_open() -> None:
    objective = bind(check(partial(ALDR)), {"num_examples": 7, "num_classes": 2})
    assert objective.compute.temperatures.shape == (7,)
    assert objective.hyperparameters == {
        "tau": 1.0,
        "alpha": 2.0,
        "margin": 0.0,
        "normalize": False,
    }


def test_a_missing_fact_is_named() -> None:
    with pytest.raises(InputError) as error:
        bind(check(partial(ALDR)), {"num_tokens": 3, "context": 4})
    assert str(error.value) == (
        "ALDR needs num_examples, which this task does not have (it has context, num_tokens)."
    )


def test_fields_follow_the_signature() -> None:
    assert objective_fields(check(partial(cross_entropy))) == ("logits", "labels")
    assert objective_fields(check(partial(ALDR))) == ("logits", "labels", "index")


def test_hyperparameters_of_terms_count_where_they_agree() -> None:
    terms = {"a": partial(ldr, tau=0.5, margin=1), "b": partial(ldr, tau=0.5, margin=2)}
    found = hyperparameters(check(partial(Weighted, terms=terms, weights={})))
    assert found["tau"] == 0.5
    assert "margin" not in found


def test_fill_leaves_given_values_alone() -> None:
    def model(width: int, depth: int, *, bias: bool = True) -> tuple[int, int, bool]:
        return width, depth, bias

    facts = {"width": 1, "depth": 2, "other": 3}
    assert fill(partial(model, width=9), facts)() == (9, 2, True)
    with pytest.raises(InputError, match="model needs depth, which this task does not have"):
        fill(partial(model), {"width": 1})


def test_an_objective_gives_its_function_the_fields_of_the_record() -> None:
    record = labelled()
    objective = bind(check(partial(ldr, tau=0.3)), {})
    values, metrics = objective(record)
    assert torch.equal(values, ldr(record.logits, record.labels, tau=0.3))
    assert metrics == {}


def test_declared_traits_are_the_objectives() -> None:
    @declare(stochastic="it draws a mask", surrogate="it is straight through")
    def noisy(logits: Tensor) -> Tensor:
        return logits

    traits = Objective(partial(noisy), ("logits",), {}).traits
    assert (traits.stochastic, traits.surrogate) == ("it draws a mask", "it is straight through")
    assert not traits.coupled
    assert bind(check(partial(info_nce)), {}).traits.coupled


def test_titles() -> None:
    assert title(partial(ldr, tau=1)) == "ldr"
    assert title(ALDR) == "ALDR"
