"""The dense autoencoder, flat vectors, and stacked gradients against autograd."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import fedlab_utils as fl
from fedlab_utils.errors import FedlabError
from fedlab_utils.models import StackedDense, StackedModule
from fedlab_utils.models.stacked_dense import with_ones


def test_defaults_are_undercomplete_and_fixed_by_the_seed():
    model = fl.dense_autoencoder(24)
    assert model.widths == (24, 48, 8) and model.activation == "tanh"
    assert model(torch.zeros(5, 24)).shape == (5, 24)
    state = torch.random.get_rng_state()
    assert torch.equal(fl.flatten(model), fl.flatten(fl.dense_autoencoder(24)))
    assert torch.equal(state, torch.random.get_rng_state())
    assert not torch.equal(fl.flatten(model), fl.flatten(fl.dense_autoencoder(24, seed=1)))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fl.dense_autoencoder(1), "at least two"),
        (lambda: fl.dense_autoencoder(6, code=6), "copy every row"),
        (lambda: fl.dense_autoencoder(6, activation="sine"), "relu, tanh"),
        (lambda: fl.DenseAutoencoder((5,)), "two or more"),
        (lambda: fl.DenseAutoencoder((5, 0)), "positive"),
        (lambda: fl.flatten(nn.Tanh()), "no parameters"),
        (lambda: fl.unflatten(torch.zeros(3), fl.dense_autoencoder(6)), "does not fit"),
    ],
)
def test_models_that_make_no_sense_are_refused(call, message):
    with pytest.raises(FedlabError, match=message):
        call()


@given(st.integers(2, 12), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_flatten_and_unflatten_are_inverse(d, seed):
    model = fl.dense_autoencoder(d, code=1, seed=seed)
    vector = torch.randn(fl.flatten(model).numel(), generator=torch.Generator().manual_seed(seed))
    before = fl.flatten(model)
    assert torch.equal(fl.flatten(fl.unflatten(vector, model)), vector)
    assert torch.equal(fl.flatten(model), before)


def stacked_and_autograd(model, make, x, counts):
    start = fl.flatten(model)
    stacked = make(model, start, len(x), x.shape[1])
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(stacked.weights.shape, generator=rng) * 0.1
    stacked.weights += noise  # every client its own weights
    rows = x if make is not StackedDense else with_ones(x)
    loss = stacked.differentiate(rows, counts)
    for k, weights in enumerate(stacked.matrix()):
        own = fl.unflatten(weights, model)
        used = x[k, : int(counts[k])]
        expected = torch.nn.functional.mse_loss(own(used), used)
        expected.backward()
        gradient = torch.cat([p.grad.reshape(-1) for p in own.parameters()])
        yield loss[k] / counts[k], expected.detach(), stacked_gradient(stacked, k), gradient


def stacked_gradient(stacked, k):
    """Gradients of client k in the order of `flatten`: read them as if they were weights."""
    weights = stacked.weights
    stacked.weights, stacked._w = stacked.gradients, getattr(stacked, "_g", None)
    row = stacked.matrix()[k].clone()
    stacked.weights = weights
    if stacked._w is not None:
        stacked._w = stacked._blocks(weights, stacked.clients)
    return row


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("widths", [(6, 4, 2), (5, 2), (9, 7, 5, 3)])
@pytest.mark.parametrize("make", [StackedDense, lambda m, s, k, b: StackedModule(m, s, k)])
def test_stacked_gradients_equal_autograd(activation, widths, make):
    torch.manual_seed(1)
    model = fl.DenseAutoencoder(widths, activation)
    x = torch.randn(3, 16, widths[0])
    counts = torch.tensor([16.0, 5.0, 1.0])  # one full batch, two that are not
    for loss, expected, ours, gradient in stacked_and_autograd(model, make, x, counts):
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(ours, gradient, rtol=1e-4, atol=1e-6)


def test_shrinking_keeps_the_first_clients():
    model = fl.dense_autoencoder(6)
    stacked = StackedDense(model, fl.flatten(model), 5, 16)
    stacked.weights += torch.randn_like(stacked.weights)
    before = stacked.matrix().clone()
    stacked.shrink(2)
    assert torch.equal(stacked.matrix(), before[:2])
    assert np.isfinite(stacked.matrix().numpy()).all()


def test_restarted_buffers_are_as_good_as_new():
    model = fl.dense_autoencoder(6)
    old = StackedDense(model, torch.randn(fl.flatten(model).numel()), 3, 16)
    x = with_ones(torch.randn(3, 16, 6))
    old.differentiate(x, torch.tensor([16.0, 3.0, 1.0]))
    old.weights.sub_(old.gradients).fill_(torch.nan)  # as after a client that has diverged
    for start in (fl.flatten(model), torch.randn(3, fl.flatten(model).numel())):
        assert old.fits(model, 3, 16)
        old.restart(start)
        new = StackedDense(model, start, 3, 16)
        counts = torch.full((3,), 16.0)
        assert torch.equal(old.weights, new.weights)
        assert torch.equal(old.differentiate(x, counts), new.differentiate(x, counts))
        assert torch.equal(old.gradients, new.gradients)
    assert not old.fits(model, 2, 16) and not old.fits(model, 3, 32)
    assert not old.fits(fl.dense_autoencoder(6, activation="relu"), 3, 16)
