"""The binder: from a function or module and its hyperparameters to an objective of a record.

An objective's signature is its declaration. Tensor arguments are named after record fields;
hyperparameters are keyword-only, with their domain in the annotation. What is left open and
bears the name of a fact of the task (`num_classes`, `num_examples`, ...) is filled in from there.
"""

import inspect
import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, get_type_hints

from torch import Tensor, nn

from objectives.domains import check_order, coerced
from objectives.errors import InputError
from objectives.records import Record

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Traits:
    """What cannot be read off a signature; each is the reason in words, empty where it is not so.

    Attributes:
        coupled: Why an example's loss depends on the rest of the batch.
        surrogate: Why the value is not the quantity that the gradient descends.
        stochastic: Why two calls on one record differ.
    """

    coupled: str = ""
    surrogate: str = ""
    stochastic: str = ""


def declare(**reasons: str) -> Callable[[T], T]:
    """Attach `Traits` to an objective: `@declare(coupled="the batch holds the negatives")`."""

    def attach(target: T) -> T:
        target.traits = Traits(**reasons)  # type: ignore[attr-defined]
        return target

    return attach


class Objective(nn.Module):
    """A bound objective: takes a record, returns values to be averaged, and metrics to be shown.

    Attributes:
        fields: The record fields that it reads.
        hyperparameters: The values it was bound with, after coercion.
        traits: See `Traits`.
    """

    def __init__(
        self, compute: Callable[..., Any], fields: tuple[str, ...], values: dict[str, Any]
    ):
        super().__init__()
        self.compute = compute
        self.fields = fields
        self.hyperparameters = values
        self.traits: Traits = getattr(getattr(compute, "func", compute), "traits", Traits())

    def forward(self, record: Record) -> tuple[Tensor, dict[str, Tensor]]:
        return _and_metrics(self.compute(**{name: getattr(record, name) for name in self.fields}))

    def of_tensors(self, **tensors: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Values (one per example or step, or a scalar) and metrics, from the fields by name."""
        return _and_metrics(self.compute(**{name: tensors[name] for name in self.fields}))


TERMS = Mapping[str, Objective]
"""The annotation of a hyperparameter that holds several objectives by name."""


def check(config: Any) -> "partial[Any]":
    """Coerce the hyperparameters of what is not bound yet and check them against their domains.

    Args:
        config: A `functools.partial` whose hyperparameters are keyword-only: an objective
            function or module class, an algorithm, a schedule. Or a composed config that holds
            one under `objective` (a term, its hyperparameters beside it).

    Raises:
        InputError: A hyperparameter is unknown or outside its domain.
    """
    factory = config["objective"] if isinstance(config, Mapping) else config
    known = _hyperparameters(factory.func)
    _check_names(factory, known)
    hints = _annotations(factory.func)
    defaults = {name: p.default for name, p in known.items() if p.default is not p.empty}
    values = {
        name: _coerce(factory, name, hints.get(name, Any), value)
        for name, value in (defaults | factory.keywords).items()
    }
    check_order(title(factory), hints, values)
    return partial(factory.func, **values)


def bind(checked: "partial[Any]", facts: Mapping[str, Any]) -> Objective:
    """Complete a checked objective with the task's facts.

    Raises:
        InputError: A hyperparameter without default is neither given nor a fact of the task.
    """
    hints = _annotations(checked.func)
    values = {
        name: _bind_terms(hints.get(name), value, facts) for name, value in checked.keywords.items()
    }
    complete = fill(partial(checked.func, **values), facts, _hyperparameters(checked.func))
    compute = complete() if inspect.isclass(checked.func) else complete
    return Objective(compute, objective_fields(checked), values)


def objective_fields(checked: "partial[Any]") -> tuple[str, ...]:
    """The record fields that a checked objective reads, those of its terms included."""
    hints = _annotations(checked.func)
    nested = [
        objective_fields(term)
        for name, value in checked.keywords.items()
        for term in _terms(hints.get(name), value)
    ]
    return tuple(dict.fromkeys(itertools.chain(_tensor_arguments(checked.func), *nested)))


def hyperparameters(checked: "partial[Any]") -> dict[str, Any]:
    """The hyperparameters of a checked objective and its terms, where these agree on a value."""
    hints = _annotations(checked.func)
    found = dict(checked.keywords)
    disagree = set()
    for term in (
        t for name, value in checked.keywords.items() for t in _terms(hints.get(name), value)
    ):
        for name, value in hyperparameters(term).items():
            if found.setdefault(name, value) != value:
                disagree.add(name)
    return {name: value for name, value in found.items() if name not in disagree}


def fill(
    factory: "partial[Any]", facts: Mapping[str, Any], names: Iterable[str] | None = None
) -> "partial[Any]":
    """Give a partial the facts that its signature asks for by name and its config left open.

    Args:
        factory: What to complete.
        facts: Facts by name.
        names: The parameters that must be complete afterwards; all by default.

    Raises:
        InputError: A required parameter is neither configured nor a fact.
    """
    parameters = inspect.signature(factory).parameters
    left_open = [
        name for name in (parameters if names is None else names) if name not in factory.keywords
    ]
    missing = [
        name
        for name in left_open
        if name not in facts and parameters[name].default is inspect.Parameter.empty
    ]
    if missing:
        raise InputError(
            f"{title(factory)} needs {', '.join(missing)}, which this task does not have "
            f"(it has {', '.join(sorted(facts))})."
        )
    supplied = {name: facts[name] for name in left_open if name in facts}
    return partial(factory.func, *factory.args, **factory.keywords, **supplied)


def title(factory: Any) -> str:
    """The name by which messages call a function, class or partial."""
    return str(getattr(getattr(factory, "func", factory), "__name__", factory))


def _and_metrics(result: Any) -> tuple[Tensor, dict[str, Tensor]]:
    return result if isinstance(result, tuple) else (result, {})


def _check_names(factory: "partial[Any]", known: Mapping[str, inspect.Parameter]) -> None:
    for name, parameter in inspect.signature(factory.func).parameters.items():
        if parameter.default is not parameter.empty and name not in known:
            raise InputError(
                f"{title(factory)}: {name} has a default, so it is a hyperparameter, and these are "
                "keyword-only: put *, before the first of them."
            )
    for name in factory.keywords:
        if name not in known:
            raise InputError(
                f"{title(factory)} has no hyperparameter {name!r} (it has: "
                f"{', '.join(known) or 'none'})."
            )


def _coerce(factory: "partial[Any]", name: str, hint: Any, value: Any) -> Any:
    if hint is Objective:
        return check(value)
    if hint == TERMS:
        return {key: check(term) for key, term in value.items()}
    if isinstance(value, partial):  # a function, which has hyperparameters of its own
        return check(value)
    return coerced(title(factory), name, hint, _plain(value))


def _bind_terms(hint: Any, value: Any, facts: Mapping[str, Any]) -> Any:
    if hint is Objective:
        return bind(value, facts)
    return {key: bind(term, facts) for key, term in value.items()} if hint == TERMS else value


def _terms(hint: Any, value: Any) -> Iterable[Any]:
    """The unbound objectives that a hyperparameter holds."""
    if hint is Objective:
        return [value]
    return value.values() if hint == TERMS else []


def _tensor_arguments(target: Callable[..., Any]) -> list[str]:
    function = target.forward if inspect.isclass(target) else target  # type: ignore[attr-defined]
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]


def _hyperparameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(target).parameters
    return {name: p for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}


def _plain(value: Any) -> Any:
    """Lists as tuples: what a config can hold, as the strict adapters take it."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _annotations(target: Callable[..., Any]) -> dict[str, Any]:
    function = target.__init__ if inspect.isclass(target) else target
    return get_type_hints(function, include_extras=True)
