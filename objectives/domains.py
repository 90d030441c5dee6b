"""Domains: what a setting may be, written in its annotation and checked before any work."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from typing import Annotated, Any, ParamSpec, TypeVar

from annotated_types import Gt, Interval
from pydantic import ConfigDict, GetPydanticSchema, TypeAdapter, ValidationError, validate_call
from torch import Tensor

from objectives.errors import InputError

Scalar = Annotated[float | Tensor, GetPydanticSchema(lambda _source, handler: handler(float))]
"""A hyperparameter: a float from a config, or a 0-d tensor where values are stacked by vmap."""

Share = Annotated[float, Interval(ge=0, le=1)]

Count = Annotated[int, Gt(0)]


@dataclass(frozen=True)
class AtMost:
    """Part of a hyperparameter's domain: not above another hyperparameter, which it names."""

    other: str


STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

P = ParamSpec("P")
T = TypeVar("T")


def coerced(owner: str, name: str, domain: Any, value: Any) -> Any:
    """A value as its domain has it: 1 is 1.0 where a float is meant.

    Raises:
        InputError: It is outside the domain.
    """
    try:
        return _adapter(domain).validate_python(value)
    except ValidationError as error:
        raise _outside(owner, error, name) from None


def check_order(owner: str, domains: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """That none of the values is above what its domain names as `AtMost`.

    Raises:
        InputError: One is.
    """
    for name, domain in domains.items():
        for bound in getattr(domain, "__metadata__", ()):
            if isinstance(bound, AtMost) and values[name] > values[bound.other]:
                raise InputError(
                    f"{name}={values[name]} is outside the domain of {owner}: it should not be "
                    f"above {bound.other}={values[bound.other]}."
                )


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Check every call's arguments against the domains in the function's annotations."""
    validated = validate_call(config=STRICT)(function)
    owner = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return validated(*args, **kwargs)
        except ValidationError as error:
            raise _outside(owner, error) from None

    return call


def _outside(owner: str, error: ValidationError, name: str = "") -> InputError:
    reason = error.errors()[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in reason["loc"])
    return InputError(
        f"{(name + place).lstrip('.')}={reason['input']} is outside the domain of {owner}: "
        f"{reason['msg'].lower()}."
    )


@cache
def _adapter(domain: Any) -> TypeAdapter[Any]:
    return TypeAdapter(domain, config=STRICT)
