"""What holds for every protocol: the order of its batches, its record, its evaluation."""

import random
from collections.abc import Callable, Iterator, Sized
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from objectives.errors import InputError
from objectives.records import field_names
from runner.learner import Learner
from tasks.protocol import Batch
from tasks.sampling import ClassBalanced, Sampler, epoch_order, index_batches

Built = Callable[..., Any]

PROTOCOLS = {
    "Classification": ("digits", "objective=cross_entropy"),
    "TwoViews": ("digits", "objective=info_nce", "batch_size=300"),
    "Retrieval": ("digits", "objective=ms_loss"),
    "MixedRetrieval": ("digits", "objective=metrix"),
    "TableClassification": ("madelon", "objective=anyloss"),
    "FairClassification": ("breast_cancer", "objective=cross_entropy"),
    "OrdinalClassification": ("rare_steps", "objective=presto"),
    "NominalClassification": ("diabetes_stages", "objective=cross_entropy"),
    "PointRegression": ("diabetes", "objective=mse"),
    "BaggedRegression": ("linear", "objective=aggregate_bag_instance"),
    "GaussianRegression": ("diabetes", "objective=gaussian_nll"),
    "QuantileRegression": ("diabetes", "objective=quantile"),
    "PairedResponses": ("pairs", "objective=dpo", "batch_size=300"),
    "FlowMatching": ("density", "objective=flow_matching"),
    "Diffusion": ("density", "objective=ddpm"),
    "RewardedSamples": ("density", "objective=awm", "batch_size=32"),
    "RandomSteps": ("density", "objective=ddpo", "batch_size=32"),
    "OwnResponses": ("pairs", "objective=inpo", "batch_size=300", "replays=1"),
    "MatrixGame": ("rock_paper_scissors", "objective=inpo", "replays=1"),
    "Distillation": ("breast_cancer", "objective=kd"),
    "MutualLearning": ("digits", "objective=bd_kd"),
    "RewardedResponses": ("verify", "objective=grpo", "batch_size=16"),
    "BaselinedByGreedy": ("verify", "objective=remax", "batch_size=16"),
    "Turns": ("agent", "objective=gigpo", "batch_size=16"),
    "OnPolicy": ("cartpole", "objective=ppo"),
    "Offline": ("offline", "objective=td3_bc"),
    "GuidedOffline": ("offline", "objective=a2pr"),
    "LanguageModelling": ("charlm", "objective=cross_entropy", "batch_size=256"),
}

# by their scope all tests of one run together, in the process that has composed its config
each = pytest.mark.parametrize("name", PROTOCOLS, scope="module")


def made(built: Built, name: str, *overrides: str) -> Learner:
    learner: Learner = built(*PROTOCOLS[name], *overrides).learner
    assert type(learner.protocol).__name__ == name
    return learner


def columns(batch: Batch) -> list[Tensor]:
    return [getattr(batch, field.name) for field in fields(batch)]


def with_states(batches: Any) -> list[tuple[Batch, Tensor]]:
    """Each batch with the global random state from which it was made."""
    found, state = [], torch.get_rng_state()
    for batch in batches:
        found.append((batch, state))
        state = torch.get_rng_state()
    return found


@each
def test_batches_from_a_number_are_the_tail_of_all(built: Built, name: str) -> None:
    learner = made(built, name)
    protocol, model = learner.protocol, learner.model
    whole = with_states(protocol.batches(model, 0, 0))
    assert len(whole) == protocol.steps_per_epoch > 1
    for start in {1, len(whole) // 2, len(whole) // 2 + 1, len(whole) - 1, len(whole)}:
        if start < len(whole):
            torch.set_rng_state(whole[start][1])
        tail = list(protocol.batches(model, 0, start))
        assert len(tail) == len(whole) - start
        for batch, (expected, _) in zip(tail, whole[start:], strict=True):
            for ours, theirs in zip(columns(batch), columns(expected), strict=True):
                assert torch.equal(ours, theirs)


@each
def test_order_depends_on_seed_and_epoch_alone(built: Built, name: str) -> None:
    if name == "OnPolicy":
        pytest.skip("a rollout's steps have no index: see test_rl.py")

    def order(seed: int, epoch: int) -> list[int]:
        learner = made(built, name, f"seed={seed}")
        torch.rand(seed + epoch)
        batches = learner.protocol.batches(learner.model, epoch, 0)
        return torch.cat([batch.index.flatten() for batch in batches]).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


@each
def test_an_epoch_has_every_example_once(built: Built, name: str) -> None:
    learner = made(built, name)
    batches = list(learner.protocol.batches(learner.model, 0, 0))
    if name == "OnPolicy":  # every step of the rollout, in each of the two passes over it
        seen = torch.cat([batch.observations for batch in batches])
        _, counts = seen.unique(dim=0, return_counts=True)
        assert len(seen) == 2 * 2 * 16
        assert (counts % 2 == 0).all()
        return
    if "Retrieval" in name:  # classes are balanced instead: see below
        return
    index, _ = torch.cat([batch.index.flatten() for batch in batches]).sort()
    assert torch.equal(index.unique(), index)
    count = learner.protocol.facts["num_examples"]
    if name == "TwoViews":  # whole batches alone
        assert len(index) == count - count % 300
    elif name == "LanguageModelling":  # whole windows of 16 alone, but for one
        assert len(index) == count - count % 16 - 16
    else:
        assert torch.equal(index, torch.arange(count))


@each
def test_record_is_the_declared_one(built: Built, name: str) -> None:
    learner = made(built, name)
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    record = learner.protocol(learner.model, batch)
    assert type(record) is learner.protocol.record
    assert set(learner.objective.fields) <= field_names(type(record))
    names = {field.name for field in fields(record)} - {"coefficients"}  # which are the model's
    examples = {len(getattr(record, name)) for name in names}
    per_row = 16 if name == "LanguageModelling" else 1  # each position of a window
    assert examples == {per_row * len(batch)}


@each
def test_parts_make_up_the_batch(built: Built, name: str) -> None:
    learner = made(built, name)
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    parts = list(batch.parts(3))
    assert len(parts) == 3
    assert {type(part) for part in parts} == {type(batch)}
    for whole, *pieces in zip(columns(batch), *map(columns, parts), strict=True):
        assert torch.equal(torch.cat(pieces), whole)


@each
@pytest.mark.parametrize("split", ["val", "test"])
def test_evaluation_changes_nothing(built: Built, name: str, split: str) -> None:
    learner = made(built, name)
    model = learner.model.eval()
    weights = [p.clone() for p in model.parameters()]
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with torch.no_grad():
        metrics, again = (learner.protocol.evaluate(model, split) for _ in range(2))
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    assert metrics == again
    assert learner.protocol.monitor.metric in metrics
    assert all(isinstance(v, float) and np.isfinite(v) for v in metrics.values())
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert all(torch.equal(a, b) for a, b in zip(weights, model.parameters(), strict=True))


@each
def test_splits_differ(built: Built, name: str) -> None:
    learner = made(built, name, "batch_size=64")
    batches = learner.protocol.batches(learner.model, 0, 0)
    for batch, _ in zip(batches, range(3), strict=False):  # else all pairs are ranked alike
        learner.backward(batch)
        learner.step()
    with torch.no_grad():
        val, test = (learner.protocol.evaluate(learner.model.eval(), s) for s in ("val", "test"))
    assert val.keys() == test.keys()
    assert val != test


def test_epoch_order_is_a_permutation_of_its_own() -> None:
    order = epoch_order(50, seed=3, epoch=2)
    assert torch.equal(order.sort().values, torch.arange(50))
    torch.rand(7)
    assert torch.equal(epoch_order(50, seed=3, epoch=2), order)
    others = [epoch_order(50, seed, epoch) for seed, epoch in ((2, 3), (3, 3), (4, 2), (3, 0))]
    assert not any(torch.equal(other, order) for other in others)
    assert epoch_order(5, seed=2**62, epoch=1).unique().numel() == 5  # a seed of any size


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
def test_index_batches(drop_last: bool, sizes: list[int]) -> None:
    batches = list(index_batches(10, 4, seed=0, epoch=1, start=0, drop_last=drop_last))
    assert [len(batch) for batch in batches] == sizes
    assert torch.equal(torch.cat(batches), epoch_order(10, 0, 1)[: sum(sizes)])
    tail = list(index_batches(10, 4, seed=0, epoch=1, start=1, drop_last=drop_last))
    assert all(torch.equal(a, b) for a, b in zip(tail, batches[1:], strict=True))


@dataclass
class Labels:
    labels: Tensor


CPU = torch.device("cpu")
SIZES = torch.tensor([9, 40, 2, 30, 1])


def by_class(batch_size: int, samples_per_class: int, seed: int = 0) -> ClassBalanced:
    split = Labels(torch.arange(5).repeat_interleave(SIZES))
    return ClassBalanced(split, batch_size, seed, CPU, samples_per_class=samples_per_class)


def sizes(sampler: ClassBalanced, epoch: int = 0) -> list[list[int]]:
    labels = torch.arange(5).repeat_interleave(SIZES)
    batches = list(sampler.batches(epoch, 0))
    assert all(len(batch.unique()) == len(batch) for batch in batches)
    return [labels[batch].bincount(minlength=5).tolist() for batch in batches]


def test_class_balanced_batches_have_some_classes_in_equal_numbers() -> None:
    found = sizes(by_class(batch_size=12, samples_per_class=4))
    assert len(found) == 7  # 82 examples
    for counts in found:  # three classes, with 4 of each or all there are
        drawn = [min(4, size) for size in SIZES.tolist()]
        assert all(count in (0, most) for count, most in zip(counts, drawn, strict=True))
        assert sum(count > 0 for count in counts) == 3
    assert len({tuple(counts) for counts in found}) > 1


def test_class_balanced_batches_of_few_classes_have_more_of_each() -> None:
    for counts in sizes(by_class(batch_size=43, samples_per_class=2)):
        assert counts == [8, 8, 2, 8, 1]  # 43 // 5 of all


def test_class_balanced_batches_depend_on_seed_epoch_and_number_alone() -> None:
    sampler = by_class(12, 4)
    whole = list(sampler.batches(1, 0))
    tail = list(by_class(12, 4).batches(1, 3))
    assert all(torch.equal(a, b) for a, b in zip(tail, whole[3:], strict=True))
    for other in (by_class(12, 4, seed=1).batches(1, 0), sampler.batches(2, 0)):
        assert not torch.equal(torch.cat(list(other)), torch.cat(whole))


def test_a_batch_without_room_for_two_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"batch_size=7 has no room for two classes of .* to 8 or"):
        by_class(batch_size=7, samples_per_class=4)


def test_classification_may_be_class_balanced(built: Built) -> None:
    learner = built("digits", "sampler=class_balanced", "sampler.samples_per_class=8").learner
    batch = next(learner.protocol.batches(learner.model, 0, 0))
    assert sorted(batch.labels.bincount().tolist())[-2:] == [8, 8]
    assert len(batch) == 16


class Reversed(Sampler):
    """The training set from its end on."""

    def __init__(self, split: Sized, batch_size: int, seed: int, device: torch.device):
        self.order = torch.arange(len(split), device=device).flip(0).split(batch_size)
        self.steps_per_epoch = len(self.order)

    def batches(self, epoch: int, start: int) -> Iterator[Tensor]:
        return iter(self.order[start:])


OWN = ["+sampler._target_=test_protocols.Reversed", "+sampler._partial_=true"]


def test_the_config_may_choose_the_sampler(built: Built) -> None:
    protocol = built("digits", *OWN).learner.protocol
    batch = next(protocol.batches(None, epoch=0, start=1))
    last = len(protocol.data.train) - 1
    assert batch.index.tolist() == list(range(last - 16, last - 32, -1))


def test_a_sampler_that_nothing_asks_is_refused(built: Built) -> None:
    with pytest.raises(InputError, match="OnPolicy decides by itself what a batch holds"):
        built("cartpole", *OWN)
