from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from cases import labelled, preference, rollout
from jaxtyping import TypeCheckError
from torch import Tensor

from objectives.records import Labelled, Preference, Record, field_names


def test_names_are_fields_and_properties() -> None:
    assert field_names(Labelled) == {"logits", "labels", "index"}
    assert {"chosen_logprob", "chosen_logprobs", "ref_rejected_logprob"} <= field_names(Preference)
    derived = field_names(Preference) - {field.name for field in fields(Preference)}
    assert derived == {
        *("chosen_logprob", "rejected_logprob", "ref_chosen_logprob", "ref_rejected_logprob"),
        *("chosen_mean_logprob", "rejected_mean_logprob"),
    }


def every(record: type[Record]) -> Iterator[type[Record]]:
    """All records that extend one."""
    for richer in record.__subclasses__():
        yield richer
        yield from every(richer)


def test_a_field_has_one_type_in_every_record() -> None:
    types: dict[str, set[str]] = {}
    for record in every(Record):
        for field in fields(record):
            types.setdefault(field.name, set()).add(str(field.type))
    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


def test_records_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        labelled().logits = torch.zeros(8, 5)


@pytest.mark.parametrize(
    "columns",
    [
        (torch.zeros(3, 2), torch.zeros(4, dtype=torch.long), torch.arange(3)),
        (torch.zeros(3, 2), torch.zeros(3), torch.arange(3)),
        (torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long), torch.arange(3)),
        (torch.zeros(3), torch.zeros(3, dtype=torch.long), torch.arange(3)),
    ],
    ids=["batch sizes", "float labels", "integer scores", "one dimension"],
)
def test_wrong_columns_raise(columns: tuple[Tensor, ...]) -> None:
    with pytest.raises(TypeCheckError):
        Labelled(*columns)


def test_a_rollout_has_no_index() -> None:
    assert "index" not in vars(rollout())


def test_summed_logprobs_are_those_of_the_response() -> None:
    record = preference()
    for name, mask in (
        ("chosen", record.chosen_mask),
        ("rejected", record.rejected_mask),
        ("ref_chosen", record.chosen_mask),
        ("ref_rejected", record.rejected_mask),
    ):
        rows = getattr(record, f"{name}_logprobs").tolist()
        expected = [
            sum(value for value, kept in zip(row, keep, strict=True) if kept)
            for row, keep in zip(rows, mask.tolist(), strict=True)
        ]
        summed = getattr(record, f"{name}_logprob")
        torch.testing.assert_close(summed, torch.tensor(expected, dtype=torch.float64))
