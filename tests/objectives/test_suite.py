"""What holds for every objective in conf/objective, on the examples in cases.py."""

import io
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from cases import (
    FACTS,
    GOLDEN,
    bound,
    cases,
    cast,
    composed,
    configured,
    leaves,
    names,
    rows,
)
from jaxtyping import TypeCheckError
from torch import Tensor

from objectives.errors import InputError
from objectives.objective import Objective, bind, check, title
from objectives.records import Record
from runner.catalogue import options

CASES = cases()

Setting = Mapping[str, Any]


def shown(item: tuple[str, Any]) -> str:
    """A hyperparameter in a test's name, which is the same in every process."""
    name, value = item
    return f"{name}={title(value) if callable(value) else value}"


each = pytest.mark.parametrize("name", [name for name in names() if name in CASES])
each_setting = pytest.mark.parametrize(
    ("name", "setting"),
    [
        pytest.param(name, setting, id="-".join([name, *map(shown, setting.items())]))
        for name in names()
        if name in CASES
        for setting in CASES[name].settings
    ],
)


def need(name: str, prop: str) -> None:
    """Skip where the objective's case says, with the reason, that it lacks a property."""
    if reason := CASES[name].lacks.get(prop):
        pytest.skip(reason)


def settled(name: str, setting: Setting) -> Objective:
    """The objective in float64 after one step of training, remembering no more from here on."""
    objective = bound(name, setting).double()
    objective(CASES[name].record())
    return objective.eval()


def drawn(objective: Objective, record: Record) -> Tensor:
    """The objective's values, what it draws being the same in every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        values, _ = objective(record)
    return values


@pytest.mark.parametrize("name", names())
def test_has_a_case(name: str) -> None:
    assert name in CASES, f"conf/objective/{name}.yaml has no test: add a Case to its family's test"


def test_every_case_has_an_objective() -> None:
    assert CASES.keys() <= set(names())


@each_setting
def test_first_and_second_derivatives(name: str, setting: Setting) -> None:
    objective, case = settled(name, setting), CASES[name]
    if reason := objective.traits.surrogate:
        pytest.skip(reason)
    record = leaves(case.record(), case.learned)

    def values(*tensors: Tensor) -> Tensor:
        return objective(replace(record, **dict(zip(case.learned, tensors, strict=True))))[0]

    inputs = [getattr(record, n) for n in case.learned]
    assert torch.autograd.gradcheck(values, inputs)
    assert torch.autograd.gradgradcheck(values, inputs, fast_mode=True)


@each_setting
def test_couples_examples_only_where_declared(name: str, setting: Setting) -> None:
    objective, record = settled(name, setting), CASES[name].record()
    together = objective(record)[0]
    alone = [objective(rows(record, torch.tensor([i])))[0] for i in range(len(_first(record)))]
    if objective.traits.coupled:
        assert not torch.isclose(torch.hstack(alone).mean(), together.mean(), rtol=1e-3)
    else:
        torch.testing.assert_close(torch.hstack(alone), together)


@each_setting
def test_order_of_examples_does_not_matter(name: str, setting: Setting) -> None:
    objective, record = settled(name, setting), CASES[name].record()
    order = torch.randperm(len(_first(record)))
    values, permuted = drawn(objective, record), drawn(objective, rows(record, order))
    torch.testing.assert_close(permuted.mean(), values.mean())
    if not objective.traits.coupled and len(values) == len(order):
        torch.testing.assert_close(permuted, values[order])


@each_setting
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_finite_at_extremes(name: str, setting: Setting, dtype: torch.dtype) -> None:
    objective, case = bound(name, setting), CASES[name]
    plain = cast(case.record(), dtype)
    extreme = {field: _extreme(getattr(plain, field)) for field in case.learned}
    record = leaves(replace(plain, **extreme), case.learned)
    for _ in range(2):  # the second step meets what the first remembered
        values, metrics = objective(record)
        assert values.isfinite().all(), values
        assert all(metric.isfinite() for metric in metrics.values()), metrics
    values.mean().backward()
    for field in case.learned:
        assert getattr(record, field).grad.isfinite().all(), field


@each_setting
def test_bfloat16_is_near(name: str, setting: Setting) -> None:
    case = CASES[name]
    exact = drawn(bound(name, setting).double(), case.record()).mean()
    record = leaves(cast(case.record(), torch.bfloat16), case.learned)
    rough = drawn(bound(name, setting), record).mean()
    torch.testing.assert_close(rough.double(), exact, rtol=0.02, atol=0.02)
    rough.backward()
    assert all(getattr(record, field).grad.isfinite().all() for field in case.learned)


@each_setting
def test_metrics_are_numbers_without_gradient(name: str, setting: Setting) -> None:
    _, metrics = bound(name, setting).double()(leaves(CASES[name].record(), CASES[name].learned))
    for metric in metrics.values():
        assert metric.ndim == 0
        assert metric.isfinite()
        assert not metric.requires_grad


@each_setting
def test_leaves_its_inputs_alone(name: str, setting: Setting) -> None:
    record, untouched = CASES[name].record(), CASES[name].record()
    bound(name, setting).double()(record)
    for field, before in vars(untouched).items():
        assert torch.equal(getattr(record, field), before), field


@each_setting
def test_same_again(name: str, setting: Setting) -> None:
    objective = settled(name, setting)
    if reason := objective.traits.stochastic:
        pytest.skip(reason)
    assert torch.equal(objective(CASES[name].record())[0], objective(CASES[name].record())[0])


@each_setting
def test_state_round_trips(name: str, setting: Setting) -> None:
    trained, anew = (
        settled(name, setting),
        bound(name, setting).double().eval(),
    )
    if not trained.state_dict():
        pytest.skip("remembers nothing between steps")
    need(name, "state")
    record = CASES[name].record()
    assert not torch.equal(drawn(anew, record), drawn(trained, record))
    with io.BytesIO() as file:
        torch.save(trained.state_dict(), file)
        file.seek(0)
        anew.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(drawn(anew, record), drawn(trained, record))


@each
def test_wrong_shapes_raise(name: str) -> None:
    objective, record = bound(name, {}), CASES[name].record()
    tensors = {field: getattr(record, field) for field in objective.fields}
    for field, tensor in tensors.items():
        for wrong in (tensor[:-1], tensor[None]):
            with pytest.raises(TypeCheckError):
                objective.of_tensors(**tensors | {field: wrong})


@each
def test_hyperparameters_stack_and_have_gradients(name: str) -> None:
    need(name, "stackable")
    objective, record = bound(name, {}), CASES[name].record()
    tensors = {field: getattr(record, field) for field in objective.fields}
    numbers = _numbers(objective.hyperparameters)
    if not numbers:
        pytest.skip("has no hyperparameter that is a number")
    for hyper, value in numbers.items():

        def values(setting: Tensor, hyper: str = hyper) -> Tensor:
            computed = objective.compute(**tensors, **{hyper: setting})
            return computed[0] if isinstance(computed, tuple) else computed

        exact = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(values, exact)
        grid = torch.tensor([value, value + 0.1], dtype=torch.float64)
        stacked = torch.func.vmap(values)(grid)
        one_by_one = torch.stack([values(setting) for setting in grid])
        torch.testing.assert_close(stacked, one_by_one)
        assert not torch.allclose(stacked[0], stacked[1]), f"{hyper} changes nothing"
        torch.testing.assert_close(stacked[0], bound(name, {hyper: value})(record)[0])


@each
@pytest.mark.parametrize("bad", ["a", True, float("nan"), float("inf"), None, [1.0]], ids=str)
def test_no_numbers_are_refused(name: str, bad: Any) -> None:
    for hyper in _numbers(check(configured(name)).keywords):
        with pytest.raises(InputError, match="is outside the domain of") as error:
            check(configured(name, **{hyper: bad}))
        shown = tuple(bad) if isinstance(bad, list) else bad
        assert str(error.value).startswith(f"{hyper}={shown} is outside")


@each
def test_whole_numbers_become_floats(name: str) -> None:
    numbers = _numbers(check(configured(name)).keywords)
    whole = {hyper: value for hyper, value in numbers.items() if value.is_integer()}
    if not whole:
        pytest.skip("has no default that is a whole number")
    for hyper, value in whole.items():
        coerced = check(configured(name, **{hyper: int(value)})).keywords[hyper]
        assert coerced == value
        assert type(coerced) is float


@each
def test_unknown_hyperparameter_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"has no hyperparameter 'taau' \(it has: "):
        check(configured(name, taau=1.0))


@each
def test_yaml_repeats_the_defaults_of_the_code(name: str) -> None:
    need(name, "defaults")
    factory = check(configured(name))
    assert factory.keywords == check(partial(factory.func)).keywords


@each
def test_search_space_is_inside_the_domain(name: str) -> None:
    own, space = configured(name).keywords, options("objective")[name].config["space"]
    for hyper, axis in space.items():
        for limit in next(iter(axis.values())) if axis else ():
            at_limit = (
                configured(name, **{hyper: limit})
                if hyper in own
                else composed(name, f"{hyper}={limit}")  # of a part of the objective
            )
            bind(check(at_limit), FACTS)


@each
def test_golden(name: str) -> None:
    need(name, "golden")
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    factory = check(configured(name, **golden["hyper"]))
    inputs = {field: _tensor(values) for field, values in golden["inputs"].items()}
    for field in golden["grad"]:
        inputs[field].requires_grad_()
    values, _ = Objective(bind(factory, FACTS).compute, tuple(inputs), {}).of_tensors(**inputs)
    per_example = isinstance(golden["output"], list)
    output = values if per_example else values.mean()
    torch.testing.assert_close(output, _tensor(golden["output"]), rtol=1e-12, atol=1e-14)
    output.sum().backward()
    for field, gradient in golden["grad"].items():
        torch.testing.assert_close(
            inputs[field].grad, _tensor(gradient), rtol=1e-10, atol=1e-14, msg=field
        )


def test_golden_files_name_their_origin() -> None:
    for file in GOLDEN.glob("*.json"):
        golden = json.loads(file.read_text())
        assert golden.keys() == {"source", "notes", "hyper", "inputs", "output", "grad"}, file
        assert golden["source"], title(file)


def _first(record: Record) -> Tensor:
    return next(iter(vars(record).values()))


def _extreme(like: Tensor) -> Tensor:
    """1e4 of either sign: rows of one sign first, then at random."""
    signs = torch.randint(2, like.shape).mul(2).sub(1)
    signs[0], signs[1] = 1, -1
    return (1e4 * signs).to(like.dtype)


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in values.items() if type(value) is float}


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values))
