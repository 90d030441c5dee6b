"""Statistics, worked by hand."""

import math

import pytest

from runner.statistics import compare, interval, permutation_p


def test_an_interval_is_students():
    # mean 2, deviation 1, t(0.975; 2) = 4.303: half-width 4.303 / sqrt(3) = 2.484
    assert str(interval([1.0, 2.0, 3.0])) == "2 ± 2.5"
    assert str(interval([100.0, 200.0, 300.0])) == "200 ± 248"


@pytest.mark.parametrize(("values", "text"), [([0.25], "0.25"), ([], "-")])
def test_too_few_values_have_no_interval(values, text):
    assert str(interval(values)) == text


def test_the_permutation_test_goes_through_all_signs():
    # of the 8 signs of 1, 2, 3 two have a mean as far from 0 as 2: + + + and - - -
    assert permutation_p([1.0, 2.0, 3.0]) == 2 / 8
    # of 1, 2, -3 (mean 0) all 8 are as far
    assert permutation_p([1.0, 2.0, -3.0]) == 1
    # of 1, 1, 1, 1, 1, -1 (mean 4/6): those with at most one sign unlike the others, 2 * 7 of 64
    assert permutation_p([1.0] * 5 + [-1.0]) == 14 / 64


def test_one_difference_says_nothing():
    assert permutation_p([1.0]) == 1


def test_six_seeds_can_decide_and_five_cannot():
    six = {seed: 1.0 + seed for seed in range(6)}
    nought = dict.fromkeys(range(9), 0.0)
    assert compare(six, nought).p == 2 / 64
    assert compare(six, nought).word == "higher"
    assert compare(nought, six).word == "lower"
    del six[5]
    assert compare(six, nought).word == "too few seeds"


def test_only_shared_seeds_are_compared():
    # seeds 1 and 2: 5 - 2 = 3 and 7 - 6 = 1: mean 2, deviation sqrt(2), t(0.975; 1) = 12.706
    found = compare({0: 100.0, 1: 5.0, 2: 7.0}, {1: 2.0, 2: 6.0, 3: 0.0})
    assert found.difference.mean == 2
    assert found.difference.half == pytest.approx(12.706, abs=1e-3)
    assert found.difference.size == 2


def test_a_lead_is_to_be_overcome():
    one, other = dict.fromkeys(range(6), 3.0), dict.fromkeys(range(6), 2.0)
    assert compare(one, other, lead=0.5).difference.mean == 0.5
    assert compare(one, other, lead=1.0).word == "equal"
    assert compare(one, other, lead=2.0).word == "lower"


def test_differences_without_a_sign_in_common_are_undecided():
    one = {0: 1.0, 1: -1.0, 2: 2.0, 3: -2.0, 4: 1.0, 5: -1.5}
    assert compare(one, dict.fromkeys(range(6), 0.0)).word == "undecided"


def test_nothing_shared_says_nothing():
    found = compare({0: 1.0}, {1: 1.0})
    assert math.isnan(found.p)
    assert found.word == "too few seeds"
