"""Exercises of chapter 11: Sequences and images."""

from typing import Any

import numpy as np

from fedlab_utils.course import expect
from fedlab_utils.course.checks import exercise


def adjusted_recall(rate: float, length: int) -> float:
    """Return the expected recall of random alarms, after point adjustment."""
    return 1 - (1 - rate) ** length


@exercise(
    "11.1",
    "Luck after point adjustment",
    solution=adjusted_recall,
    wrong=(
        lambda rate, length: rate,
        lambda rate, length: min(rate * length, 1),
        lambda rate, length: rate**length,
        lambda rate, length: (1 - rate) ** length,
        lambda rate, length: 1 - (1 - rate) ** (1 / length),
    ),
    hints=(
        "After adjustment a range counts as a whole. When is it missed?",
        "It is missed if none of its points has an alarm, and each has none with probability "
        "1 - rate.",
    ),
)
def check_adjusted_recall(answer: Any) -> None:
    expect.close(answer(0.2, 1), 0.2, "alarms at 20% of the points, ranges of one point")
    expect.close(answer(0.5, 2), 0.75, "alarms at half of the points, ranges of two points")
    expect.close(answer(0.0, 9), 0.0, "no alarms")
    expect.close(answer(0.01, 200), 1 - 0.99**200, "alarms at 1%, ranges of 200 points")


def lstm_parameters(channels: int, units: int, code: int) -> int:
    """Return the number of parameters of an LSTMAutoencoder, its biases included."""

    def lstm(inputs: int) -> int:
        return 4 * units * (inputs + units + 1)

    return lstm(channels) + code * (units + 1) + lstm(channels + code) + channels * (units + 1)


@exercise(
    "11.2",
    "Parameters that know no T",
    solution=lstm_parameters,
    wrong=(
        lambda channels, units, code: lstm_parameters(channels, units, code) + 8 * units,
        lambda channels, units, code: lstm_parameters(channels, units, code) - 4 * units * channels,
        lambda channels, units, code: 24 * lstm_parameters(channels, units, code),
        lambda channels, units, code: 4 * units * (channels + units + 1),
        lambda channels, units, code: (
            lstm_parameters(channels, units, code) - code - channels - 8 * units
        ),
    ),
    hints=(
        "Four parts: reader, narrow, writer, output. The writer's inputs are a step and the code.",
        "An LSTM has four gates; each has a weight for every input, one for every unit, and one "
        "bias. A linear layer has outputs times (inputs + 1) numbers.",
    ),
)
def check_lstm_parameters(answer: Any) -> None:
    wanted = lstm_parameters(3, 16, 6)
    expect.close(answer(3, 16, 6), wanted, "3 channels, 16 units, code 6")
    expect.close(answer(1, 1, 1), lstm_parameters(1, 1, 1), "1 channel, 1 unit, code 1")
    expect.close(answer(2, 5, 4), lstm_parameters(2, 5, 4), "2 channels, 5 units, code 4")


def surprises(probabilities: np.ndarray, events: np.ndarray, g: int) -> np.ndarray:
    """Return how many events [n] of each session are not among the g likeliest."""
    chosen = np.take_along_axis(probabilities, events[..., None], axis=2)
    rank = (probabilities > chosen).sum(axis=2)
    return np.asarray((rank >= g).sum(axis=1))


@exercise(
    "11.3",
    "DeepLog's rule",
    solution=surprises,
    wrong=(
        lambda probabilities, events, g: surprises(probabilities, events, g + 1),
        lambda probabilities, events, g: events.shape[1] - surprises(probabilities, events, g),
        lambda probabilities, events, g: surprises(-np.asarray(probabilities), events, g),
        lambda probabilities, events, g: (surprises(probabilities, events, g) > 0).astype(int),
        lambda probabilities, events, g: surprises(probabilities, events, g).sum(),
    ),
    hints=(
        "np.take_along_axis(probabilities, events[..., None], axis=2) is the probability of what "
        "did happen.",
        "How many templates are likelier than it? If these are g or more, it is not among the g "
        "likeliest.",
    ),
)
def check_surprises(answer: Any) -> None:
    probabilities = np.array(
        [
            [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]],
            [[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.4, 0.5, 0.1]],
        ]
    )
    events = np.array([[0, 0, 0], [1, 2, 1]])
    given = expect.numbers(answer(probabilities, events, 1), "the numbers of surprises")
    expect.shape(given, (2,), "two sessions")
    expect.close(given, [2, 2], "two sessions of three events, only the likeliest is no surprise")
    expect.close(answer(probabilities, events, 2), [2, 1], "the two likeliest are no surprise")
    expect.close(answer(probabilities, events, 3), [0, 0], "all three templates are no surprise")
