# %% [markdown]
# # 11 · Sequences and images
# *What changes when a row has an order: steps of a series, or pixels of a picture?*
#
# {{badges}}
#
# You will
#
# - **write** an LSTM and an attention layer in a few products, and **agree** with torch's to the last digits;
# - **train** them for many clients at once, and **see** where that is faster, and where it is not;
# - **compare** LSTM, Transformer and a plain dense autoencoder on device telemetry with four kinds of faults;
# - **show** that point adjustment makes a random score look wonderful, and **measure** without it (VUS-PR);
# - **judge** networks on a real series beside a moving z-score and a matrix profile;
# - **train** a convolutional autoencoder at clients that know three digits each.
#
# You need: chapters 01 to 03. Exercise 11.4 is about event logs.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 11.1 A window instead of a row
#
# Machines in many halls report load, temperature and fan speed once a minute. A machine runs programs, one
# after the other; the temperature follows the load with a lag, and the fan follows both. What does a
# fault look like? (All of it is simulated; the datasheet says how.)

# %%
import time
import warnings

import numpy as np
import pandas as pd
import torch
from torch import nn

import fedlab_utils as fl
from fedlab_utils import detect, models
from fedlab_utils.course import check, figures_series, hint, save_results, show, show_error
from fedlab_utils.data import telemetry

# %%
torch.manual_seed(0)
torch.set_num_threads(1)  # matrices this small are computed before a second thread has woken up

# %%
dials = {"clients": 1, "samples": 500, "anomaly_rate": 0.3, "train_share": 0.1}
many_faults = telemetry.TelemetryConfig(**dials, calibration_share=0.0)
(device,) = telemetry.simulate_telemetry(many_faults)
part = slice(60, 360)
figure = figures_series.channels(device.values[part], device.kind[part], telemetry.CHANNELS)
show(figure, name="telemetry-faults")

# %% [markdown]
# Only `point` is a matter of single values. In the other three, every value is one that this channel often
# shows: `contextual` values come at the wrong time, in `collective` the channel runs on as it did at some
# other time, and a `stuck` sensor varies too *little*. What is odd is how the values stand to each other,
# across steps and channels.
#
# So the thing to judge is a **window**: $T$ steps of $c$ channels. A client's data are an array
# `[n, T, c]`, and everything you know from earlier chapters takes it as it takes `[n, d]`. We look at twelve
# devices that were installed a short time ago, so each has few windows, and at one more that joins later.

# %%
recent = {"clients": 13, "samples": 2000, "train_share": 0.25, "calibration_share": 0.1}
data = fl.load("telemetry", unseen=True, seed=0, **recent)
print(data)
data.clients[0].x_train.shape

# %% [markdown]
# Floors first, by kind of fault. (Row norm and isolation forest see a window as one long row.)

# %%
pooled = data.pooled()
floors = {"row norm": detect.RowNorm(), "forest": detect.isolation_forest(pooled.x_train)}
floor = fl.evaluate(floors, data, baselines=False)
print(f"prevalence {floor.prevalence:.3f}")
floor.by_kind()["AUC"].unstack("detector").round(3)

# %% [markdown]
# The row norm finds point faults, as always. For the rest, both floors are weak, and for `stuck`
# they are below guessing.

# %% [markdown]
# ## 11.2 An LSTM, product by product
#
# A **recurrent** network reads a window step by step and carries a memory along. The **LSTM** has two: a
# *cell* $c$ that is only ever scaled and added to, and a *hidden state* $h$ that is shown to the outside.
# At each step one product with the new input $x$ and one with the old $h$ give four vectors:
#
# $$ i, f, g, o = W x + R h + b, \qquad c \leftarrow \sigma(f) \cdot c + \sigma(i) \cdot \tanh(g), \qquad
# h \leftarrow \sigma(o) \cdot \tanh(c) $$
#
# $\sigma$ squashes to 0..1, so $\sigma(f)$, $\sigma(i)$ and $\sigma(o)$ are **gates**: how much to keep,
# to write, to show. With a hole:


# %%
written = "???"


def lstm_step(x, h, c, W, R, b):
    """One step of a batch: x [n, inputs], h and c [n, units]; returns the new h and c."""
    i, f, g, o = (x @ W.T + h @ R.T + b).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + written(i, g)
    return torch.sigmoid(o) * torch.tanh(c), c


# %%
layer = nn.LSTM(3, 16, batch_first=True)
W, R, b = layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0 + layer.bias_hh_l0
windows = torch.from_numpy(pooled.x_train[:5])
h = c = torch.zeros(5, 16)
with show_error(TypeError):
    lstm_step(windows[:, 0], h, c, W, R, b)

# %% [markdown]
# The hole is what is written into the cell: the new content $\tanh(g)$, as far as its gate is open.


# %%
def written(i, g):
    return torch.sigmoid(i) * torch.tanh(g)


# %%
for x in windows.unbind(1):
    h, c = lstm_step(x, h, c, W, R, b)
print(f"difference to torch's LSTM: {(h - layer(windows)[0][:, -1]).abs().max():.0e}")

# %% [markdown]
# The package's `models.LSTM` is this loop, with one bias instead of two. Same weights, same states:

# %%
ours = models.LSTM(3, 16)
ours.load_state_dict({"weight_ih": W, "weight_hh": R, "bias": b})
print(f"difference: {(ours(windows) - layer(windows)[0]).abs().max():.0e}")

# %% [markdown]
# ## 11.3 Reading and writing
#
# From an LSTM to an autoencoder: one LSTM **reads** the window, its last state is narrowed to a **code** of a
# few numbers, and a second LSTM **writes** the window from the code, last step first. Below are two versions.
# The second one is *reminded*: at each step the writer also sees the true step that it had to write
# before.


# %%
class ReadWrite(nn.Module):
    """Window [n, T, c] -> code -> window."""

    def __init__(self, channels=3, units=16, code=6, reminded=True):
        super().__init__()
        self.reminded = reminded
        self.reader, self.narrow = models.LSTM(channels, units), nn.Linear(units, code)
        self.writer = models.LSTM(code + channels * reminded, units)
        self.output = nn.Linear(units, channels)

    def forward(self, x):
        code = self.narrow(self.reader(x)[:, -1])
        seen = code.unsqueeze(1).expand(-1, x.shape[1], -1)
        if self.reminded:
            before = x.flip(1).roll(1, dims=1) * (torch.arange(x.shape[1]) > 0)[:, None]
            seen = torch.cat([before, seen], dim=2)
        return self.output(self.writer(seen)).flip(1)


# %% [markdown]
# A federation takes it like any other model:

# %%
sgd = fl.SGD(lr=1.0, momentum=0.9, batch_size=16)
for reminded in (False, True):
    torch.manual_seed(0)
    run = fl.fit(ReadWrite(reminded=reminded), data, rounds=6, local=sgd, progress=False)
    print(f"reminded {reminded!s:5}: loss {run.history.loss[0]:.2f} -> {run.history.loss[-1]:.2f}")

# %% [markdown]
# A loss of 1 is what the mean of all windows gets. From the code alone, the LSTM has hardly begun to learn:
# the gradient of the first steps has to come a long way. Reminded of the step before, it learns at
# once. This is the encoder-decoder of Malhotra and others (EncDec-AD), with one change: they show the writer
# the true steps in training only, and its own steps when it scores. Ours asks: *given the step before, and
# six numbers about the whole window, is this step what was due?* A fault is not due, so it costs an
# error. The package has it:

# %%
torch.manual_seed(0)
by_hand, packaged = ReadWrite(), models.lstm_autoencoder(3, units=16, code=6)
packaged.load_state_dict(by_hand.state_dict())
print(f"difference: {(by_hand(windows) - packaged(windows)).abs().max():.0e}")

# %% [markdown]
# ## 11.4 Many clients at once
#
# Why write an LSTM, if torch has one? Because `fl.fit` trains all clients as one computation. Modules other
# than the dense autoencoder run under `vmap`, which turns each operation on one client's numbers into one
# on all clients'. For that, torch must know a rule for each operation. Its own LSTM is one big operation,
# made fast by hand, and has none:


# %%
class FirstOf(nn.Sequential):
    """A layer of which only the first output counts."""

    def forward(self, x):
        return super().forward(x)[0]


# %%
class TorchLSTM(models.LSTMAutoencoder):
    """The same autoencoder with torch's own LSTM."""

    def __init__(self, channels=3, units=16, code=6):
        super().__init__(channels, units, code)
        self.reader = FirstOf(nn.LSTM(channels, units, batch_first=True))
        self.writer = FirstOf(nn.LSTM(channels + code, units, batch_first=True))


# %%
refused = []
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    try:
        fl.fit(TorchLSTM(), data, rounds=1, local=sgd, progress=False)
    except RuntimeError as error:  # PyTorch 2.11 does
        refused.append(error)
for said in [*refused, *(warning.message for warning in caught)][:1]:
    print(str(said).split(". ")[0])

# %% [markdown]
# It still works: torch falls back to one client after the other (version 2.11 refused). With
# products, `vmap` can do its work. And the result is that of the plain loop over clients, for clients of
# unequal size, too:

# %%
start = models.lstm_autoencoder(3, seed=0)
options = {"rounds": 1, "local": sgd, "progress": False}
weights = {
    e: fl.flatten(fl.fit(start, data, engine=e, **options).model) for e in ("stacked", "loop")
}
moved = (weights["loop"] - fl.flatten(start)).abs().max()
gap = (weights["stacked"] - weights["loop"]).abs().max() / moved
print(f"stacked against loop, relative to the largest step: {gap:.0e}")


# %% [markdown]
# Is it faster? The best of three rounds, with twelve clients and with sixty:


# %%
def milliseconds(model, federation, engine="loop"):
    """Time of one client's local training, best of three rounds."""
    run = fl.fit(model, federation, rounds=3, local=sgd, engine=engine, progress=False)
    return 1000 * min(run.history.seconds) / len(federation)


# %%
sixty = fl.load("telemetry", **{**recent, "clients": 60})
speeds = {
    f"{len(f)} clients": {
        "products, loop": milliseconds(start, f.only(f.names[:4])),
        "products, stacked": milliseconds(start, f, "stacked"),
        "torch's LSTM, loop": milliseconds(TorchLSTM(), f.only(f.names[:12])),
    }
    for f in (data, sixty)
}
pd.DataFrame(speeds).round(1).rename_axis("milliseconds per client and epoch")

# %% [markdown]
# Stacking saves most of the time that the same products take in a loop, and more with more clients: the fixed
# costs of a step are paid once for all of them. torch's own LSTM is a serious rival even one client after the
# other. With a dozen clients the two are close, and which one is ahead depends on the machine; with sixty,
# stacking is ahead. (For the dense autoencoder the gain is far larger, see chapter 03: an LSTM is a long chain
# of small steps, and no trick makes a chain parallel.)

# %% [markdown]
# ## 11.5 Attention in four lines
#
# A **Transformer** has no memory to carry. Every step looks at all steps at once. Each step asks a
# *query* $q$, offers a *key* $k$ and a *value* $v$; the answer is a mean of all values, and those weigh
# most whose key fits the query:
#
# $$ \mathrm{softmax}\!\left( \frac{q k^\top}{\sqrt{d}} \right) v $$


# %%
def attend(q, k, v):
    """Queries, keys and values [T, d] -> [T, d]."""
    weights = torch.softmax(q @ k.T / q.shape[1] ** 0.5, dim=1)
    return weights @ v


# %%
q, k, v = torch.randn(3, 24, 8)
theirs = nn.functional.scaled_dot_product_attention(q, k, v)
print(f"difference to torch: {(attend(q, k, v) - theirs).abs().max():.0e}")

# %% [markdown]
# Several such *heads* side by side, with the products that make q, k and v, are `models.SelfAttention`. It has
# one flaw for us: it does not notice if somebody mixes the steps. The remedy is to add to each step a pattern
# that tells its place.

# %%
attention, tokens = models.SelfAttention(8, heads=2), torch.randn(1, 24, 8)
order = torch.randperm(24)
print("blind for order:", torch.allclose(attention(tokens[:, order]), attention(tokens)[:, order]))

# %% [markdown]
# `models.transformer_autoencoder` is built of it: a block of attention, a code, a block of attention. The
# code is essential. Without it a Transformer copies its input step by step, faults included.
#
# A third competitor must not be missing: the **dense autoencoder** of chapter 01, on windows flattened to rows
# of $24 \cdot 3$ numbers. It has no idea of time: for it, step 3 and step 4 are two columns like any others.

# %%
flat = data.flattened()
starts = {
    "LSTM": models.lstm_autoencoder(3),
    "Transformer": models.transformer_autoencoder(3, steps=24),
    "dense, flat windows": fl.dense_autoencoder(flat.n_features, hidden=64, code=20),
}
sizes = {name: len(fl.flatten(model)) for name, model in starts.items()}
pd.DataFrame({"parameters": sizes, "kB per update": {n: p * 4 / 1000 for n, p in sizes.items()}})

# %% [markdown]
# Now all of them, three seeds. Each gets the number of rounds that it needs, and `local` gets as many passes over
# its own windows as `federated`.

# %%
ROUNDS = {"LSTM": 20, "Transformer": 25, "dense, flat windows": 200}
LOCAL = {
    "LSTM": fl.SGD(lr=1.0, momentum=0.9, batch_size=16),
    "Transformer": fl.SGD(lr=0.2, momentum=0.9, batch_size=16),
    "dense, flat windows": fl.SGD(lr=0.3, momentum=0.9, batch_size=16),
}


# %%
def train(name, federation, seed):
    """A federated model from weights of this seed, and the seconds it took."""
    begin = time.perf_counter()
    model = detect.redraw(starts[name], seed)
    options = {"rounds": ROUNDS[name], "local": LOCAL[name], "seed": seed}
    return fl.fit(model, federation, **options).model, time.perf_counter() - begin


# %%
central_sgd = fl.SGD(lr=1.0, momentum=0.9, batch_size=128)
alone_sgd = fl.SGD(lr=0.5, momentum=0.9, batch_size=16)


# %%
def all_models(seed):
    """Reports on windows and on flat windows, and seconds of training."""
    data = fl.load("telemetry", unseen=True, seed=seed, **recent)
    flat, together = data.flattened(), data.pooled_federation()
    found, took = {}, {}
    for name in ("LSTM", "Transformer"):
        found[f"{name}, federated"], took[name] = train(name, data, seed)
    lstm, dense = (detect.redraw(starts[name], seed) for name in ("LSTM", "dense, flat windows"))
    found["LSTM, local"] = fl.fit_local(lstm, data, rounds=20, local=alone_sgd, seed=seed)
    run = fl.fit(lstm, together, rounds=15, local=central_sgd, seed=seed, engine="loop")
    found["LSTM, central"] = run.model
    federated, took["dense"] = train("dense, flat windows", flat, seed)
    local = fl.fit_local(dense, flat, rounds=200, local=alone_sgd, seed=seed)
    both = {"dense, federated": federated, "dense, local": local}
    report = fl.evaluate(found, data, seed=seed)
    return report, fl.evaluate(both, flat, baselines=False, seed=seed), took


# %%
reports, flat_reports, spent = zip(*(all_models(seed) for seed in range(3)), strict=True)
# %%
summary = pd.concat([fl.summarise(reports), fl.summarise(flat_reports)])
table = detect.format_summary(summary)
save_results(
    "11", "Telemetry: sequence models, mean and spread of three seeds", table, headline=True
)
table

# %%
kinds = pd.concat([report.by_kind()["AUC"] for report in (*reports, *flat_reports)])
by_kind = kinds.groupby(["detector", "kind"]).mean().unstack("kind").round(3)
means = pd.DataFrame(spent).mean().round(1)
print("seconds of federated training:", ", ".join(f"{k} {v}" for k, v in means.items()))
by_kind.sort_values("contextual", ascending=False)

# %% [markdown]
# All networks but the local dense one are far above the floors. Only for point faults do the row norm and the
# untrained network come near. Beyond that, four findings, and not all of them flatter the sequence models:
#
# - **The dense autoencoder is not beaten.** Federated, it has the highest AP for the mean and the worst device.
#   Its lead over the LSTM is smaller than the LSTM's spread, and in the pooled list it has none. But it
#   trains in less time, though with four times as many parameters to send.
# - **An LSTM needs few windows.** Look at the two local models: a device alone, with some fifty windows, makes a
#   useful LSTM and a poor dense autoencoder. The LSTM uses the same weights at each of 24 steps, so a window is 24
#   examples for them; the dense one has weights of its own for each step.
# - **So the dense autoencoder needs federation, and the LSTM hardly.** On a device's own windows, the LSTM is as
#   good alone. But the *unseen* device has no model of its own yet. For it, the federated LSTM is ahead of the
#   other devices' local ones.
# - **The Transformer comes last** of the three. It has the most parameters, and nothing tells it that neighbours
#   matter more than strangers; that must be learned, from more windows than there are here.
#
# A device has about nine anomalous windows, so the AP of the worst one moves a lot from seed to seed. And `stuck` stays the
# hardest kind: part of such windows is only a little too calm.

# %% [markdown]
# ## 11.6 A measure that flatters everybody
#
# So far we judged windows. On one long series one wants to judge **points**, and anomalies there are *ranges*
# of points. Many papers use **point adjustment**: as soon as one point of a range has an alarm, *all* its
# points count as found. After all, an operator needs only one alarm for each fault. It sounds fair.


# %%
def adjust(y, alarms):
    """Point adjustment of alarms [n] for labels [n]."""
    alarms = alarms.copy()
    for first, end in detect.anomaly_ranges(y):
        if alarms[first:end].any():
            alarms[first:end] = True
    return alarms


# %%
y = np.zeros(20_000, dtype=bool)
for begin in range(1_000, 20_000, 2_000):
    y[begin : begin + 200] = True  # ten faults of 200 points, a tenth of all points
random = np.random.default_rng(0).random(len(y))
alarms = random > 0.98
print("as the package:", np.array_equal(adjust(y, alarms), detect.adjust_points(y, alarms)))

# %% [markdown]
# The score is a **random number**. How good is it, at its best threshold?

# %%
plain, _ = detect.best_f1(y, random)
adjusted, _ = detect.best_f1(y, random, adjust=True)
print(f"random score: F1 {plain:.2f}; after point adjustment {adjusted:.2f}")

# %% [markdown]
# A random number generator, and an F1 that would win many a table. Rare alarms are enough to hit a long range
# somewhere; then the adjustment declares all its 200 points found, while each false alarm counts as one point
# only. The longer the ranges, the more wonderful is chance:

# %%
lengths = [5, 10, 20, 50, 100, 200, 500]
found = {"F1": [], "F1, point-adjusted": [], "VUS-PR": []}
for length in lengths:
    y = np.arange(20_000) // length % 20 == 10  # one stretch in twenty: prevalence 5%
    found["F1"].append(detect.best_f1(y, random)[0])
    found["F1, point-adjusted"].append(detect.best_f1(y, random, adjust=True)[0])
    found["VUS-PR"].append(detect.vus_pr(y, random, buffer=10))
show(figures_series.adjustment(lengths, found), name="point-adjustment")

# %% [markdown]
# With ranges of a few hundred points, chance alone reaches what papers call the state of the art. F1 without the
# adjustment stays where a coin belongs: if *everything* is an alarm, precision is the prevalence of 5%, and F1
# about 0.1. The third line is a measure that knows of ranges, and is not fooled; it is the subject of the
# next section. In this chapter nothing else is point-adjusted.

# %% [markdown]
# ## 11.7 A measure for ranges
#
# What should a fair measure do? An alarm shortly before or after a fault is worth something: labels are never
# exact. Three alarms in one fault must not replace one alarm in each of three. And no threshold should be
# chosen with the labels in view. **Range-AUC-PR** gives the labels soft shoulders and then draws a
# precision-recall curve:

# %%
y = np.zeros(60, dtype=bool)
y[20:25], y[45] = True, True
soft = detect.range_labels(y, buffer=8)
print(soft[15:31].round(2))

# %% [markdown]
# A point $d$ steps away from a fault counts $\sqrt{1 - d/\ell}$, as far as half the buffer $\ell$. Precision
# is the sum of soft labels among the alarms, divided by the alarms. Recall is that sum divided by what there is to
# find, times the share of the faults that have an alarm at all:


# %%
def range_auc_pr(y, scores, buffer):
    """The area under the precision-recall curve of ranges; each score is a threshold."""
    soft = detect.range_labels(y, buffer)
    ranges = detect.anomaly_ranges(soft > 0)
    recall, precision = [0.0], [1.0]
    for threshold in np.unique(scores)[::-1]:
        alarms = scores >= threshold
        hit = soft[alarms].sum()
        share = np.mean([alarms[first:end].any() for first, end in ranges])
        recall.append(min(1, hit / ((y.sum() + soft.sum()) / 2)) * share)
        precision.append(hit / alarms.sum())
    return np.trapezoid(precision, recall)


# %%
scores = np.random.default_rng(1).normal(size=60) + y
print(f"{range_auc_pr(y, scores, 8):.6f}, package {detect.range_pr_auc(y, scores, 8):.6f}")

# %% [markdown]
# And which buffer? None is right, so **VUS-PR** takes the mean over all of them, from 0 to the length of a
# typical pattern: the volume under a surface of curves. (Our numbers are those of the authors' code; a test
# proves it.)

# %%
mean = np.mean([range_auc_pr(y, scores, buffer) for buffer in range(9)])
print(f"{mean:.6f}, package {detect.vus_pr(y, scores, 8):.6f}")

# %% [markdown]
# ## 11.8 And on real data: one odd pulse
#
# `InternalBleeding16` of the UCR archive: a vital sign of an animal, 1,200 points without an anomaly,
# then 6,301 points of which 12 are odd. The archive asks one question: *where is the anomaly?*

# %%
from fedlab_utils.data.bundled import internal_bleeding_series, sliding_windows

train_series, test_series, y = internal_bleeding_series()
center, spread = train_series.mean(), train_series.std()
train_series, test_series = (train_series - center) / spread, (test_series - center) / spread
print(f"{y.sum()} of {len(y):,} points; prevalence {y.mean():.4f}")

# %% [markdown]
# Simple detectors first, none of which learns weights.
#
# - **Moving z-score**: how many deviations away from the mean of the last $w$ points?
# - **Difference**: $|x_t - x_{t-1}|$. One line.
# - **Matrix profile**: for each window, the distance to the most similar *normal* window. Windows are brought
#   to mean 0 and deviation 1 first, so only the shape counts. The squared distance of two such windows is
#   $2 w (1 - \text{correlation})$, so all distances are one matrix product:


# %%
def nearest_shape(series, reference, w):
    """For each window of `series` the distance to the most similar window of `reference`."""
    a, b = (sliding_windows(s, w) for s in (series, reference))
    a, b = ((s - s.mean(1, keepdims=True)) / s.std(1, keepdims=True) for s in (a, b))
    return np.sqrt(np.maximum(2 * (w - a @ b.T), 0).min(axis=1))


# %%
profile = detect.matrix_profile(test_series, 24, train_series)
print(
    "as the package:", np.allclose(nearest_shape(test_series, train_series, 24), profile, atol=1e-5)
)

# %%
w, n = 24, len(test_series)
found = {
    "moving z-score": detect.moving_zscore(test_series, w),
    "difference": np.abs(np.diff(test_series, prepend=test_series[0])),
    "matrix profile": detect.point_scores(profile, w, 1, n),
}
one_pulse = detect.matrix_profile(test_series, 183, train_series)  # 183 points: see the datasheet
found["matrix profile, one pulse"] = detect.point_scores(one_pulse, 183, 1, n)


# %% [markdown]
# Then the networks. One series is one client, so for a federation we must pretend: four clients have a
# quarter of the training points each. A window's error is given to all its points, and a point gets the
# mean over its windows (`detect.point_scores`).


# %%
def clients_of(series, k):
    """k clients with a stretch of the series each, as windows of w points."""
    parts = [
        sliding_windows(p, w, 2).astype(np.float32)[..., None] for p in np.array_split(series, k)
    ]
    none = (parts[0][:0], parts[0][:0], np.empty(0, bool), np.empty(0, str))
    members = [fl.Client(f"stretch {i + 1}", x, *none) for i, x in enumerate(parts)]
    return fl.Federation("InternalBleeding16", tuple(members), ("value",))


# %%
pulse = clients_of(train_series, 4)
test_windows = sliding_windows(test_series, w).astype(np.float32)[..., None]
pulse


# %%
def point_errors(detector, rows=test_windows):
    """Scores of points from those of windows."""
    return detect.point_scores(detect.as_detector(detector).score(rows), w, 1, n)


# %%
def measure(scores):
    """Measures without a threshold, and where the highest score is."""
    top = np.abs(np.flatnonzero(y) - scores.argmax()).min()
    values = {"VUS-PR": detect.vus_pr(y, scores, 100), "AP": detect.average_precision(y, scores)}
    return values | {"AUC": detect.auc(y, scores), "points from the anomaly": float(top)}


# %%
slow = fl.SGD(lr=0.5, momentum=0.9, batch_size=16)
fast = fl.SGD(lr=0.1, momentum=0.9, batch_size=16)
rows = [{"detector": name, **measure(s)} for name, s in found.items()]
flat_pulse, flat_windows = pulse.flattened(), test_windows[..., 0]

# %%
for seed in range(3):
    start = models.lstm_autoencoder(1, units=12, code=4, seed=seed)
    lstm = fl.fit(start, pulse, rounds=15, local=slow, seed=seed).model
    start = fl.dense_autoencoder(w, hidden=48, code=6, seed=seed)
    dense = fl.fit(start, flat_pulse, rounds=200, local=fast, seed=seed).model
    untrained = detect.UntrainedAutoencoder(lstm, seed)
    forest = detect.isolation_forest(flat_pulse.pooled().x_train, seed)
    scored = {
        "random": np.random.default_rng(seed).random(n),
        "LSTM, federated": point_errors(lstm),
        "dense, federated": point_errors(dense, flat_windows),
        "untrained autoencoder": point_errors(untrained),
        "row norm": point_errors(detect.RowNorm()),
        "isolation forest": point_errors(forest),
    }
    rows += [{"detector": name, **measure(s)} for name, s in scored.items()]
    found |= scored

# %%
ucr = pd.DataFrame(rows).groupby("detector", sort=False).mean().round(3)
ucr = ucr.sort_values("VUS-PR", ascending=False)
save_results("11", "UCR InternalBleeding16: points, mean of three seeds", ucr, headline=True)
print(f"prevalence {y.mean():.4f}")
ucr

# %%
chosen = ["moving z-score", "difference", "matrix profile", "LSTM, federated"]
around = slice(2400, 3600)
figure = figures_series.series_scores(test_series, y, {k: found[k] for k in chosen}, around)
show(figure, name="odd-pulse")

# %% [markdown]
# Read from above:
#
# - The **matrix profile** with windows of one pulse has the highest VUS-PR of all. No weights, no training.
# - The federated **LSTM** finds the anomaly with each seed. Its windows are 24 points long; with windows of the same
#   length the matrix profile is a little behind it in VUS-PR, and far behind in AP: it smears its alarm
#   over the neighbours. This is what VUS-PR forgives, and AP does not.
# - The **dense** autoencoder misses it with one seed of three: then its highest score is at another pulse, the
#   highest of the whole series, near point 6,256. It judges *heights* it has not seen. LSTM and matrix
#   profile do not fall for it: one is reminded of the step before, the other looks at shapes only.
# - One line, $|x_t - x_{t-1}|$, finds the anomaly as well. Wu and Keogh, who made the archive, call a series
#   *trivial* if one line of code solves it. So this series shows that a method works, and not that
#   networks are needed.
# - The **moving z-score** and the floors find nothing: the odd points lie well inside the range of a pulse.
#
# And it is one series with one anomaly. Three seeds change the networks, not the event.

# %% [markdown]
# ## 11.9 Images: a convolution at clients with three digits each
#
# An image is the same story in two directions: rows `[n, h, w, c]`. A **convolution** looks at 3 x 3 pixels with
# the same weights everywhere. The task is that of chapters 01 and 10, where forests failed: digits, and the 8
# is the one nobody has seen. Nine clients know **three digits each**.

# %%
from fedlab_utils.data.groups import FewGroups

digits = fl.load("digits", anomaly=8, images=True, partition=FewGroups(9, each=3), seed=0)
model = models.conv_autoencoder(digits.clients[0].x_train.shape[1:], filters=8, code=12)
print(digits)
print(f"{len(fl.flatten(model)):,} parameters")

# %% [markdown]
# One more thing is different. As rows of 64 numbers, each *pixel* was standardised by itself: a pixel in the
# corner that is nearly always white was stretched until it varied as much as the others. As images, all pixels
# share one mean and one deviation. That is a choice of scale, not of model, so we give it to the dense
# autoencoder as well (`flattened`), and look at both.

# %%
conv_sgd = fl.SGD(lr=0.3, momentum=0.9, batch_size=16)
big_batches = fl.SGD(lr=0.3, momentum=0.9, batch_size=144)
dense_sgd = fl.SGD(lr=0.2, momentum=0.9, batch_size=16)


# %%
def convolutions(digits, seed):
    """Federated, local and central: from the same start, with as many steps."""
    start = models.conv_autoencoder((8, 8, 1), filters=8, code=12, seed=seed)
    options = {"rounds": 40, "seed": seed}
    together = digits.pooled_federation()
    central = fl.fit(start, together, local=big_batches, engine="loop", **options)
    return {
        "convolution, federated": fl.fit(start, digits, local=conv_sgd, **options).model,
        "convolution, local": fl.fit_local(start, digits, local=conv_sgd, **options),
        "convolution, central": central.model,
    }


# %%
def dense(federation, seed):
    """A federated dense autoencoder of 64 pixels."""
    start = fl.dense_autoencoder(64, hidden=64, code=12, seed=seed)
    return fl.fit(start, federation, rounds=80, local=dense_sgd, seed=seed, progress=False).model


# %%
image_reports, kept = [], []
for seed in range(3):
    how = {"anomaly": 8, "partition": FewGroups(9, each=3), "seed": seed}
    digits, pixels = fl.load("digits", images=True, **how), fl.load("digits", **how)
    found = convolutions(digits, seed)
    parts = [fl.evaluate(found, digits, seed=seed)]
    scales = {"one scale": digits.flattened(), "scale per pixel": pixels}
    for name, federation in scales.items():
        member = {f"dense, {name}": dense(federation, seed)}
        parts.append(fl.evaluate(member, federation, baselines=False, seed=seed))
    image_reports.append(parts)
    kept.append((digits, found))

# %%
columns = ["AP pooled", "AP mean client", "AP worst client"]
columns += ["AUC pooled", "AUC worst client", "prevalence"]
tables = [fl.summarise(same) for same in zip(*image_reports, strict=True)]
images = detect.format_summary(pd.concat(tables)[columns])
save_results(
    "11",
    "Digits as images, three digits per client, the 8 unseen, three seeds",
    images,
    headline=True,
)
images

# %% [markdown]
# Forest and floors fail on the 8, as they did in chapters 01 and 10; networks do not. The scale matters as much as
# the network: with one scale for all pixels the dense autoencoder gains clearly. Once it has it, the convolution
# does not do better, with half of the parameters. Eight by eight pixels are few, and digits are centred; a
# convolution shows its strength where a pattern can be anywhere.
#
# But look at **local**: far above everything, central training included. A mistake? No. A client's test rows
# are its own three digits and the 8. A local model can write three digits and nothing else, so an 8 is
# strange to it. The federated model had to learn nine digits, and whoever can write nine digits can nearly
# write an 8. For a client that will only ever see its three digits, the narrow model is the better one.
#
# What if a client meets a digit that is normal at the others? Ask every local model about the test rows of *all*
# clients:


# %%
def on_all_rows(model, test):
    """AP of one model on the test rows of all clients."""
    return detect.average_precision(test.y_test, fl.reconstruction_error(model, test.x_test))


# %%
values = []
for digits, found in kept:
    test = digits.pooled()
    local = np.mean([on_all_rows(m, test) for m in found["convolution, local"].values()])
    federated = on_all_rows(found["convolution, federated"], test)
    values.append({"a client's own model": local, "federated": federated})
pd.DataFrame(values).agg(["mean", "std"]).round(3)

# %% [markdown]
# Now the order is reversed. A local model is at the prevalence, that is, at chance: to it, six normal
# digits are as strange as the 8. So "local or federated?" is a question about the *future* rows of a client. If
# they may be like those of the others, federate; if they never are, do not.

# %% [markdown]
# What does the model see? Digits from the test, what it writes back, and the squared error:

# %%
digits, found = kept[0]
model, everybody = found["convolution, federated"], digits.pooled()
usual, odd = (np.flatnonzero(everybody.y_test == is_8) for is_8 in (False, True))
chosen = [*usual[:: len(usual) // 4][:4], *odd[:4]]
x = everybody.x_test[chosen]
with torch.no_grad():
    back = model(torch.from_numpy(x)).numpy()
rows = {"digit": x[..., 0], "written back": back[..., 0], "error": np.square(back - x)[..., 0]}
show(figures_series.pictures(rows), name="digits-back")

# %% [markdown]
# The error is where a stroke of the 8 is missing or misplaced. Some normal digits are written back badly, too: these
# are the false alarms.

# %% [markdown]
# ## What we have built
#
# - An LSTM and an attention layer of plain products, equal to torch's, which train stacked like any module.
# - Autoencoders of windows and images behind the same `fl.fit`, `fl.evaluate`, thresholds and floors:
#
# | | sees | parameters grow with | good for |
# | --- | --- | --- | --- |
# | dense, flat | places | steps times channels | windows of fixed phase; many clients together |
# | LSTM | one step after the other | channels, not steps | few windows; long windows |
# | Transformer | all steps at once | width, and steps in the code | many windows |
# | convolution | neighbourhoods | filters, and pixels in the code | patterns that can be anywhere |
#
# - Measures for ranges: R-AUC-PR and VUS-PR, and the reason to distrust point adjustment.
# - Two detectors without weights that a network must beat first: a difference and a matrix profile.
# - Generators of telemetry and of event logs, with datasheets.

# %% [markdown]
# ## Check yourself
#
# **Why does the LSTM autoencoder see the true step before, at test time too? Is that not cheating?**
#
# <details><summary>Answer</summary>
# It is shown a step only when the next one is due. Of the step it has to write it knows no more than the code
# tells. So a point fault costs an error twice: when it comes, and in the step that is written after it, which
# was foretold from a wrong value.
# </details>
#
# **A paper reports F1 = 0.97 "with the usual point adjustment". What do you ask?**
#
# <details><summary>Answer</summary>
# What a random score gets with the same adjustment on the same labels, and the F1 without it. If the anomalies are
# long, the first number alone may be above 0.9.
# </details>
#
# **The dense autoencoder gains far more by federation than the LSTM. Why?**
#
# <details><summary>Answer</summary>
# The LSTM uses the same weights at each step, so one window of 24 steps is 24 examples for them. The dense
# autoencoder has own weights for each step, so a window is one example. Who has few examples gains most from
# those of others.
# </details>
#
# **At clients with three digits each, local models are the better detectors of the unseen digit. Would you
# deploy them?**
#
# <details><summary>Answer</summary>
# If each client will see only its three digits for ever, yes. If a client may get a digit that is normal
# elsewhere, no: for a local model that is as odd as an anomaly.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 11.1** (easy) Alarms come at random, at a share `rate` of all points. What recall do you expect
# after point adjustment, if each anomaly is a range of `length` points?


# %% tags=["exercise"]
def adjusted_recall(rate, length):
    """Return the expected recall of random alarms after point adjustment."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return 1 - (1 - rate) ** length
    # END SOLUTION


check("11.1", adjusted_recall)

# %% [markdown]
# **Exercise 11.2** (medium) How many parameters has `models.lstm_autoencoder(channels, units, code)`, biases
# included? (The length of the window does not matter. Why?)


# %% tags=["exercise"]
def lstm_parameters(channels, units, code):
    """Return the number of parameters of an LSTMAutoencoder."""

    # BEGIN SOLUTION
    # STUB: ...  # your turn
    def lstm(inputs):
        return 4 * units * (inputs + units + 1)

    linear = code * (units + 1) + channels * (units + 1)
    return lstm(channels) + lstm(channels + code) + linear
    # END SOLUTION


check("11.2", lstm_parameters)

# %% [markdown]
# **Exercise 11.3** (medium) Logs are sequences of *events*, from a list of templates. DeepLog foretells the
# next event from those before it, and raises an alarm if what happens is not among the `g` likeliest. Given
# probabilities `[n, T, V]` and what did happen, events `[n, T]` (whole numbers), count the surprises of
# each session.


# %% tags=["exercise"]
def surprises(probabilities, events, g):
    """Return how many events [n] of each session are not among the g likeliest."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    happened = np.take_along_axis(probabilities, events[..., None], axis=2)
    likelier = (probabilities > happened).sum(axis=2)
    return (likelier >= g).sum(axis=1)
    # END SOLUTION


check("11.3", surprises)

# %%
hint("11.3")

# %% [markdown]
# **Exercise 11.4** (open) `fl.load("logs", scaler=None, seed=0)` has ten services with sessions of 20 events,
# one-hot over 20 templates; `template_names(row)` of `fedlab_utils.data.logs` shows one in words. Train
# `models.lstm_predictor(20)` (it foretells each event from those before it; its squared error is smallest if
# its output is the probability) and judge sessions by their surprises, or by the largest error of a step. Then
# try something simpler: count, at all services, how often event b follows event a, add up the counts,
# and score a session by how rare its rarest pair is. Which one wins, by kind of fault? Which one would you
# put into production?

# %% tags=["solution"]
from fedlab_utils.data.logs import template_names

logs = fl.load("logs", scaler=None, seed=0)
print(" > ".join(template_names(logs.clients[0].x_train[0])))
sgd = fl.SGD(lr=3.0, momentum=0.9, batch_size=16)
predictor = fl.fit(models.lstm_predictor(20, seed=0), logs, rounds=30, local=sgd, seed=0).model


# %% tags=["solution"]
class Pairs:
    """Counts of neighbours, added up over clients; the score is the surprise of a session."""

    def __init__(self, federation):
        self.counts = sum(self.count(client.x_train) for client in federation) + 0.5

    def count(self, x):
        events = x.argmax(axis=2)
        counts = np.zeros((20, 20))
        np.add.at(counts, (events[:, :-1].ravel(), events[:, 1:].ravel()), 1)
        return counts

    def score(self, X):
        events = X.argmax(axis=2)
        share = self.counts / self.counts.sum(axis=1, keepdims=True)
        return -np.log(share[events[:, :-1], events[:, 1:]].min(axis=1))


# %% tags=["solution"]
class Foretold:
    """Scores of the predictor: surprises among the g likeliest, or the largest error of a step."""

    def __init__(self, model, g=None):
        self.model, self.g = model, g

    def score(self, X):
        with torch.no_grad():
            p = self.model(torch.from_numpy(X)).numpy()
        if self.g:
            return surprises(p, X.argmax(axis=2), self.g).astype(float)
        return np.square(p - X).sum(axis=2).max(axis=1)


judges = {"LSTM, surprises": Foretold(predictor, g=6), "LSTM, largest error": Foretold(predictor)}
report = fl.evaluate({**judges, "counts of pairs": Pairs(logs)}, logs)
report

# %% tags=["solution"]
report.by_kind()["AUC"].unstack("kind").round(3)

# %% [markdown] tags=["solution"]
# Counts of pairs win. They find three of the four kinds without an error, need no training, and their sum over
# services is exact, so a secure sum (chapter 07) or noise (chapter 06) fits at once. The LSTM's largest error comes
# close; DeepLog's rule, which only counts, is coarser here. Nobody finds `mismatch`: for pairs it does not exist,
# and the LSTM would have to remember five to nine events, which it has not learned in thirty rounds. Production: the
# counts, and a rule that compares "opened" with "committed".

# %% [markdown]
# ## Further reading
#
# - S. Hochreiter, J. Schmidhuber, [Long Short-Term Memory](https://doi.org/10.1162/neco.1997.9.8.1735) (1997).
# - A. Vaswani and others, [Attention Is All You Need](https://arxiv.org/abs/1706.03762) (2017).
# - P. Malhotra and others, [LSTM-based Encoder-Decoder for Multi-sensor Anomaly
#   Detection](https://arxiv.org/abs/1607.00148) (2016).
# - S. Kim and others, [Towards a Rigorous Evaluation of Time-series Anomaly
#   Detection](https://arxiv.org/abs/2109.05257) (2022): random scores after point adjustment.
# - R. Wu, E. Keogh, [Current Time Series Anomaly Detection Benchmarks are Flawed and are Creating the Illusion
#   of Progress](https://doi.org/10.1109/TKDE.2021.3112126) (2023): the UCR archive, and one-liners.
# - J. Paparrizos and others, [Volume Under the Surface](https://doi.org/10.14778/3551793.3551830) (2022).
# - C.-C. M. Yeh and others, [Matrix Profile I](https://doi.org/10.1109/ICDM.2016.0179) (2016).
# - M. Du and others, [DeepLog](https://doi.org/10.1145/3133956.3134015) (2017): event logs.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at the direction of time in the autoencoder (it writes backwards); draw three steps
#   by hand. Some take a gate for a threshold: it is a number between 0 and 1, not a switch.
# - **What to ask:** "Which of these faults could you see on a plot of one channel?" and "Your network finds the
#   anomaly. What does the one-liner find?"
# - **What to skip:** section 11.4 for a group that does not care how it is computed; the loop of section 11.7,
#   if the soft labels with their shoulders are enough.
#
# </details>
