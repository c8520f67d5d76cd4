# %% [markdown]
# # 03 · FedAvg from scratch
# *How does federated averaging work, line by line, and how can it be fast?*
#
# {{badges}}
#
# You will
#
# - **run** the code of an article of 2020 again, and **prove** that it computes the same;
# - **write** federated averaging yourself: local training, weighted mean, round loop;
# - **choose** local epochs and clients per round, and **count** the bytes that travel;
# - **train** many clients as one batched computation, with gradients written by hand;
# - **stop** a run, **resume** it to the same bits, and **find** the client that diverges;
# - **compare** federated, local and central training with the floors.
#
# You need: chapters 01 and 02 (autoencoder, average precision, floors, federation), and some
# PyTorch: a model, a loss, an optimiser.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 3.1 An article of 2020, run today
#
# In 2020 an article showed federated anomaly detection with PySyft 0.2. Three *workers*, alice,
# bob and charlie, held their own rows. The article sent a copy of the model to each worker
# (`model.send(worker)`), let it train there, got it back (`.get()`) and averaged the three copies.
#
# That code does not run any more: `TorchHook`, `VirtualWorker` and `send` are gone from PySyft. But
# we ran it once more on the old version, and recorded its data and its weights after every
# round. So we have something better than a memory of the article: numbers to agree with.

# %%
import copy

import numpy as np
import torch
from torch.nn.functional import mse_loss

import fedlab_utils as fl
from fedlab_utils.course import check, figures, figures_fedavg, hint, save_results, show, show_error
from fedlab_utils.data.files import dataset_path

# %%
torch.set_num_threads(1)  # matrices this small are computed before a second thread has woken up
recorded = np.load(dataset_path("article", "article_pysyft029_seed0.npz"))
names = ("alice", "bob", "charlie")
workers = {name: torch.tensor(recorded[f"data.{name}"]) for name in names}
{name: tuple(rows.shape) for name, rows in workers.items()}

# %% [markdown]
# The model of the article squeezes 20 numbers through 10 to 5, and mirrors that on the way back.
# The package has it, with the layers under the same names. We start from the recorded weights:

# %%
autoencoder = fl.DenseAutoencoder((20, 10, 5), "relu")
layer_names = list(autoencoder.state_dict())


def recorded_weights(moment):
    """The recorded weights: "init", or "round1" to "round5"."""
    return {name: torch.tensor(recorded[f"{moment}.{name}"]) for name in layer_names}


# %%
autoencoder.load_state_dict(recorded_weights("init"))
autoencoder

# %% [markdown]
# What did a worker do? It took five gradient steps on all of its rows. No library is needed to say
# so. The copy is important: each worker starts from the same model.


# %%
def train_here(model, rows, steps=5, lr=0.01):
    """Return a copy of the model after some gradient steps on one worker's rows."""
    own = copy.deepcopy(model)
    optimiser = torch.optim.SGD(own.parameters(), lr=lr)
    for _ in range(steps):
        optimiser.zero_grad()
        mse_loss(own(rows), rows).backward()
        optimiser.step()
    return own


# %% [markdown]
# And the server averaged, weight by weight:


# %%
def average(models):
    """The mean of some models, layer by layer, as a state dict."""
    states = [model.state_dict() for model in models]
    return {name: torch.stack([s[name] for s in states]).mean(dim=0) for name in layer_names}


# %% [markdown]
# That is all. A **round** is: train at every worker, average, go on from the average.


# %%
def gap(model, moment):
    """The largest difference between a model's weights and the recorded ones."""
    wanted = recorded_weights(moment)
    return max(float((w - wanted[n]).abs().max()) for n, w in model.state_dict().items())


# %%
for round_ in range(1, 6):
    autoencoder.load_state_dict(average([train_here(autoencoder, r) for r in workers.values()]))
    print(f"round {round_}: differs by at most {gap(autoencoder, f'round{round_}'):.0e}")

# %% [markdown]
# The differences are of the size of a rounding error of 32-bit numbers. Six years, another PyTorch
# and a whole library later, the same numbers come out. Behind all the machinery was this loop.
#
# The article then looked at charlie, whose last ten rows are anomalies:

# %%
charlie = workers["charlie"].numpy()
anomaly = np.arange(30) >= 20
error = fl.reconstruction_error(autoencoder, charlie)
print("as recorded:", np.allclose(error, recorded["charlie_error"], atol=1e-4))
show(figures.scores(error, anomaly, xlabel="Charlie's reconstruction error"))

# %% [markdown]
# A perfect separation! Was that the training? Chapter 01 taught us to ask for the floor:

# %%
from fedlab_utils.detect import auc

untrained = fl.DenseAutoencoder((20, 10, 5), "relu")
untrained.load_state_dict(recorded_weights("init"))
print("AUC, trained:  ", auc(anomaly, error))
print("AUC, untrained:", auc(anomaly, fl.reconstruction_error(untrained, charlie)))
print("AUC, row norm: ", auc(anomaly, np.linalg.norm(charlie, axis=1)))

# %% [markdown]
# It was not. The anomalies are just larger, and the length of a row finds them. So this data can
# show that two programs compute the same, and nothing more. We go back to the banks for the rest.
#
# First, does `fl.fit` agree with the article? It needs the workers as clients. It trains with two
# engines: "loop" does what we just did, and "stacked" is what this chapter builds.

# %%
no_rows = np.empty((0, 20), dtype=np.float32)
clients = [
    fl.Client(name, workers[name].numpy(), no_rows, no_rows, np.empty(0, bool), np.empty(0, str))
    for name in names
]
article = fl.Federation("article", clients, [f"x{i}" for i in range(20)])
five_steps = fl.SGD(lr=0.01, epochs=5, batch_size=None)  # full batch: an epoch is one step
unweighted = fl.Mean(weighted=False)

# %%
for rounds in range(1, 6):
    for engine in ("loop", "stacked"):
        run = fl.fit(
            untrained, article, rounds=rounds, local=five_steps, aggregator=unweighted,
            engine=engine, progress=False,
        )  # fmt: skip
        print(f"after round {rounds}, {engine:7}: {gap(run.model, f'round{rounds}'):.0e}")

# %% [markdown]
# ## 3.2 One flat vector per client
#
# A model is a set of matrices, but the server does not care: for it, a model is one long row of
# numbers. `fl.flatten` makes it, `fl.unflatten` puts it back. From here on, everything between the
# clients and the server works on such vectors: averages now, noise and encryption later.

# %%
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
model = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=0)
weights = fl.flatten(model)
print(f"P = {len(weights)} parameters")
print("there and back:", torch.equal(fl.flatten(fl.unflatten(weights, model)), weights))

# %% [markdown]
# (The model is wider than `fl.dense_autoencoder` makes it by default. Most of the fraud in the
# payments lies *near* the normal rows, and a wide model follows the normal rows closely enough.)
#
# A bank now trains with small batches. It shuffles its rows; `batch_order` makes an order that
# depends on the seed, the round, the client and the epoch, and on nothing else. What the bank
# sends is its **update**: its new weights minus those that it got.

# %%
from fedlab_utils.federate import RowStore, batch_order, train_loop, train_stacked

local = fl.SGD(lr=0.3, epochs=1, batch_size=64, momentum=0.9)


def local_update(client, weights, round_, seed=0):
    """One epoch on one client's rows; returns the change of the weights [P]."""
    own = fl.unflatten(weights, model)
    rows = torch.from_numpy(federation.clients[client].x_train)
    optimiser = torch.optim.SGD(own.parameters(), lr=local.lr, momentum=local.momentum)
    n = len(rows)
    (order,) = batch_order(seed, round_, np.array([client]), np.array([0]), n, np.array([n]))
    for batch in torch.from_numpy(order).split(local.batch_size):
        optimiser.zero_grad()
        mse_loss(own(rows[batch]), rows[batch]).backward()
        optimiser.step()
    return fl.flatten(own) - weights


# %% [markdown]
# One row per client: this is the **update matrix** $[K, P]$, the centre of this course.

# %%
updates = torch.stack([local_update(k, weights, round_=0) for k in range(len(federation))])
updates.shape

# %%
layer_sizes = {
    name: layer.weight.numel() + layer.bias.numel()
    for name, layer in model.named_modules()
    if isinstance(layer, torch.nn.Linear)
}
show(figures_fedavg.update_matrix(updates, federation.names, layer_sizes), name="update-matrix")

# %% [markdown]
# The columns look alike from bank to bank: in the first round all banks want to change the same
# weights. How alike? The cosine of the angle between two updates says it: 1 is the same direction,
# 0 is no relation.

# %%
unit = updates / updates.norm(dim=1, keepdim=True)
cosine = (unit @ unit.T).numpy()
show(
    figures.heat_map(
        cosine, federation.names, federation.names, xlabel="Bank", ylabel="Bank",
        label="Cosine of two updates",
    )
)  # fmt: skip

# %% [markdown]
# Does the package's loop give the same matrix? It wants the rows of all clients in a `RowStore`:

# %%
store = RowStore([client.x_train for client in federation], model)
everyone = np.arange(len(federation))
theirs, _ = train_loop(model, weights, store, everyone, local, seed=0, round_=0)
print("the same matrix:", np.allclose(updates, theirs, atol=1e-6))

# %% [markdown]
# ## 3.3 The weighted mean
#
# The article's three workers had equal votes. Our banks differ in size, and FedAvg gives each bank
# $k$ a vote in proportion to its training rows $n_k$:
#
# $$ w \leftarrow w + \sum_k \frac{n_k}{n} \Delta_k, \qquad n = \sum_k n_k $$

# %%
rows = torch.tensor(federation.sizes, dtype=torch.float32)


def weighted_mean(updates, rows):
    """The mean of the updates [K, P], weighted by rows [K]."""
    share = "???"
    return share @ updates


with show_error(TypeError):
    weighted_mean(updates, rows)

# %% [markdown]
# The hole is the fraction in the formula:


# %%
def weighted_mean(updates, rows):
    """The mean of the updates [K, P], weighted by rows [K]."""
    share = rows / rows.sum()
    return share @ updates


ours = weighted_mean(updates, rows)
print("as fl.Mean:", np.allclose(ours, fl.Mean().aggregate(updates, rows), atol=1e-7))

# %% [markdown]
# Why by rows? Let every bank take a single step on all of its rows. The weighted mean of these steps
# is then *exactly* the step that somebody with all rows in one place would take, because a mean over
# all rows is the weighted mean of the means over the parts. The unweighted mean is another step.

# %%
one_step = fl.SGD(lr=0.2, epochs=1, batch_size=None)
central = fl.fit(model, federation.pooled_federation(), rounds=1, local=one_step, progress=False)
wanted = fl.flatten(central.model) - weights

for aggregator in (fl.Mean(), fl.Mean(weighted=False)):
    run = fl.fit(model, federation, rounds=1, local=one_step, aggregator=aggregator, progress=False)
    difference = (fl.flatten(run.model) - weights - wanted).norm() / wanted.norm()
    print(f"{aggregator}: differs from the central step by {difference:.1e} of its length")

# %% [markdown]
# ## 3.4 More work at home: local epochs
#
# If that is exact, why not always take one step per round? Because a round costs a message to and
# from every bank, and a model needs thousands of steps. FedAvg lets the banks take many steps in a
# round, and pays with exactness: the banks' models drift apart before they are averaged.
#
# Here is the whole algorithm. We watch the loss on rows that were held back from training; labels
# are not needed.

# %%
held_back = federation.pooled().x_calibration


def fedavg(rounds, local, seed=0):
    """Federated averaging; returns the final weights and the held-back loss of each round."""
    weights, losses = fl.flatten(model), []
    for round_ in range(rounds):
        updates, _ = train_stacked(model, weights, store, everyone, local, seed, round_)
        weights = weights + weighted_mean(updates, rows)
        errors = fl.reconstruction_error(fl.unflatten(weights, model), held_back)
        losses.append(errors.mean())
    return weights, losses


# %% [markdown]
# We spend twelve passes over the data in three ways: in twelve rounds of one epoch, in three rounds
# of four, and in a single round of twelve. Three seeds, which change the order of the rows:

# %%
curves = {}
for epochs, rounds in [(1, 12), (4, 3), (12, 1)]:
    runs = [fedavg(rounds, fl.SGD(0.3, epochs, 64, 0.9), seed)[1] for seed in range(3)]
    curves[epochs], ends = runs[0], np.array([losses[-1] for losses in runs])
    print(
        f"{rounds:2} rounds of {epochs:2} epochs: loss {ends.mean():.4f} ± {ends.std(ddof=1):.4f}"
    )
show(figures_fedavg.rounds_and_work(curves), name="local-epochs")

# %% [markdown]
# On the left, counted in messages, four local epochs are far ahead of one. On the right, counted in
# work, they end at the same loss: here they cost nothing. Twelve epochs and a single average are too
# many: the banks' models have gone apart, and their mean is a worse model.
#
# Which axis you pay for is a question of your network, not of the algorithm. When clients differ
# more than these banks, drift does more harm: chapter 09 is about that.
#
# Our loop against the package's:

# %%
final, _ = fedavg(3, local)
run = fl.fit(model, federation, rounds=3, local=local, progress=False)
print("the same weights:", np.allclose(final, fl.flatten(run.model), atol=1e-6))

# %% [markdown]
# ## 3.5 Some clients at a time, and what travels
#
# With ten banks everyone can take part in every round. With a million phones nobody would wait for
# all of them. So the server draws a few clients anew for each round, without replacement:

# %%
for round_ in range(3):
    rng = np.random.default_rng([0, round_])
    print("round", round_ + 1, "clients", np.sort(rng.choice(10, size=3, replace=False)))

# %% [markdown]
# `fl.fit` does it with `clients_per_round`, and writes down who took part:

# %%
runs = {
    f"{k} of 10 banks": fl.fit(
        model, federation, rounds=20, local=local, clients_per_round=k, progress=False
    )
    for k in (1, 3, 10)
}
for record in list(runs["3 of 10 banks"].history)[:3]:
    print(record.round, record.clients)

# %%
show(figures.curves({name: run.history.loss for name, run in runs.items()}, ylabel="Training loss"))

# %% [markdown]
# With few clients the curve is restless: each round follows the banks that were drawn, and shows
# their loss alone. It still gets down. The history also counts the bytes, four for each number that travels:

# %%
runs["3 of 10 banks"].history.to_frame()[["clients", "loss", "bytes_up", "bytes_down"]].tail(3)

# %%
data_bytes = sum(client.x_train.nbytes for client in federation)
print(f"all training rows of all banks: {data_bytes / 1e6:.1f} MB")
for name, run in runs.items():
    print(f"{name}: {sum(run.history.bytes_up) / 1e6:.1f} MB up, the same down")

# %% [markdown]
# Compare the lines with the first, and remember to count both directions. With all banks in every
# round, moving the data once would have been cheaper; with fewer banks a round it would not. But the
# point is not how many bytes leave a bank. It is *which*: weights leave, and rows do not.

# %% [markdown]
# ## 3.6 From loop to stacked
#
# A loop over clients is easy to read, and slow. Look at its work: for each client, for each batch,
# PyTorch starts some dozens of operations on tiny matrices, and starting an operation takes longer
# than its arithmetic. The clients all do the same at the same time. So give every matrix a
# leading axis, the client, and let one **batched product** do the work of many:
#
# $$ Y_k = X_k W_k^\top \quad \text{for all clients } k \text{ at once.} $$
#
# Two clients by hand, with the first layer of two different models:

# %%
two = [fl.dense_autoencoder(23, hidden=46, code=8, seed=seed) for seed in (1, 2)]
first_layers = [m.encoder[0].weight.detach() for m in two]
x = torch.stack([torch.from_numpy(c.x_train[:32]) for c in federation.clients[:2]])

together = torch.bmm(x, torch.stack(first_layers).transpose(1, 2))
alone = [x[k] @ first_layers[k].T for k in range(2)]
print(tuple(together.shape), np.allclose(together, torch.stack(alone), atol=1e-5))

# %% [markdown]
# The update matrix has the right form already: cut its columns into layers, and each layer is a
# stack of matrices.


# %%
SHAPES = [(23, 46), (46, 8), (8, 46), (46, 23)]  # inputs and outputs of the four layers


def layers(flat):
    """Cut models [K, P] into layers: pairs of weights [K, out, in] and biases [K, 1, out]."""
    stack, at = [], 0
    for n_in, n_out in SHAPES:
        weight = flat[:, at : at + n_out * n_in].view(-1, n_out, n_in)
        bias = flat[:, at + n_out * n_in : at + n_out * (n_in + 1)].unsqueeze(1)
        stack.append((weight, bias))
        at += n_out * (n_in + 1)
    return stack


# %%
flat = torch.stack([fl.flatten(m) for m in two])
[tuple(weight.shape) for weight, _ in layers(flat)]

# %% [markdown]
# Training needs the gradient too. For this network it is short enough to write by hand. Call the
# input of layer $i$ $h_i$, and its output before the activation $z_i = h_i W_i^\top + b_i$. Then,
# going backwards with $\delta_i = \partial L / \partial z_i$:
#
# $$ \frac{\partial L}{\partial W_i} = \delta_i^\top h_i, \qquad
#    \frac{\partial L}{\partial b_i} = \sum_{\text{rows}} \delta_i, \qquad
#    \delta_{i-1} = (\delta_i W_i) \cdot a'(z_{i-1}) $$
#
# where $\tanh' = 1 - \tanh^2$, and the layers without activation have $a' = 1$. It starts at the
# output with $\delta = 2\,(\hat{x} - x) / (B d)$, since the loss is a mean over $B$ rows of $d$ features.


# %%
def gradient(flat, x, row_weight):
    """Gradients [K, P] of K models on one batch each: x [K, B, d], row_weight [K, B]."""
    stack, h = layers(flat), [x]
    for i, (weight, bias) in enumerate(stack):
        z = torch.baddbmm(bias, h[i], weight.transpose(1, 2))
        h.append(torch.tanh(z) if i in (0, 2) else z)
    delta = 2 * row_weight.unsqueeze(2) * (h[-1] - x) / x.shape[2]
    parts = []
    for i in reversed(range(len(stack))):
        if i in (0, 2):
            delta = delta * (1 - h[i + 1] ** 2)
        parts = [torch.bmm(delta.transpose(1, 2), h[i]).flatten(1), delta.sum(1), *parts]
        delta = torch.bmm(delta, stack[i][0])
    return torch.cat(parts, dim=1)


# %% [markdown]
# In a full batch each row has the weight $1/B$. Autograd, client by client, is the judge:


# %%
def by_autograd(vector, x):
    """The gradient [P] of one model on one batch [B, d]."""
    own = fl.unflatten(vector, model)
    mse_loss(own(x), x).backward()
    return torch.cat([p.grad.flatten() for p in own.parameters()])


alone = torch.stack([by_autograd(flat[k], x[k]) for k in range(2)])
by_hand = gradient(flat, x, torch.full((2, 32), 1 / 32))
print("the same gradients:", np.allclose(by_hand, alone, atol=1e-6))

# %% [markdown]
# ## 3.7 Why it is fast
#
# Count how often Python calls PyTorch for one step of $K$ clients. PyTorch lets us listen:

# %%
from torch.overrides import TorchFunctionMode


class Calls(TorchFunctionMode):
    """Counts the calls into PyTorch inside a `with` block."""

    number = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.number += 1
        return function(*args, **(kwargs or {}))


# %%
def loop_step(flat, x):
    return [by_autograd(flat[k], x[k]) for k in range(len(x))]


def stacked_step(flat, x):
    return gradient(flat, x, torch.full(x.shape[:2], 1 / x.shape[1]))


for k in (1, 10, 100):
    many, batch = weights.repeat(k, 1), x[:1].repeat(k, 1, 1)
    with Calls() as loop:
        loop_step(many, batch)
    with Calls() as stacked:
        stacked_step(many, batch)
    print(f"{k:3} clients: loop {loop.number:6} calls, stacked {stacked.number:3}")

# %% [markdown]
# The loop's count grows with the clients, and what autograd starts by itself on the way back is not
# even in it. The stacked count does not grow at all. The arithmetic is the same in both, so the gain
# is the overhead that is gone. How large is it? We measure whole client updates on a small
# standard job: 256 rows of 20 features, batches of 32, one epoch, one thread for both.
# (With two threads the loop can even be slower, because they wait for each other.)

# %%
import time

small = fl.dense_autoencoder(20, hidden=10, code=5, seed=0)
start = fl.flatten(small)
rng = np.random.default_rng(0)
job = RowStore([rng.normal(size=(256, 20)).astype(np.float32) for _ in range(1000)], small)


def updates_per_second(train, k):
    """The best of three: client updates per second with k clients."""
    seconds = []
    for round_ in range(3):
        begin = time.perf_counter()
        train(small, start, job, np.arange(k), fl.SGD(lr=0.05), 0, round_)
        seconds.append(time.perf_counter() - begin)
    return k / min(seconds)


# %%
loop = updates_per_second(train_loop, 30)
speed = {f"{k:,}": updates_per_second(train_stacked, k) / loop for k in (1, 10, 100, 1000)}
print(", ".join(f"{k} at once: {ratio:.1f} times the loop" for k, ratio in speed.items()))
show(
    figures.bars(
        {"loop": dict.fromkeys(speed, 1.0), "stacked": speed},
        ylabel="Client updates per second, loop = 1", xlabel="Clients trained side by side",
    ),
    name="loop-and-stacked",
)  # fmt: skip

# %% [markdown]
# These ratios are from one run on the machine that built this page; yours will differ. In a terminal,
# `python -m fedlab_utils.federate.bench` measures it more carefully, and other frameworks with it.
#
# The package's version does the same as our `gradient`, and avoids copies on top: it keeps the rows
# of a batch in the last axis, writes into buffers that it made before, and takes the clients in
# portions that fit the processor's cache.

# %% [markdown]
# ## 3.8 Clients of unequal size
#
# Batched products want equal shapes, but banks have unequal numbers of rows, and the last batch of
# an epoch is smaller than the others. The trick: fill the batch up with any rows, and give
# these a weight of zero. Here client 2 has three rows, and two of padding:

# %%
ragged = x[:, :5].clone()
ragged[1, 3:] = 999.0  # padding, deliberately absurd
row_weight = torch.tensor([[1 / 5] * 5, [1 / 3] * 3 + [0, 0]])

padded = gradient(flat, ragged, row_weight)
print("client 1:", np.allclose(padded[0], by_autograd(flat[0], x[0, :5]), atol=1e-6))
print("client 2:", np.allclose(padded[1], by_autograd(flat[1], x[1, :3]), atol=1e-6))

# %% [markdown]
# Whoever has finished its rows drops out of the stack, and the rest goes on. The proof is again
# the loop. Our banks are as ragged as can be:

# %%
print("rows:", federation.sizes, "  in the last batch:", federation.sizes % local.batch_size)
two_epochs = fl.SGD(lr=0.3, epochs=2, batch_size=64, momentum=0.9)
by_loop, _ = train_loop(model, weights, store, everyone, two_epochs, seed=0, round_=0)
stacked, _ = train_stacked(model, weights, store, everyone, two_epochs, seed=0, round_=0)
print(f"largest difference: {(by_loop - stacked).abs().max() / by_loop.abs().max():.0e} (relative)")

# %% [markdown]
# ## 3.9 Runs you can trust: same bits, checkpoints, divergence
#
# **One seed fixes everything**: which clients are drawn, and in which order rows are visited. Nearly
# the same is not enough for finding a bug. Two runs give the same bits:


# %%
def short_run(**options):
    options = {"rounds": 4, "clients_per_round": 5, "seed": 0, **options}
    return fl.flatten(fl.fit(model, federation, local=local, progress=False, **options).model)


print("same seed:   ", torch.equal(short_run(), short_run()))
print("another seed:", torch.equal(short_run(), short_run(seed=1)))

# %% [markdown]
# **A run may be interrupted.** With `checkpoint` the state is written to a file after each round. We
# stop after two rounds, and call `fit` again:

# %%
import contextlib
import tempfile

from fedlab_utils.errors import CheckpointError, DivergedError

with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
    short_run(rounds=2, checkpoint="run.npz")
    resumed = short_run(rounds=4, checkpoint="run.npz")
    print("as without a break:", torch.equal(resumed, short_run(rounds=4)))
    with show_error(CheckpointError):
        short_run(rounds=4, checkpoint="run.npz", seed=1)

# %% [markdown]
# The last call was refused: a checkpoint remembers to which data, model and settings it belongs.
#
# **A client may diverge**, and a mean with one broken row is broken everywhere. Say bank 3 forgot to
# prepare one of its features: its amounts come as they are, without logarithm and scaling.

# %%
from dataclasses import replace

raw = fl.load("payments", clients=10, shift=0.6, seed=0, scaler=None)
amount = federation.features.index("amount")
unprepared = federation["bank 3"].x_train.copy()
unprepared[:, amount] = np.expm1(raw["bank 3"].x_train[:, amount])
banks = [replace(c, x_train=unprepared) if c.name == "bank 3" else c for c in federation]
mixed = replace(federation, clients=banks)

# %%
relu = fl.dense_autoencoder(23, hidden=46, code=8, activation="relu", seed=0)
with show_error(DivergedError):
    fl.fit(relu, mixed, rounds=5, local=local, progress=False)

# %% [markdown]
# The error names the bank and the round, before the mean spreads the damage. Without it you would
# see a loss that is not a number, and ten suspects.
#
# That was a network with ReLU. Our tanh network is bounded inside, so it stays finite, and nobody
# raises an error. Then look at the losses and the update matrix, client by client:

# %%
broken_store = RowStore([client.x_train for client in mixed], model)
broken, losses = train_stacked(model, weights, broken_store, everyone, local, 0, 0)
for name, loss, norm in zip(mixed.names, losses, broken.norm(dim=1), strict=True):
    print(f"{name:7}: loss {loss:8.2f}, length of the update {norm:6.1f}")

# %% [markdown]
# One row stands out. A rate that is too large is the other usual reason for divergence; then many
# banks are named:

# %%
with show_error(DivergedError):
    fl.fit(model, federation, rounds=5, local=fl.SGD(lr=5.0), progress=False)

# %% [markdown]
# ## 3.10 Federated, local, central
#
# Now the question of chapter 02, with all we have: does it pay? Three seeds; each draws new
# banks and new start weights.


# %%
def compare(federation, seed, rounds, local, **shape):
    """Train federated, central and local with the same budget, and evaluate beside the floors."""
    start = fl.dense_autoencoder(federation.n_features, seed=seed, **shape)
    options = {"rounds": rounds, "local": local, "seed": seed, "progress": False}
    models = {
        "federated": fl.fit(start, federation, **options).model,
        "local": fl.fit_local(start, federation, rounds=rounds, local=local, seed=seed),
        "central": fl.fit(start, federation.pooled_federation(), **options).model,
    }
    return fl.evaluate(models, federation, seed=seed)


# %%
from fedlab_utils.detect import format_summary

reports = []
for seed in range(3):
    banks = fl.load("payments", clients=10, shift=0.6, seed=seed)
    reports.append(compare(banks, seed, rounds=20, local=local, hidden=46, code=8))
payments = format_summary(fl.summarise(reports))
save_results("03", "Payments: mean and spread of three seeds", payments)
payments

# %% [markdown]
# First the floors: without learning, hardly anything is found. Then the average precision: federated
# lies between local and central, in the pooled list, for the mean bank and for the worst one. What it
# lacks to central is the price of keeping the rows at home: in a round the central model takes as
# many steps in a row as all banks together, the federated one only as many as one bank.
#
# In AUC the three are within each other's spread: over the whole list they rank alike, and AP looks at
# its top. So be careful with a sentence like "federation pays". Here it does for the top of the list
# and most of all for the worst bank, in the mean of three seeds, at this budget.

# %% [markdown]
# ## 3.11 And on real data
#
# The shuttle data come from sensors of a radiator in space. It has no natural clients, so we make ten,
# each of which knows few of the modes in which the shuttle runs (`Dirichlet`, chapter 02).

# %%
few_modes = fl.Dirichlet(10, alpha=0.3)
reports = []
for seed in range(3):
    shuttle = fl.load("shuttle", partition=few_modes, seed=seed)
    reports.append(compare(shuttle, seed, rounds=5, local=fl.SGD(0.1, 1, 64, 0.9)))
table = format_summary(fl.summarise(reports))
save_results("03", "Shuttle, Dirichlet clients: mean and spread of three seeds", table)
table

# %% [markdown]
# The mean hides what matters. Pooled, local, federated and central are equal, and the **floor** is
# close to them: an untrained network or the length of a row solve shuttle nearly as well, and the
# isolation forest has a higher AP. Whoever reports a single AUC on this data set reports the floor.
# Look at the worst client instead: there the floor and the forest are weak, local training depends
# on the luck of the split (see its spread), and federated is about as good as central.
#
# Handwritten digits are harder: the 4 is the anomaly, all others are normal, and a client has about
# a hundred images.

# %%
reports = []
for seed in range(3):
    digits = fl.load("digits", anomaly=4, partition=few_modes, seed=seed)
    solver = fl.SGD(lr=0.2, epochs=2, batch_size=16, momentum=0.9)
    reports.append(compare(digits, seed, rounds=40, local=solver, hidden=32, code=8))
table = format_summary(fl.summarise(reports))
save_results("03", "Digits, Dirichlet clients: mean and spread of three seeds", table)
table

# %% [markdown]
# All three are above the untrained network, and central is ahead. The isolation forest, which needs
# all rows in one place, comes close to local training. For the mean client, local and federated are
# the same within the spread; the clear gain is again the worst client, in AUC. The spread between
# seeds is wide, since each seed divides the images anew: a single seed would prove nothing here.

# %% [markdown]
# ## What we have built
#
# - The article's run of 2020, reproduced round by round.
# - FedAvg in three small functions: `local_update`, `weighted_mean`, `fedavg`.
# - The update matrix $[K, P]$, on which all later chapters work.
# - A stacked engine: all clients in one batched computation, gradients by hand, unequal sizes by
#   weights of zero, and equal to the loop.
# - Runs that repeat to the bit, resume from a checkpoint, and name the client that diverges.

# %% [markdown]
# ## Check yourself
#
# **Why is the mean weighted by rows?**
#
# <details><summary>Answer</summary>
# Then one full-batch step of each client, averaged, is exactly the central step. Without weights a
# row of a small bank counts more than a row of a large one. That can be what you want, if banks
# rather than payments should have equal say.
# </details>
#
# **You double the local epochs and halve the rounds. What do you save, and what may it cost?**
#
# <details><summary>Answer</summary>
# Half of the messages, at the same amount of work. The clients drift further apart between two
# averages, so the same work may end at a higher loss.
# </details>
#
# **Where does the speed of the stacked engine come from? Does it do less arithmetic?**
#
# <details><summary>Answer</summary>
# The arithmetic is the same. One started operation serves all clients, so the cost of starting
# operations no longer grows with the number of clients.
# </details>
#
# **The training loss is "not a number". Why is the name of the client worth a check in every round?**
#
# <details><summary>Answer</summary>
# After the mean, all weights are broken, and the cause cannot be seen any more. Before the mean, it
# is one row of the update matrix.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 03.1** (easy) Write `run_bytes`: the bytes that travel in a whole run, up and down
# together, when in each round `clients` clients get a model with `parameters` float32 numbers
# and send one back.


# %% tags=["exercise"]
def run_bytes(parameters, clients, rounds):
    """Return the bytes of a run in both directions."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return 4 * parameters * clients * rounds * 2
    # END SOLUTION


check("03.1", run_bytes)

# %% [markdown]
# **Exercise 03.2** (medium) Write `draw_clients`: the numbers of `k` different clients out of
# `total`, as an array. The draw must depend on `seed` and `round_` alone: the same for the same two,
# and another one in another round. (A generator that is made once and used in every round would
# not do: after a resume it would start from the beginning.)


# %% tags=["exercise"]
def draw_clients(total, k, seed, round_):
    """Return the numbers [k] of the clients that take part in a round."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return np.random.default_rng([seed, round_]).choice(total, size=k, replace=False)
    # END SOLUTION


check("03.2", draw_clients)

# %% [markdown]
# **Exercise 03.3** (medium) Write `stacked_layer`: one linear layer for $K$ clients at once, without
# a loop. Use `torch.bmm` or `torch.einsum`. Mind the bias: each client has its own.


# %% tags=["exercise"]
def stacked_layer(x, weight, bias):
    """Map x [K, B, in] by weight [K, out, in] and bias [K, out]; returns [K, B, out]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return torch.einsum("kbi,koi->kbo", x, weight) + bias.unsqueeze(1)
    # END SOLUTION


check("03.3", stacked_layer)

# %% [markdown]
# **Exercise 03.4** (hard) Write `row_weights` of section 3.8: given the number of real rows of each
# client in this batch, and the common width of the batch, return the weights that make the stacked
# loss of each client the mean over its real rows.


# %% tags=["exercise"]
def row_weights(counts, width):
    """Return weights [K, width] for clients with counts [K] real rows, which stand first."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    counts = np.asarray(counts)[:, None]
    return (np.arange(width) < counts) / counts
    # END SOLUTION


check("03.4", row_weights)

# %%
hint("03.4")

# %% [markdown]
# **Exercise 03.5** (open) The server need not take the mean update as it is: `fl.ServerSGD(lr)`
# multiplies it first, and `lr=1` is FedAvg. Run `fl.fit(..., server=fl.ServerSGD(lr))` for several
# rates, below 1 and above, with all banks and with `clients_per_round=1`. When does a smaller
# rate help? Write down a guess before you look.

# %% tags=["solution"]
for k in (1, 10):
    for lr in (0.3, 1.0, 1.5):
        server = fl.ServerSGD(lr)
        run = fl.fit(
            model, federation, rounds=10, local=local, server=server, clients_per_round=k,
            progress=False,
        )  # fmt: skip
        error = fl.reconstruction_error(run.model, held_back).mean()
        print(f"{k:2} of 10 banks, server rate {lr}: held-back loss {error:.4f}")

# %% [markdown] tags=["solution"]
# With one bank a round, the update is noisy: a rate above 1 exaggerates it and hurts. A small rate
# damps the noise, but in so few rounds it is also slow; its time comes in long runs. With all banks
# the mean is calm already, and a rate a little above 1 does no harm.

# %% [markdown]
# ## Further reading
#
# - B. McMahan and others, [Communication-Efficient Learning of Deep Networks from Decentralized
#   Data](https://arxiv.org/abs/1602.05629) (2017): FedAvg, local epochs and client sampling.
# - S. Reddi and others, [Adaptive Federated Optimization](https://arxiv.org/abs/2003.00295) (2021):
#   the server as an optimiser.
# - J. Wang and others, [A Field Guide to Federated Optimization](https://arxiv.org/abs/2107.06917)
#   (2021): what to report, and how to simulate.
# - J. H. Ro and others, [FedJAX](https://arxiv.org/abs/2108.02117) (2021), and F. Granqvist and others,
#   [pfl-research](https://arxiv.org/abs/2404.06430) (2024): other answers to the question of speed.
# - PyTorch, [Model ensembling](https://docs.pytorch.org/tutorials/intermediate/ensembling.html): the
#   same idea for any module, with `vmap`.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at the shapes of section 3.6. Let them draw $[K, B, d]$ as a stack of
#   sheets, one sheet per client. Some average the *losses*; ask what the server would do with one.
# - **What to ask:** "Charlie's anomalies are found perfectly. What would convince you that the
#   training did it?" and "What does the server learn about bank 3 from one row of the matrix?"
# - **What to skip:** the gradient by hand for a group without calculus (the agreement with autograd
#   is enough); section 3.9 if time is short.
#
# </details>
