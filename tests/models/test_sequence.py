"""The sequence models against torch's own layers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedlab_utils import models
from fedlab_utils.detect import redraw
from fedlab_utils.errors import FedlabError
from fedlab_utils.models.sequence import one_step_later, positions


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def torch_lstm(ours):
    theirs = nn.LSTM(ours.weight_ih.shape[1], ours.units, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(ours.weight_ih)
        theirs.weight_hh_l0.copy_(ours.weight_hh)
        theirs.bias_ih_l0.copy_(ours.bias)
        theirs.bias_hh_l0.zero_()
    return theirs


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 4), st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_lstm_and_its_gradients_equal_torchs(n, steps, inputs, units):
    torch.manual_seed(n + steps)
    ours = models.LSTM(inputs, units)
    theirs = torch_lstm(ours)
    x = random(n, steps, inputs)
    a, b = ours(x), theirs(x)[0]
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    a.square().sum().backward()
    b.square().sum().backward()
    for mine, other in (
        (ours.weight_ih, theirs.weight_ih_l0),
        (ours.weight_hh, theirs.weight_hh_l0),
        (ours.bias, theirs.bias_ih_l0),
    ):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_forget_gates_begin_open():
    bias = models.LSTM(3, 50).bias.detach().view(4, 50)
    assert bias[1].min() > 0.8 and bias[[0, 2, 3]].abs().max() < 0.2


@pytest.mark.parametrize("width, heads", [(8, 1), (8, 2), (12, 4)])
def test_attention_and_its_gradients_equal_torchs(width, heads):
    torch.manual_seed(heads)
    ours, theirs = (
        models.SelfAttention(width, heads),
        nn.MultiheadAttention(width, heads, batch_first=True),
    )
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.enter.weight)
        theirs.in_proj_bias.copy_(ours.enter.bias)
        theirs.out_proj.weight.copy_(ours.leave.weight)
        theirs.out_proj.bias.copy_(ours.leave.bias)
    x = random(3, 7, width)
    a, b = ours(x), theirs(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    a.square().sum().backward()
    b.square().sum().backward()
    torch.testing.assert_close(
        ours.enter.weight.grad, theirs.in_proj_weight.grad, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        ours.leave.weight.grad, theirs.out_proj.weight.grad, rtol=1e-4, atol=1e-5
    )


def test_attention_does_not_know_the_order_and_positions_tell_it():
    torch.manual_seed(0)
    layer, x = models.SelfAttention(8, 2), random(2, 5, 8)
    mixed = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(layer(x[:, mixed]), layer(x)[:, mixed])
    model = models.transformer_autoencoder(3, 5, width=8, code=4)
    x = random(2, 5, 3)
    assert not torch.allclose(model(x[:, mixed]), model(x)[:, mixed], atol=1e-3)
    rows = positions(24, 16)
    distance = torch.cdist(rows, rows) + 10 * torch.eye(24)
    assert rows.shape == (24, 16) and float(distance.min()) > 0.3


MODELS = {
    "lstm": lambda **k: models.lstm_autoencoder(3, units=5, code=2, **k),
    "predictor": lambda **k: models.lstm_predictor(3, units=5, **k),
    "transformer": lambda **k: models.transformer_autoencoder(3, 6, width=8, code=4, **k),
}


@pytest.mark.parametrize("kind", MODELS)
def test_models_return_windows_and_are_fixed_by_their_seed(kind):
    state = torch.random.get_rng_state()
    model, again, other = (MODELS[kind](seed=s) for s in (0, 0, 1))
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.equal(models.flatten(model), models.flatten(again))
    assert not torch.equal(models.flatten(model), models.flatten(other))
    x = random(4, 6, 3)
    assert model(x).shape == x.shape
    # Each window by itself: nothing leaks from one row of a batch to another.
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))
    assert not torch.equal(models.flatten(redraw(model, 5)), models.flatten(model))


@given(st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_the_predictor_sees_the_past_only(step):
    model, x = MODELS["predictor"](), random(2, 6, 3)
    changed = x.clone()
    changed[:, step:] += 1
    before, after = model(x), model(changed)
    torch.testing.assert_close(before[:, : step + 1], after[:, : step + 1])
    assert step == 5 or not torch.allclose(before[:, step + 1 :], after[:, step + 1 :])


@given(st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_the_lstm_autoencoder_sees_a_step_only_by_its_code(step):
    # With a code of zeros, what is written at a step depends on later steps alone.
    model, x = MODELS["lstm"](), random(2, 6, 3)
    with torch.no_grad():
        model.narrow.weight.zero_()
    changed = x.clone()
    changed[:, : step + 1] += 1
    before, after = model(x), model(changed)
    torch.testing.assert_close(before[:, step:], after[:, step:])
    assert step == 0 or not torch.allclose(before[:, :step], after[:, :step])


def test_the_transformer_sees_the_window_only_by_its_code():
    model, x = MODELS["transformer"](), random(2, 6, 3)
    with torch.no_grad():
        model.narrow.weight.zero_()
    torch.testing.assert_close(model(x), model(x + 1))


def test_one_step_later_begins_with_zeros():
    x = random(2, 4, 3)
    moved = one_step_later(x)
    assert torch.equal(moved[:, 1:], x[:, :-1]) and not moved[:, 0].any()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: models.lstm_autoencoder(0), "channels=0"),
        (lambda: models.lstm_autoencoder(3, units=0), "units=0"),
        (lambda: models.lstm_autoencoder(3, code=1.5), r"code=1\.5"),
        (lambda: models.lstm_predictor(3, units=-1), "units=-1"),
        (lambda: models.transformer_autoencoder(3, 0), "steps=0"),
        (lambda: models.transformer_autoencoder(3, 8, width=9, heads=2), "multiple of heads"),
        (lambda: models.transformer_autoencoder(2, 4, code=8), "copy every window"),
        (lambda: models.conv_autoencoder((8, 8)), "height, width, channels"),
        (lambda: models.conv_autoencoder((8, 10, 1)), "halved twice"),
        (lambda: models.conv_autoencoder((8, 8, 1), code=64), "copy every image"),
        (lambda: models.conv_autoencoder((8, 8, 1), filters=0), "filters=0"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(call, message):
    with pytest.raises(FedlabError, match=message):
        call()


@pytest.mark.parametrize("shape", [(8, 8, 1), (12, 8, 3)])
def test_the_convolutional_model_is_torchs_with_channels_last(shape):
    model = models.conv_autoencoder(shape, filters=4, code=5, seed=3)
    x = random(6, *shape)
    wanted = model.decoder(model.encoder(x.permute(0, 3, 1, 2))).permute(0, 2, 3, 1)
    assert model(x).shape == x.shape
    torch.testing.assert_close(model(x), wanted)
    code = model.encoder(x.permute(0, 3, 1, 2))
    assert code.shape == (6, 5) and np.isfinite(code.detach().numpy()).all()
    same = models.conv_autoencoder(shape, filters=4, code=5, seed=3)
    assert torch.equal(models.flatten(model), models.flatten(same))
