"""The figures of chapter 08 say in words what they show."""

import numpy as np

from fedlab_utils.course.figures_he import (
    bytes_per_parameter,
    packed_sum,
    size_and_error,
    what_the_server_sees,
)
from fedlab_utils.privacy.he import Packing


def test_packed_sum_draws_the_bits_of_each_slot():
    packing = Packing(limit=1.0, fraction_bits=1, total_weight=2, plaintext_bits=8)
    assert packing.slot_bits == 4
    figure = packed_sum(packing, {"a": 0x21, "sum": 0x84}, slots=2)
    assert "a: 0010 0001; sum: 1000 0100" in figure.get_label()
    assert figure.axes[0].images[0].get_array().shape == (2, 8)


def test_what_the_server_sees_counts_bytes():
    figure = what_the_server_sees(np.array([0.0, 0.0, 3.0]), bytes(range(256)) * 2, client="bank 1")
    alt = figure.get_label()
    assert "from bank 1" in alt and "512 bytes" in alt and "occurs 2 to 2 times, 2 on" in alt


def test_bytes_per_parameter_marks_the_budget():
    figure = bytes_per_parameter([10, 1000], {"plain": [4, 4], "CKKS": [8000, 31]}, budget=12)
    assert "CKKS from 8e+03 to 31" in figure.get_label()
    assert [text.get_text() for text in figure.axes[0].texts] == ["12 times plain"]
    assert not bytes_per_parameter([10, 1000], {"plain": [4, 4]}).axes[0].texts


def test_size_and_error_lists_the_points():
    figure = size_and_error({"a": (7.5, 4e-9), "b": (14.7, 1e-8)}, budget=12)
    assert "a 7.5 times and 4e-09; b 14.7 times and 1e-08" in figure.get_label()
