"""The figures of chapter 06 say in words what they show."""

import math

from fedlab_utils.course.figures_dp import (
    budgets,
    noise_on_the_sum,
    two_bells,
    utility_and_attack,
)
from fedlab_utils.privacy.dp import gaussian_delta


def test_two_bells_tells_the_delta_of_each_band():
    figure = two_bells(1.0, [1.0, 3.0])
    for epsilon in (1.0, 3.0):
        assert f"{gaussian_delta(1.0, epsilon):.2g} at epsilon {epsilon:g}" in figure.get_label()
    assert len(figure.axes[0].lines) == 2 and len(figure.axes[1].lines) == 5


def test_budgets_draws_each_way_of_counting():
    figure = budgets({"naive": ([1, 10], [2.0, 20.0]), "RDP": ([1, 10], [2.0, 5.0])})
    assert figure.get_label() == "Epsilon against steps: naive 20 at 10; RDP 5 at 10."
    assert [axes.get_yscale() for axes in figure.axes] == ["log"]


def test_utility_and_attack_names_each_epsilon_and_the_floor():
    figure = utility_and_attack(
        {2.0: [0.1, 0.3], math.inf: [0.4, 0.4]}, {2.0: [0.05], math.inf: [0.8]}, {"floor": 0.02}
    )
    alt = figure.get_label()
    assert "0.200 at 2, 0.400 at no noise" in alt and "floor 0.020" in alt
    assert "Attack: attack 0.050 at 2, 0.800 at no noise" in alt
    ticks = [tick.get_text() for tick in figure.axes[1].get_xticklabels()]
    assert ticks == ["2", "no noise"]


def test_noise_on_the_sum_tells_the_last_value_of_each_way():
    figure = noise_on_the_sum({"server": {10: 0.1, 100: 0.01}, "local": {10: 0.6, 100: 0.2}})
    assert "server 0.01 at 100; local 0.2 at 100 clients" in figure.get_label()
