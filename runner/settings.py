"""The settings of a run that belong to no group, checked."""

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt
from pydantic import BaseModel, ConfigDict, ValidationError

from objectives.errors import InputError


class Settings(BaseModel):
    """Budget, step and bookkeeping of a run; see conf/config.yaml."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    seed: Annotated[int, Ge(0)]
    epochs: Annotated[float, Gt(0)]
    steps: Annotated[int, Gt(0)] | None
    batch_size: Annotated[int, Gt(0)]
    accumulate: Annotated[int, Gt(0)]
    clip: Annotated[float, Gt(0)] | None
    precision: Literal["float32", "bfloat16"]
    compile: bool
    log_every: Annotated[int, Gt(0)]
    evaluate_every: Annotated[float, Gt(0)]
    checkpoint_every: Annotated[float, Ge(0)]
    patience: Annotated[int, Gt(0)] | None

    @classmethod
    def of(cls, config: dict[str, Any]) -> "Settings":
        """The settings in a composed config.

        Raises:
            InputError: A value is outside its domain.
        """
        try:
            return cls(**{name: config[name] for name in cls.model_fields})
        except ValidationError as error:
            reason = error.errors()[0]
            name, message = reason["loc"][0], reason["msg"].lower()
            raise InputError(f"{name}={reason['input']}: {message}.") from None
