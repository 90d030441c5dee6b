from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn

from objectives.errors import InputError
from tasks import labels as on
from tasks.regression.bags import BaggedRegression
from tasks.regression.regression import PointRegression
from tasks.tabular.classification import FairClassification, TableClassification, class_metrics
from tasks.tabular.fairness import fairness
from tasks.tabular.ordinal import OrdinalClassification
from tasks.tabular.sets import adult, breast_cancer, gerrymander, madelon, read_adult
from tasks.tabular.tables import LabelledTable, Original, labelled_table

CPU = torch.device("cpu")


def original(**columns: Any) -> Original:
    """Twenty rows of training and test alike; class 1 in the odd ones."""
    known = {name: np.asarray(column) for name, column in columns.items()}
    labels = np.arange(20) % 2
    return Original(known, labels, known, labels, num_classes=2)


def features(table: LabelledTable) -> Tensor:
    """Of training and validation rows together."""
    return torch.cat([table.train.features, table.val.features])


def test_numbers_are_standardised_by_the_training_split_and_categories_are_columns() -> None:
    table = labelled_table(
        original(size=np.arange(20.0), kind=["a", "b", "c", "d"] * 5), seed=0, val_share=0.2
    )
    assert (len(table.train), len(table.val), len(table.test)) == (16, 4, 20)
    numbers, kinds = table.train.features[:, 0], table.test.features[:, 1:]
    torch.testing.assert_close(numbers.mean(), torch.tensor(0.0))
    torch.testing.assert_close(numbers.std(correction=0), torch.tensor(1.0))
    assert torch.equal(kinds, torch.eye(4).repeat(5, 1))
    assert table.attribute_columns == ()


def test_a_constant_column_keeps_its_unit() -> None:
    table = labelled_table(original(one=np.full(20, 3.0), two=["same"] * 20), seed=0, val_share=0.2)
    assert torch.equal(table.test.features, torch.tensor([[0.0, 1.0]]).expand(20, 2))


def test_a_category_that_training_lacks_is_none_of_the_known() -> None:
    made = original(kind=["a", "b"] * 10)
    strange = Original(made.train, made.train_labels, {"kind": np.array(["z"] * 20)},
                       made.test_labels, 2)  # fmt: skip
    table = labelled_table(strange, seed=0, val_share=0.2, protected=["kind"])
    assert not table.test.features.any()
    assert set(table.test.groups.flatten().tolist()) == {1}


def test_protected_attributes_as_columns_and_as_groups() -> None:
    table = labelled_table(
        original(age=np.arange(20.0), sex=["f", "m"] * 10, race=["x", "y", "z", "z"] * 5),
        seed=0,
        protected=["sex", "race", "age"],
        val_share=0.2,
    )
    assert table.attribute_columns == (1, 3, 1)
    sex, race, age = table.test.attributes.split(table.attribute_columns, dim=1)
    assert torch.equal(sex.flatten(), torch.arange(20.0) % 2)
    apart = torch.cdist(race, race)[:4, :4]
    torch.testing.assert_close(apart[0, 1:], torch.ones(3))  # another race is one away
    assert apart[2, 3] == 0
    assert (age.diff(dim=0) > 0).all()
    groups = table.test.groups
    assert torch.equal(groups[:, 0], torch.arange(20) % 2)
    assert groups[:4, 1].tolist() == [0, 1, 2, 2]
    assert groups[:, 2].sum() == pytest.approx(10, abs=2)  # above the median of the training rows


def test_imbalance_and_noise_are_of_the_training_labels() -> None:
    imbalance = partial(on.step, ratio=4.0)
    table = labelled_table(breast_cancer(), seed=0, imbalance=imbalance, val_share=0.2)
    whole = labelled_table(breast_cancer(), seed=0, val_share=0.2)
    kept = table.train.labels.bincount() / whole.train.labels.bincount()
    torch.testing.assert_close(kept, torch.tensor([1.0, 0.25]), rtol=0, atol=0.01)
    assert torch.equal(table.test.labels, whole.test.labels)
    noisy = labelled_table(
        breast_cancer(), seed=0, noise=partial(on.symmetric, rate=1.0), val_share=0.2
    )
    assert torch.equal(noisy.train.labels, 1 - whole.train.labels)
    assert torch.equal(noisy.test.labels, whole.test.labels)


def with_target(target: str | None, **setting: Any) -> LabelledTable:
    columns = {"kind": ["a", "b", "c", "c"] * 5, "age": np.arange(20.0) ** 2, "same": [3.0] * 20}
    return labelled_table(original(**columns), seed=0, val_share=0.2, target=target, **setting)


def test_a_column_of_numbers_may_be_predicted_by_the_others() -> None:
    table = with_target("age")
    for name in ("train", "val", "test"):
        rows, split = getattr(table.regression, name), getattr(table, name)
        assert torch.equal(rows.targets, split.features[:, 3])
        assert torch.equal(rows.features, split.features[:, [0, 1, 2, 4]])
    squares = torch.arange(20.0) ** 2  # in their own units, but for the mean
    restored = table.regression.test.targets * table.regression.scale
    torch.testing.assert_close(restored - restored[0], squares, rtol=1e-5, atol=1e-4)


def test_its_ordered_bins_are_classes() -> None:
    table = with_target("age", shares=[0.25, 0.5, 0.25])
    assert table.ordered.train.labels.bincount().tolist() == [4, 8, 4]
    order = table.ordered.test.labels[table.regression.test.targets.argsort()]
    assert (order.diff() >= 0).all()
    protocol = OrdinalClassification(table, 4, 0, CPU)
    assert protocol.facts["input_shape"] == (4,)
    assert protocol.facts["num_outputs"] == 2


def test_bags_are_of_its_rows() -> None:
    protocol = BaggedRegression(with_target("age"), 8, 0, CPU, bag_size=4, epsilon=None)
    batch = next(protocol.batches(nn.Identity(), 0, 0))
    assert batch.features.shape == (8, 4)
    means = with_target("age").regression.train.targets[batch.index].view(2, 4).mean(dim=1)
    torch.testing.assert_close(batch.targets.view(2, 4), means[:, None].expand(2, 4))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("kind", "target=kind is no column of numbers .there are: age, same"),
        ("income", "target=income is no column of numbers"),
        ("same", "the target is constant"),
        (None, "target=null names no column; give one of numbers"),
    ],
)
def test_a_bad_target_is_refused(target: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PointRegression(with_target(target), 4, 0, CPU)


def test_breast_cancer_is_scikit_learns_with_malignant_as_class_1() -> None:
    table = breast_cancer()
    assert (len(table.train_labels), len(table.test_labels)) == (455, 114)
    malignant = (load_breast_cancer().target == 0).sum()
    assert table.train_labels.sum() + table.test_labels.sum() == malignant == 212


LINES = """\
39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, \
2174, 0, 40, United-States, <=50K
50, ?, 83311, Masters, 14, Divorced, Sales, Husband, Black, Female, 0, 0, 13, Cuba, >50K

"""


def test_reads_the_two_files_of_adult(tmp_path: Path) -> None:
    (tmp_path / "adult").mkdir()
    (tmp_path / "adult" / "adult.data").write_text(LINES)
    (tmp_path / "adult" / "adult.test").write_text(
        "|1x3 Cross validator\n" + LINES.replace("K\n", "K.\n")
    )
    table = adult(str(tmp_path))
    for columns, labels in ((table.train, table.train_labels), (table.test, table.test_labels)):
        assert labels.tolist() == [0, 1]
        assert columns["age"].tolist() == [39.0, 50.0]
        assert columns["workclass"].tolist() == ["State-gov", "?"]
        assert columns["native-country"].tolist() == ["United-States", "Cuba"]
        assert len(columns) == 14


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (LINES.replace(" Male,", ""), "line 1: 14 values, expected 15: an attribute or the label"),
        (LINES.replace("<=50K", "50K"), "line 1: '50K' is none of <=50K, >50K"),
        (LINES.replace("39,", "old,"), "line 1: age is 'old', no number"),
        ("", "is empty"),
    ],
)
def test_a_damaged_file_of_adult_is_refused(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "adult.data").write_text(line)
    with pytest.raises(InputError, match=message):
        read_adult(tmp_path / "adult.data")


def test_adult_that_is_nowhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.tabular.sets.OPENML", "https://localhost:9")  # nothing listens
    with pytest.raises(InputError, match=r"(?s)Adult census table is not here.*adult\.test"):
        adult(str(tmp_path / "nothing"))


def test_adult_is_the_published_one(data_folder: Path) -> None:
    if not (data_folder / "adult").is_dir():
        pytest.skip(f"{data_folder} has no adult/")
    table = adult(str(data_folder))
    assert (len(table.train_labels), len(table.test_labels)) == (32561, 16281)
    assert table.train_labels.mean() == pytest.approx(0.2408, abs=1e-4)  # as UCI says
    assert set(table.train["sex"]) == set(table.test["sex"]) == {"Female", "Male"}


def test_madelon_has_its_share_of_positives_and_is_new_for_a_seed() -> None:
    one, same, other = (madelon(seed=s, size=400, positive_share=0.05) for s in (0, 0, 1))
    assert len(one.train_labels) == 400
    assert one.test_labels.mean() == pytest.approx(0.05, abs=0.02)
    assert np.array_equal(one.train["0"], same.train["0"])
    assert not np.array_equal(one.train["0"], other.train["0"])
    with pytest.raises(InputError, match="informative=9 is more than the 5 features"):
        madelon(seed=0, dim=5, informative=9)


def test_gerrymander_favours_subgroups_and_no_group() -> None:
    table = gerrymander(seed=0, size=4000)
    a, b = (table.train[name] == "yes" for name in ("a", "b"))
    shares = [table.train_labels[a == value].mean() for value in (False, True)]
    assert abs(shares[0] - shares[1]) < 0.05
    same = [table.train_labels[(a == b) == value].mean() for value in (False, True)]
    assert same[1] - same[0] > 0.5


class Constant(nn.Module):
    """Scores by the first feature: its sign is the decision."""

    def forward(self, rows: Tensor) -> Tensor:
        return torch.stack([-rows[:, 0], rows[:, 0]], dim=1)


def test_gaps_by_hand() -> None:
    # four subgroups of ten, (a, b) = 00, 01, 10, 11: granted 10, 0, 5, 5; all have earned it
    groups = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat_interleave(10, dim=0)
    granted = torch.tensor([1] * 10 + [0] * 10 + [1, 0] * 10)
    found = fairness(granted, torch.ones(40, dtype=torch.long), groups)
    assert found["parity_gap"] == 15 / 20 - 5 / 20  # by b; by a both have half
    assert found["odds_gap"] == 0.5
    assert found["intersectional_gap"] == 1.0
    assert found["worst_group"] == 0.0
    fewer = fairness(granted[1:], torch.ones(39, dtype=torch.long), groups[1:])
    assert fewer["intersectional_gap"] == 0.5  # the subgroup of nine is left out


def test_one_group_has_no_gap() -> None:
    constant = torch.zeros(12, 1, dtype=torch.long)
    found = fairness(torch.arange(12) % 2, torch.zeros(12, dtype=torch.long), constant)
    assert (found["parity_gap"], found["odds_gap"], found["intersectional_gap"]) == (0, 0, 0)
    assert found["worst_group"] == 0.5


def test_class_metrics_by_hand() -> None:
    # of 4 positives 1 is found, of 6 negatives 5 are: precision 1/2, recall 1/4
    labels = torch.tensor([1] * 4 + [0] * 6)
    decisions = torch.tensor([1, 0, 0, 0] + [1] + [0] * 5)
    found = class_metrics(decisions, labels, num_classes=2)
    assert found["accuracy"] == 0.6
    assert found["f1"] == pytest.approx(2 * (1 / 2) * (1 / 4) / (1 / 2 + 1 / 4))
    assert found["balanced_accuracy"] == pytest.approx((1 / 4 + 5 / 6) / 2)
    assert found["geometric_mean"] == pytest.approx((1 / 4 * 5 / 6) ** 0.5)
    nothing = torch.zeros(3, dtype=torch.long)
    assert class_metrics(nothing, nothing, num_classes=2)["f1"] == 0
    # of three classes the second never occurs and once is decided; recalls 1/2 and 1
    # F1 is 2/3, 0 and 1
    several = class_metrics(torch.tensor([0, 1, 2]), torch.tensor([0, 0, 2]), num_classes=3)
    assert several["balanced_accuracy"] == pytest.approx(3 / 4)
    assert several["geometric_mean"] == pytest.approx(0.5**0.5)
    assert several["f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_evaluation_knows_the_groups() -> None:
    rows = np.where(np.arange(20) % 2, 1.0, -1.0)
    table = labelled_table(
        original(x=rows, sex=np.where(rows > 0, "m", "f")), seed=0, protected=["sex"], val_share=0.2
    )
    protocol = FairClassification(table, 4, 0, CPU)
    metrics = protocol.evaluate(Constant(), "test")
    assert metrics["accuracy"] == metrics["parity_gap"] == 1.0
    assert metrics["odds_gap"] == 0.0  # each group has but one outcome
    record = protocol(Constant(), next(protocol.batches(Constant(), 0, 0)))
    probability = record.logits.exp()[:, 1] / record.logits.exp().sum(dim=1)
    torch.testing.assert_close(record.predictions, probability)


@pytest.mark.parametrize(
    ("protected", "message"),
    [
        (["gender"], r"protected=gender is no column \(there are: x\)"),
        ("x", "protected=x is outside the domain of labelled_table"),
        ([], r"protected=\[\] names no column; give one"),
    ],
)
def test_bad_attributes_are_refused(protected: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        FairClassification(
            labelled_table(original(x=np.arange(20.0)), seed=0, protected=protected), 4, 0, CPU
        )


def test_a_plain_table_needs_no_attributes() -> None:
    table = labelled_table(original(x=np.arange(20.0)), seed=0)
    assert "parity_gap" not in TableClassification(table, 4, 0, CPU).evaluate(Constant(), "val")
