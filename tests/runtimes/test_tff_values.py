"""Values survive the way to the other Python and back, and nothing is pickled."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedlab_utils.runtimes.tff import values

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
nested = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)


def there_and_back(tmp_path, **named):
    values.save(tmp_path / "v.npz", named)
    return values.load(tmp_path / "v.npz")


@given(value=nested)
def test_nested_plain_values_are_the_same(tmp_path_factory, value):
    assert there_and_back(tmp_path_factory.mktemp("v"), x=value)["x"] == value


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex64", "<U3", "S2"])
def test_arrays_keep_their_type_and_shape(tmp_path, dtype):
    array = np.array([[1, 0, 1], [0, 1, 1]]).astype(dtype)
    found = there_and_back(tmp_path, x={"deep": [array]})["x"]["deep"][0]
    assert found.dtype == array.dtype and (found == array).all()


def test_tensors_become_arrays_and_numpy_numbers_keep_their_type(tmp_path):
    class Eager:
        """As a TensorFlow scalar or string: `.numpy()` gives a number or bytes."""

        def __init__(self, value):
            self.value = value

        def numpy(self):
            return self.value

    weight = torch.ones(2, requires_grad=True)
    found = there_and_back(
        tmp_path, a=weight, b=Eager(np.float32(2.5)), c=Eager(b"ab"), d=np.int8(3)
    )
    assert found["a"].tolist() == [1, 1] and found["b"] == 2.5
    assert found["c"] == "ab" and type(found["d"]) is np.int8 and type(found["b"]) is np.float32


def test_what_cannot_cross_is_named(tmp_path):
    for value in (object(), np.array([object()]), {1: 2}, {"a": [len]}):
        with pytest.raises(ValueError, match=r"value.*cross"):
            there_and_back(tmp_path, value=value)


def test_a_pickle_is_refused(tmp_path):
    np.savez(tmp_path / "v.npz", structure=np.array({"x": 1}, dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        values.load(tmp_path / "v.npz")
