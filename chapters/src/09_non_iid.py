# %% [markdown]
# # 09 · When clients differ
# *What does it do to federated averaging that no two clients are alike, and what helps?*
#
# {{badges}}
#
# You will
#
# - **see** five ways in which clients differ, and **measure** how far they drift apart;
# - **write** the published remedies yourself: FedProx, SCAFFOLD, FedNova, server optimisers;
# - **give** each client something of its own: a last tuning, a model, a scaler, a cluster;
# - **check** for six of them that they are FedAvg in their limiting case, to the bit or to rounding;
# - **compare** sixteen methods in eight settings, with equal work and without labels;
# - **say** where plain FedAvg, or no federation at all, is the best choice.
#
# You need: chapters 02 and 03 (local, federated, central; `fl.fit`, update matrix).
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 9.1 Five ways to differ
#
# Rows are **IID** (independent and identically distributed) if it does not matter which client holds
# them. Dealt out like cards, they are. Real clients are not dealt out. They can differ
#
# - in **size**: one has thousands of rows, another ten (*quantity skew*);
# - in **what they see**: each knows few of the kinds of rows (*Dirichlet* partitions imitate it);
# - in **units** or habits: the same thing has other numbers (*covariate shift*);
# - in **meaning**: what is normal here is odd there (*concept shift*);
# - in all of it at once, as **natural** clients do: hospitals, banks.
#
# This chapter has eight settings for it. The last client of each stays unseen, as in chapter 02.

# %%
import numpy as np
import pandas as pd
import torch
from torch.nn.functional import mse_loss

import fedlab_utils as fl
from fedlab_utils import detect
from fedlab_utils.course import check, figures, figures_noniid, hint, save_results, show, show_error
from fedlab_utils.federate import comparison

# %%
torch.set_num_threads(1)  # matrices this small are computed before a second thread has woken up
pd.set_option("display.max_colwidth", None)
settings = comparison.SETTINGS
pd.Series({name: s.differs for name, s in settings.items()}, name="what differs").to_frame()

# %% [markdown]
# Who holds what? We sort all rows of a federation into six groups of similar ones. The larger a disc,
# the more rows of that group a client has. (Only we can draw this: we see all rows.)

# %%
from sklearn.cluster import KMeans


def groups(federation):
    """How many training rows of each group a client has, [clients, 6]."""
    kmeans = KMeans(6, n_init=1, random_state=0).fit(federation.pooled().x_train)
    return [np.bincount(kmeans.predict(c.x_train), minlength=6) for c in federation]


# %%
skews = {name: settings[name].make(0) for name in ("digits, quantity", "digits, Dirichlet")}
banks = settings["banks apart"].make(0)
group_names = [f"group {i}" for i in range(1, 7)]
for federation in (*skews.values(), banks):
    show(figures.partition(groups(federation), federation.names, group_names, ylabel="Group"))

# %% [markdown]
# From the top: clients that differ in size only; digits that are dealt out by kind; and banks whose
# `shift` is as large as it can be. The banks differ in size *and* in kind.

# %% [markdown]
# ## 9.2 Drift, measured
#
# In a round each client walks from the common model towards its own optimum, and the server takes the
# mean of where they end. What if they walk in different directions? For two updates $a$ and $b$
#
# $$ \text{angle} = \arccos \frac{a \cdot b}{|a| |b|} $$
#
# is 0° for the same direction and 90° for directions that have nothing to do with each other.

# %%
cosine = "???"


def angle(a, b):
    """The angle in degrees between two updates [P]."""
    return np.degrees(np.arccos(cosine(a, b)))


with show_error(TypeError):
    angle(np.array([1.0, 0.0]), np.array([1.0, 1.0]))


# %%
def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


angle(np.array([1.0, 0.0]), np.array([1.0, 1.0]))

# %% [markdown]
# We ask the banks after five rounds of FedAvg. At a random start all clients agree that the model is
# bad, and that would hide what we look for.

# %%
from tqdm import tqdm

from fedlab_utils.federate import RowStore, client_drift

# %%
model = fl.dense_autoencoder(banks.n_features, hidden=46, code=8, seed=0)
sgd = fl.SGD(lr=0.3, epochs=1, batch_size=64, momentum=0.9)
warm = fl.fit(model, banks, rounds=5, local=sgd, progress=False).model


def updates_of(federation, model, local):
    """The update of each client, [K, P], if a round began at this model."""
    store = RowStore([c.x_train for c in federation], model)
    start, everyone = fl.flatten(model), np.arange(len(federation))
    return local.train("stacked", model, start, store, everyone, seed=0, round_=99)[0]


# %%
updates = updates_of(banks, warm, sgd)

# %% [markdown]
# Compare a bank with the mean of the *others*. Its own update is a part of the mean of all, so even
# unrelated banks would seem to agree with that.

# %%
share = banks.sizes / banks.sizes.sum()
matrix = updates.double().numpy()
angles = [angle(matrix[k], share @ matrix - share[k] * matrix[k]) for k in range(len(banks))]
drift = client_drift(updates, banks.sizes)
print("as the package:", np.allclose(angles, drift.angle))
# %%
columns = {"training rows": banks.sizes, "length": drift.norm, "angle": drift.angle}
pd.DataFrame(columns, index=banks.names).round(2)

# %%
print(f"of their length the mean keeps {drift.kept:.0%}")

# %% [markdown]
# That last number is how much of the walking is left after averaging: the length of the mean update
# by the mean length. If all walk the same way it is 100%.
#
# Now the same for five federations, with more and more local epochs:


# %%
def drift_by_epochs(federation, local, epochs, **shape):
    """Mean angle and kept share for each number of local epochs, from a warm model."""
    start = fl.dense_autoencoder(federation.n_features, seed=0, **shape)
    ready = fl.fit(start, federation, rounds=5, local=local, progress=False).model
    found = []
    for number in epochs:
        longer = fl.SGD(local.lr, number, local.batch_size, local.momentum)
        found.append(client_drift(updates_of(federation, ready, longer), federation.sizes))
    return [d.angle.mean() for d in found], [d.kept for d in found]


# %%
alike = fl.load("payments", clients=9, customers=40, shift=0, seed=0)
dealt = fl.load("digits", anomaly=4, partition=fl.IID(10), seed=0)
small = fl.SGD(lr=0.3, epochs=1, batch_size=16, momentum=0.9)
# %%
wide, narrow = {"hidden": 46, "code": 8}, {"hidden": 32, "code": 8}
cases = {"banks alike": (alike, sgd, wide), "banks apart": (banks, sgd, wide)}
cases["digits, IID"] = (dealt, small, narrow)
cases |= {name: (federation, small, narrow) for name, federation in skews.items()}

# %%
epochs = [1, 2, 4, 8, 16]
lines = {
    name: drift_by_epochs(federation, local, epochs, **shape)
    for name, (federation, local, shape) in tqdm(cases.items(), delay=2)
}
parts = [{name: line[i] for name, line in lines.items()} for i in (0, 1)]
# %%
show(figures_noniid.drift(epochs, *parts), name="09_drift")

# %% [markdown]
# What the partition is like matters more than the number of epochs. Clients that know few kinds of
# digits stand nearly at right angles, and the mean keeps only about half of their walking. At one
# epoch, digits dealt out like cards agree best of all. Banks apart agree less than banks alike, at each
# number of epochs.
#
# Two things may surprise you. For the banks the angles get *smaller* at first. Banks alike are
# exchangeable, so what parts them can only be chance: a short walk in small batches is mostly noise,
# and it takes some epochs until the common direction shows. For the digits dealt out like cards it is
# the other way round from two epochs on. And under quantity skew the angles are large, though nothing
# differs but the size: a client with ten images has chance for a direction. But it weighs little, so
# the mean keeps most of the length. Look at both panels before you say "drift".
#
# And what does it do to detection? Forty passes over the digits, cut into rounds of one, four and
# twenty epochs; three seeds.


# %%
def ap(model, client):
    return detect.average_precision(client.y_test, fl.reconstruction_error(model, client.x_test))


# %%
def fedavg_on_digits(partition, epochs, seed):
    """AP of the mean and of the worst client."""
    data = fl.load("digits", anomaly=4, partition=partition, seed=seed)
    start = fl.dense_autoencoder(64, **narrow, seed=seed)
    local = fl.SGD(0.3, epochs, 16, 0.9)
    run = fl.fit(start, data, rounds=40 // epochs, local=local, seed=seed, progress=False)
    values = [ap(run.model, client) for client in data]
    return np.nanmean(values), np.nanmin(values)


# %%
partitions = {"IID": fl.IID(10), "Dirichlet 0.2": fl.Dirichlet(10, alpha=0.2)}
rows = {}
for name, number in tqdm([(n, e) for n in partitions for e in (1, 4, 20)], delay=2):
    found = np.array([fedavg_on_digits(partitions[name], number, seed) for seed in range(3)])
    mean, spread = found.mean(axis=0), found.std(axis=0, ddof=1)
    cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, spread, strict=True)]
    rows[name, number] = dict(zip(["AP mean client", "AP worst client"], cells, strict=True))
# %%
pd.DataFrame(rows).T.rename_axis(["digits", "local epochs"])

# %% [markdown]
# Four epochs a round are best in both rows. A single one wastes rounds (the model has not got far after
# forty passes), and twenty, with two averages in all, lose some of it again. For the worst client the
# loss from four to twenty is larger with Dirichlet clients, but look at the spread: three seeds do not
# settle it. So longer walks cost little here, if anything: drift is not a catastrophe. Keep that in mind
# when a remedy promises a lot.

# %% [markdown]
# ## 9.3 FedProx: a rubber band
#
# All remedies that work at the client add something to the gradient of each step. So we write local
# training once, with a place for it:


# %%
def gradient(w, x):
    """The gradient [P] of the reconstruction error of rows x at the weights w [P]."""
    own = fl.unflatten(w, model)
    mse_loss(own(x), x).backward()
    return torch.cat([p.grad.flatten() for p in own.parameters()])


# %%
def local_update(w, x, extra, lr=0.3, steps=5):
    """Full-batch steps from w; `extra(v)` is added to the gradient at v."""
    v = w.clone()
    for _ in range(steps):
        v = v - lr * (gradient(v, x) + extra(v))
    return v - w


# %%
w = fl.flatten(warm)
x = torch.from_numpy(banks["bank 2"].x_train)
plain = local_update(w, x, extra=lambda v: 0)
five_steps = fl.SGD(lr=0.3, epochs=5, batch_size=None)  # full batch: an epoch is one step
theirs = updates_of(banks.only(["bank 2"]), warm, five_steps)[0]
print("nothing extra is SGD:", np.allclose(plain, theirs, atol=1e-5))

# %% [markdown]
# **FedProx** ties each client to the common model by a rubber band. It trains on
#
# $$ F_k(v) + \frac\mu2 |v - w|^2 $$
#
# where $w$ are the weights that it got. The gradient of the second term is what is to be added:

# %%
mu = 0.5
banded = local_update(w, x, extra=lambda v: mu * (v - w))
print(f"length of the update: {plain.norm():.3f} without, {banded.norm():.3f} with the band")

# %% [markdown]
# The package's version is a local solver like `fl.SGD`. With $\mu = 0$ there is no band, and it must be
# FedAvg: not nearly, but in every bit.

# %%
from fedlab_utils.federate import FedProx

theirs = updates_of(banks.only(["bank 2"]), warm, FedProx(0.3, 5, None, mu=mu))[0]
print("as the package:", np.allclose(banded, theirs, atol=1e-5))


# %%
def weights_after(local=None, rounds=3, **options):
    """The common weights after some rounds from the start model."""
    run = fl.fit(model, banks, rounds=rounds, local=local or sgd, progress=False, **options)
    return fl.flatten(run.model)


no_band = FedProx(0.3, 1, 64, 0.9, mu=0)
print("mu = 0 is FedAvg:", torch.equal(weights_after(sgd), weights_after(no_band)))

# %% [markdown]
# Does it cure drift? Eight local epochs:

# %%
rows = {}
for mu in (0, 0.01, 0.1, 1):
    d = client_drift(updates_of(banks, warm, FedProx(0.3, 8, 64, 0.9, mu=mu)), banks.sizes)
    rows[mu] = {"mean length": d.norm.mean(), "mean angle": d.angle.mean(), "kept": d.kept}
pd.DataFrame(rows).T.rename_axis("mu").round(3)

# %% [markdown]
# It cures the *length*. Already a small band makes the walks much shorter, but they do not agree
# better: the angles grow, and the mean keeps less. Short walks are noisy ones, as you saw in the
# figure. A strong band is like taking fewer local steps, which you could have had for less work.

# %% [markdown]
# ## 9.4 SCAFFOLD: know your own bias
#
# A band holds a client back in all directions, also the right ones. **SCAFFOLD** is more specific: if
# client $k$ knew how its gradient differs from the average one, it could correct that. It does, from
# the round before. It keeps $c_k$, the mean gradient that it met; the server keeps their mean $c$;
# and each step uses
#
# $$ g - c_k + c $$
#
# We look at it on three clients with one weight each. Client $k$ has the loss
# $\frac{a_k}{2} (w - b_k)^2$: it would like $w = b_k$, and $a_k$ says how strongly. So the optimum of all is
# known.

# %%
a, b = np.array([1.0, 4.0, 0.5]), np.array([-1.0, 0.5, 3.0])
optimum = (a * b).sum() / a.sum()


# %%
def end(corrected, rounds=50, lr=0.1, steps=10):
    """The weight after some rounds of FedAvg, or of SCAFFOLD if `corrected`."""
    w, c_own, c = 0.0, np.zeros(3), 0.0
    for _ in range(rounds):
        v = np.full(3, w)
        for _ in range(steps):
            v = v - lr * (a * (v - b) + corrected * (c - c_own))
        met = (w - v) / (lr * steps)  # the mean gradient of the steps, as corrected
        c_own = met + corrected * (c_own - c)  # and without the correction
        w, c = v.mean(), c_own.mean()
    return w


# %%
print(f"optimum {optimum:.4f}, FedAvg {end(False):.4f}, SCAFFOLD {end(True):.4f}")

# %% [markdown]
# However many rounds you allow, FedAvg stands still at a wrong place: there the three walks cancel
# out, though the gradients do not. SCAFFOLD finds the optimum. Now for a network and the banks:


# %%
def scaffold(rounds, parts, lr=0.3, steps=5):
    """Algorithm 1 of the paper with equal weights; parts are the clients' rows."""
    w = fl.flatten(model)
    c, own = torch.zeros_like(w), torch.zeros(len(parts), len(w))
    for _ in range(rounds):
        shifts = c - own
        pairs = zip(parts, shifts, strict=True)
        updates = torch.stack([local_update(w, x, lambda v, s=s: s) for x, s in pairs])
        own = -shifts - updates / (lr * steps)
        w, c = w + updates.mean(dim=0), own.mean(dim=0)
    return w


# %%
from fedlab_utils.federate import Scaffold

parts = [torch.from_numpy(client.x_train) for client in banks]
equal = {"aggregator": fl.Mean(weighted=False)}
theirs = weights_after(Scaffold(five_steps, weighted=False), **equal)
print("as the package:", np.allclose(scaffold(3, parts), theirs, atol=1e-4))
# %%
first = [weights_after(local, rounds=1) for local in (sgd, Scaffold(sgd))]
print("zero control variates are FedAvg:", torch.equal(*first))

# %% [markdown]
# The first round has nothing to correct with, and is FedAvg to the bit. Two prices: every message is
# twice as long, and each client must be remembered, so the method is for banks rather than for a
# million phones.

# %% [markdown]
# ## 9.5 FedNova: count the steps
#
# With equal epochs a large client takes more steps than a small one. FedAvg weights by rows, so a large
# client counts twice: by its weight *and* by its way. **FedNova** divides each update by its number of
# steps $\tau_k$ before averaging, and multiplies the mean by the mean number of steps. With $p_k$ the
# share of the rows:
#
# $$ \Delta = \Big(\sum_k p_k \tau_k\Big) \sum_k p_k \frac{\Delta_k}{\tau_k} $$

# %%
uneven = skews["digits, quantity"]
start = fl.dense_autoencoder(64, **narrow, seed=0)
calm = fl.SGD(lr=0.3, epochs=2, batch_size=16)  # without momentum, so that a step is a step
moved = updates_of(uneven, start, calm)
n_rows = torch.from_numpy(uneven.sizes).float()
steps = torch.ceil(n_rows / 16) * 2
# %%
pd.DataFrame({"rows": uneven.sizes, "steps": steps.int(), "length": moved.norm(dim=1)}).T.round(2)

# %%
per_step = "???"


def fednova(updates, rows, steps):
    """The normalised mean [P] of updates [K, P]."""
    p = rows / rows.sum()
    return (p @ steps) * (p @ per_step(updates, steps))


with show_error(TypeError):
    fednova(moved, n_rows, steps)


# %%
def per_step(updates, steps):
    return updates / steps[:, None]


# %%
from fedlab_utils.federate import FedNova

theirs = FedNova(calm).aggregate(moved, n_rows)
print("as the package:", np.allclose(fednova(moved, n_rows, steps), theirs, atol=1e-6))
even = torch.full_like(n_rows, 100.0)
gap = (FedNova(calm).aggregate(moved, even) - fl.Mean().aggregate(moved, even)).abs().max()
print(f"clients of equal size: differs from the mean by {gap:.0e}")

# %% [markdown]
# It has a dark side. Local momentum makes steps longer the more of them there are, and the package
# counts that (*effective* steps). Then $\tau_k$ differs even more between small and large clients, and
# the update of a small one is multiplied by a large number:

# %%
rushed = fl.SGD(lr=0.3, epochs=2, batch_size=16, momentum=0.9)
tau = rushed.effective_steps(n_rows)
mean_tau = (n_rows.double() @ tau) / n_rows.sum()
print("multiplied by", (mean_tau / tau).numpy().round(1))

# %% [markdown]
# Remember that when you see FedNova in the comparison.

# %% [markdown]
# ## 9.6 A server with a memory
#
# The mean update is a direction, like a gradient. Why should the server just add it? It can use any
# optimiser (**FedOpt**). With momentum, it remembers where it has been going; **Adam** also divides each
# weight's step by the root of a running mean of squares, so that all weights move about equally fast:


# %%
def adam(w, updates, lr=0.03, tau=1e-3, beta1=0.9, beta2=0.99):
    """A few rounds of FedAdam from w, given the mean update of each round."""
    mean, square = torch.zeros_like(w), torch.full_like(w, tau**2)
    for update in updates:
        mean = beta1 * mean + (1 - beta1) * update
        square = beta2 * square + (1 - beta2) * update**2
        w = w + lr * mean / (square.sqrt() + tau)
    return w


# %%
from fedlab_utils.federate import ServerAdagrad, ServerAdam, ServerMomentum, ServerYogi

mean_updates, server = [updates.mean(dim=0), -updates[3], updates[5]], ServerAdam(lr=0.03)
v, state = w, server.start(w)
for update in mean_updates:
    v, state = server.step(v, update, state)
print("as the package:", torch.equal(v, adam(w, mean_updates)))
# %%
print("no momentum is FedAvg:", torch.equal(
    weights_after(), weights_after(server=ServerMomentum(lr=1.0, momentum=0.0))
))  # fmt: skip

# %% [markdown]
# **Adagrad** adds the squares up, so its steps only shrink. **Yogi** forgets large squares slowly. The three
# differ in one line. What they do with *one* weight, if ten updates of 1 are followed by ten of 0.1:

# %%
ten = [torch.tensor([size]) for size in [1.0] * 10 + [0.1] * 10]
paths = {}
for server in (ServerAdagrad(0.1), ServerAdam(0.1), ServerYogi(0.1), ServerMomentum(0.1, 0.9)):
    v, path = torch.zeros(1), []
    state = server.start(v)
    for update in ten:
        v, state = server.step(v, update, state)
        path.append(v.item())
    paths[type(server).__name__] = path
# %%
show(figures.curves(paths, ylabel="Weight"))

# %% [markdown]
# Momentum runs on after the updates have become small, and goes farthest. Adam and Yogi slow down
# gradually: the smaller updates are divided by a root that shrinks, too. Adagrad's root never
# shrinks, and it comes to a stand.
#
# None of them knows that clients differ. They make *one* model, faster or steadier. If the trouble
# is that no single model suits all, they cannot help.

# %% [markdown]
# ## 9.7 Something of one's own
#
# So let us give up on one model. Three ways, from the least to the most:
#
# **A scaler of one's own.** Two numbers per feature stay at home. In "banks, currencies" each bank counts
# its money in its own currency; what is that to a common scaler?

# %%
currencies = settings["banks, currencies"].make(0)
amount = currencies.features.index("amount")
own_scale = currencies.standardised("own")
table = {
    title: [client.x_train[:, amount].mean() for client in data]
    for title, data in {"common scaler": currencies, "own scaler": own_scale}.items()
}
# %%
pd.DataFrame(table, index=currencies.names).T.round(2)

# %% [markdown]
# With the common scaler the "amount" says mostly which country a bank is in. An own scaler takes that
# away, since the logarithm has made a factor into a sum. `own_scaled` puts a common model behind each
# client's own scaler, so that it can stand in one table with the others. It is also what a batch-norm
# layer with local statistics does at the input of a network.

# %%
from fedlab_utils.federate.own_scale import own_scaled

common = fl.fit(model, own_scale, rounds=3, local=sgd, progress=False).model
mine = own_scaled(common, currencies)["bank 4"].score(currencies["bank 4"].x_test)
theirs = fl.reconstruction_error(common, own_scale["bank 4"].x_test)
print("the same scores:", np.allclose(mine, theirs, rtol=1e-3))

# %% [markdown]
# **A last tuning.** Train together, then let each client go on alone for a few passes. The newcomer can do
# that, too: it has rows, only no labels.

# %%
from fedlab_utils.federate import Ditto, fine_tune

tuned = fine_tune(warm, banks, passes=3, local=sgd)
for name in ("bank 2", "bank 5", banks.unseen.name):
    held = banks[name].x_calibration
    losses = [fl.reconstruction_error(m, held).mean() for m in (warm, tuned[name])]
    print(f"{name:7}: held-back loss {losses[0]:.3f} before, {losses[1]:.3f} after")

# %% [markdown]
# **A model of one's own** that is never averaged, but tied to the common one: **Ditto**. Client $k$
# minimises $F_k(v) + \frac\mu2 |v - w|^2$, as in FedProx, but it *keeps* $v$. Two models are trained, so
# a round costs twice the steps.

# %%
mu, v0 = 0.5, fl.flatten(model)
once = fl.SGD(lr=0.3, epochs=1, batch_size=None)
after_one = fl.fit(model, banks, rounds=1, local=Ditto(once, mu), progress=False)
after_two = fl.fit(model, banks, rounds=2, local=Ditto(once, mu), progress=False)
w1, v1 = fl.flatten(after_one.model), fl.flatten(after_one.personal["bank 2"])
by_hand = v1 + local_update(v1, x, extra=lambda v: mu * (v - w1), steps=1)
print("as the package:", np.allclose(by_hand, fl.flatten(after_two.personal["bank 2"]), atol=1e-5))
# %%
print("common model is FedAvg's:", torch.equal(weights_after(), weights_after(Ditto(sgd))))

# %% [markdown]
# ## 9.8 Clusters
#
# Between one model for all and a model for each lie a few models, each for those clients that are alike.
# But who is alike? Nobody may look at rows. Two published answers:
#
# - **By updates.** Train together for a while, then look at the directions of the updates.
# - **IFCA.** Start with several models. In each round, each client takes the one with the lowest
#   loss on its rows, and trains that.
#
# We take the hardest setting: digits of which half of the clients find 0 to 4 normal and the others
# odd, and the other half 5 to 9. Odd and even client numbers are the two camps. The cosines of their
# updates, after some rounds together:

# %%
opposed = settings["digits, opposed"].make(0)
start = fl.dense_autoencoder(64, **narrow, seed=0)
together = fl.fit(start, opposed, rounds=12, local=small, progress=False).model
updates = updates_of(opposed, together, small)
# %%
unit = updates / updates.norm(dim=1, keepdim=True)
short = [name.replace("client ", "") for name in opposed.names]
show(
    figures.heat_map(
        (unit @ unit.T).numpy(), short, short, xlabel="Client", ylabel="Client",
        label="Cosine of two updates",
    )
)  # fmt: skip

# %%
from fedlab_utils.federate import fit_clustered, similar_clients, split_by_updates

similar_clients(updates, clusters=2)

# %% [markdown]
# A chequerboard: clients of one camp point the same way, those of different camps do not, and the
# clustering finds the camps without having seen a row. But the server has seen whose updates are
# alike, which is something. And IFCA:


# %%
def choose(models, federation):
    """The number of the model with the lowest mean loss, for each client."""
    losses = [[fl.reconstruction_error(m, c.x_train).mean() for m in models] for c in federation]
    return np.argmin(losses, axis=1)


# %%
starts, labels = split_by_updates(together, opposed, 2, local=small)
run = fit_clustered(starts, opposed, rounds=5, local=small, progress=False)
print("by hand:", choose(run.models, opposed))
print("package:", np.array([run.cluster[name] for name in opposed.names]))
print("the unseen client takes model", run.cluster[opposed.unseen.name])

# %%
one = fit_clustered([model], banks, rounds=3, local=sgd, progress=False).models[0]
print("one cluster is FedAvg:", torch.equal(weights_after(), fl.flatten(one)))

# %% [markdown]
# ## 9.9 The comparison, and its rules
#
# Now all of them against each other. Such comparisons are easily unfair, so the rules first:
#
# - **Equal work.** Each client may take the same number of passes over its rows, whatever the method.
#   Ditto trains two models, so it gets half of the rounds; fine-tuning takes its passes from the
#   federation's. Not counted: SCAFFOLD's longer messages, IFCA's choosing. The central model takes the
#   same passes over everybody's rows, many more steps in a row than any client.
# - **Equal tuning.** Each method may try six settings: six step sizes, or three with two values of a
#   knob of its own. The one with the lowest **calibration loss** (mean client, two tuning seeds) is
#   kept. No label is used. The measured seeds are five others.
# - **All settings count.** They were chosen after a pilot on yet other seeds, which asked whether there
#   is a gap, and none was dropped. The grids were widened once where tuning chose their edge (step sizes
#   for all, smaller values of mu for FedProx and Ditto); some choices still lie on an edge.
#
# The grid of a method, and the budgets:

# %%
knobs = {
    m.name: "{}: {:.3g} or {:.3g}".format(m.knob[0], *m.knob[1]) for m in comparison.ALL if m.knob
}
kinds = {m.name: m.kind for m in comparison.ALL}
pd.DataFrame({"kind": kinds, "own knob": knobs}).fillna("").loc[list(kinds)]

# %%
pd.DataFrame(
    {
        name: {
            "passes": s.budget.passes, "local epochs": s.budget.local.epochs,
            "batch": s.budget.local.batch_size, "middle step size": s.budget.local.lr,
        }
        for name, s in settings.items()
    }
).T  # fmt: skip

# %% [markdown]
# "local" is training alone; a client that is alone has no reason to use others' moments, so it comes
# with its own scaler as well. The unseen client trains alone, tunes, picks a cluster, or takes the
# common model, as the method allows.
#
# Tuning and measuring everything takes a while. It was done by
# `python -m fedlab_utils.federate.comparison --record`, and the results are in the package:

# %%
kept = comparison.recorded()
minutes = sum(one.seconds for one in kept.values()) / 60
print(f"{len(kept)} settings, {minutes:.0f} minutes on a busy machine, {kept['banks'].made_by}")

# %% [markdown]
# Can you trust a file? Let us train a part of it here, with the recorded choices: in two settings, some
# methods, one seed.

# %%
few = ["FedAvg", "own scaler", "fine-tuned", "SCAFFOLD", "local, own scaler"]


def here_and_recorded(name, seed=0):
    """AP of the mean client, trained now, beside the record."""
    choices = {method: kept[name].choices[method] for method in few}
    here = comparison.by_seed(comparison.measure(settings[name], choices, [seed])).loc[seed]
    there = comparison.by_seed(kept[name].table).loc[seed]
    return pd.DataFrame({"here": here, "recorded": there[here.index]})


# %%
both = {name: here_and_recorded(name) for name in ("banks, currencies", "digits, Dirichlet")}
for name, pair in both.items():
    print(f"{name}: largest difference {(pair['here'] - pair['recorded']).abs().max():.1e}")
pd.concat(both, axis=1).round(4)

# %% [markdown]
# On the machine that made the record there is no difference but that the record keeps six digits. On
# another processor sums are rounded in another way; training enlarges that a little.

# %% [markdown]
# ## 9.10 The verdict
#
# A dot is a seed, a bar the mean of five. The dotted line is FedAvg, the solid one the better of local
# and central.

# %%
tables = {name: one.table for name, one in kept.items()}
order = [*comparison.METHODS, "untrained autoencoder", "isolation forest (central)"]
values = {}
for name, table in tables.items():
    wide = comparison.by_seed(table)
    values[name] = {method: list(wide[method]) for method in order}
# %%
show(figures_noniid.verdict(values, "FedAvg", comparison.BOUNDS), name="09_verdict")

# %% [markdown]
# All numbers of one setting, as mean and spread of the seeds. The prevalence is what guessing would reach.

# %%
columns = [f"AP {who}" for who in ("mean client", "worst client", "unseen")]
columns += ["AUC mean client", "prevalence"]
parts = {name: comparison.summary(table, columns) for name, table in tables.items()}
every = pd.concat(parts, names=["setting"])
save_results("09", "When clients differ: all methods and settings, five seeds", every)
every.loc["banks"]

# %% [markdown]
# Now the question that counts: how much of the way from FedAvg to the better bound does the best method
# go?

# %%
closed = comparison.gaps(tables)
title = "How much of the gap from FedAvg to the better bound is closed"
save_results("09", title, closed, headline=True)
closed.round(3)

# %% [markdown]
# The gap is the mean over seeds of the better bound less FedAvg; "gap sem" is its standard error.
# We had asked for a method that closes at least **half of the gap in at least two settings**. It is
# reached in two: "banks, currencies" (fine-tuning) and "digits, opposed" (clusters by updates,
# which even pass the bound). There it also holds if the method is chosen on other seeds than it is
# measured on (last column). Mind that we built both settings ourselves. Their differences have a
# structure, and there is a method that knows it.
#
# In the others it is **not** reached:
#
# - "shuttle" seems to, with 1.09. Do not believe it: the gap is about as large as its standard
#   error, and chosen on other seeds next to nothing is closed.
# - The same for "hospitals": there is hardly a gap, and no choice that holds.
# - In "digits, quantity" there is no gap. **Plain FedAvg is as good as central training.**
# - In "banks", "banks apart" and "digits, Dirichlet" there *is* a gap, to central training, and
#   less than a third of it is closed. Why?

# %% [markdown]
# **What is the rest of the gap?** Central training differs from FedAvg in two ways. It sees all rows at
# once, and it takes about nine times as many steps in a row (ten times for the digits): nobody has to
# wait for an average. To tell the two apart we change one at a time. A central model with batches as
# many times larger takes only as many steps as a client of average size. And FedAvg may, against the
# rules, have three times the passes.

# %%
from dataclasses import replace


def two_more(name, seed):
    """AP of the mean client: central with few large steps, and FedAvg for three times as long."""
    data, budget = settings[name].make(seed), settings[name].budget
    begin, same = budget.start(data.n_features, seed), {"seed": seed, "progress": False}
    local = replace(budget.local, lr=budget.local.lr * kept[name].choices["FedAvg"].factor)
    large = replace(local, epochs=1, batch_size=local.batch_size * len(data))
    whole, rounds = data.pooled_federation(), 3 * budget.passes // local.epochs
    few = fl.fit(begin, whole, rounds=budget.passes, local=large, **same).model
    longer = fl.fit(begin, data, rounds=rounds, local=local, **same).model
    return [np.nanmean([ap(m, client) for client in data]) for m in (few, longer)]


# %%
rows = []
for name, seed in tqdm([(n, s) for n in ("banks", "digits, Dirichlet") for s in range(3)], delay=2):
    wide = comparison.by_seed(kept[name].table).loc[seed]
    few, longer = two_more(name, seed)
    row = {
        "FedAvg": wide["FedAvg"],
        "central, as few steps": few,
        "FedAvg, 3 times as long": longer,
    }
    rows.append({"setting": name, "seed": seed, **row, "central": wide["central"]})
# %%
why = pd.DataFrame(rows).set_index(["setting", "seed"])
pd.concat(
    [why, why.groupby("setting").mean().assign(seed="mean").set_index("seed", append=True)]
).round(3)

# %% [markdown]
# **In "banks" the rest is hardly about differing clients.** With as few steps in a row as a bank
# takes, and FedAvg's step size, the central model is no better than FedAvg. And FedAvg with three
# times the passes closes most of the gap. What looked like the price of distributed data is the
# price of *waiting for each other*: few rounds. No remedy of this chapter makes more rounds, so
# none closes it, and momentum, which makes each round go farther, comes closest.
#
# In "digits, Dirichlet" it is so in part. The central model with few steps is even below FedAvg,
# but three times the passes close only about a third of the gap, and in one of the three seeds
# nothing. So here the differences between clients may well cost something that we have found no
# remedy for. ("banks apart" we did not take apart.)

# %% [markdown]
# **Everybody against FedAvg**, seed by seed:

# %%
print("AP of the mean client less that of FedAvg; * = a clear difference")
comparison.starred(tables).loc[[m for m in order if m != "FedAvg"]]

# %% [markdown]
# A star says: the same sign in all five seeds, and more than three standard errors. There are more
# than a hundred numbers, so a few stars are luck.
#
# - **Plain FedAvg is a good choice** in six of the eight: everywhere but in "banks, currencies"
#   and "digits, opposed" no federated method has a star with a plus, and several have one with a
#   minus. Momentum at the server does no clear harm in any of them, and looks best in "banks"
#   (better in four seeds of five, not a star).
# - **Local training is ahead** in "banks, currencies", for the members: no federated method reaches it
#   (central training does). And in "digits, opposed" it beats every method with one model by far, and all
#   of those with own models but the clusters by updates. A common model is worth no more there than an
#   untrained one, as it has learned to rebuild what it should find odd.
# - **Something of one's own** has its large pluses in exactly these two settings, and its price
#   elsewhere: a model tuned to few rows gets worse ("digits, quantity"), and an own scaler made
#   of few rows is a bad scaler.
# - **IFCA** from random starts is a lottery: in "digits, opposed" it is very good in four seeds,
#   and in the fifth at the level of FedAvg (look at the dots). Starting from the updates is
#   safer.
# - **SCAFFOLD** helps clearly in one setting ("banks, currencies") and hurts in "banks apart".
# - **FedNova** breaks down in "digits, quantity" and "banks apart", where sizes differ a lot.
#   Section 9.5 said why: with local momentum, small clients are multiplied by large numbers.
# - **FedAdam, FedYogi and Ditto** lose in "banks" and "banks apart". Ditto had only half of the
#   rounds. And the paper of the adaptive servers trains for more than a thousand rounds; here
#   there are between 5 and 20. What is slow at the start cannot win here, and may elsewhere.

# %% [markdown]
# **The worst and the unseen client.** A method can help the mean and hurt one. For each setting the best
# method by the mean client, and what it does for the others:

# %%
rows = {}
for name, table in tables.items():
    best = closed.loc[name, "best method"]
    rows[name] = {"best for the mean": best}
    for column in columns[:3]:
        means = comparison.by_seed(table, column).mean().round(3)
        rows[name] |= {f"{column}, FedAvg": means["FedAvg"], f"{column}, it": means[best]}
pd.DataFrame(rows).T

# %% [markdown]
# In the two settings with a real gain the worst client and the newcomer gain with the others.
# Elsewhere it goes both ways: in "banks" the method that is best for the mean is worse for the
# worst bank and better for the newcomer; in "shuttle" it is the other way round.
#
# **Would you have known?** Labels told us which method is best. Without them you have the calibration
# loss. Among the methods that use the common scaler (losses on own scales are other numbers), what does
# the lowest loss choose, and what is that worth?

# %%
common = [m for m in comparison.METHODS if m != "central" and "own scaler" not in m]
rows = {}
for name, table in tables.items():
    losses, aps = (
        comparison.by_seed(table, c).mean()[common] for c in ("calibration loss", columns[0])
    )
    chosen = {"chosen by loss": losses.idxmin(), "its AP": aps[losses.idxmin()]}
    rows[name] = chosen | {"FedAvg": aps["FedAvg"], "local": aps["local"], "best": aps.max()}
pd.DataFrame(rows).T.infer_objects().round(3)

# %% [markdown]
# Where it matters it works: in both settings with a gain the loss picks the method that is best
# among the federated ones. Elsewhere it picks something near FedAvg, sometimes a little worse. So a
# label-free choice is not perfect, but it is no lottery. It has one blind spot, to be seen in
# "banks, currencies": local training was better still, and its loss did not say so.

# %% [markdown]
# ## 9.11 And on real data: the hospitals
#
# The one setting in which nobody has dealt or shifted anything. It is small, so everything can be
# trained here, all methods and five seeds. Disease is not rare (mind the prevalence), so AUC is the
# better guide.

# %%
hospitals = settings["hospitals"]
hospitals.make(0).describe().round(3)

# %%
choices = kept["hospitals"].choices
parts = [comparison.measure(hospitals, choices, [s]) for s in tqdm(comparison.SEEDS, delay=2)]
here = pd.concat(parts)
gap = (comparison.by_seed(here) - comparison.by_seed(tables["hospitals"])).abs()
print(f"largest difference from the record: {gap.max().max():.1e}")

# %%
heart = comparison.summary(here, [*columns[:4], "AUC worst client", "AUC unseen", "prevalence"])
save_results("09", "Hospitals: all methods, five seeds", heart)
heart

# %% [markdown]
# Real clients, and a sober end. The untrained autoencoder and the row norm are ahead of everything
# that was trained, in AP and in AUC (chapter 02 found the same). Among the trained the differences
# are about as large as the spread between seeds, or smaller, so no remedy can be recommended, and none is to be
# blamed. For the mean hospital training alone is level with FedAvg: a little above in AP, the same
# in AUC. Its worst hospital has a far wider spread in AUC, but Switzerland has four healthy
# patients to train on and three to test on, so that is mostly luck. With so few rows, whether
# clients differ is not the first question.

# %% [markdown]
# ## What we have built
#
# - A measure of drift: lengths, angles, and how much of the walking is left in the mean.
# - The published remedies, each from its update rule, and when each of them is FedAvg:
#
# | | what changes | where | is FedAvg if |
# | --- | --- | --- | --- |
# | FedProx | a pull to the start, $\mu (v - w)$ | client | $\mu = 0$ |
# | SCAFFOLD | the client's known bias, $c - c_k$ | client | control variates are zero |
# | FedNova | updates per step | server | all take equally many steps |
# | FedAvgM, Adagrad, Adam, Yogi | a memory of updates | server | momentum 0 (FedAvgM) |
# | own scaler | two numbers per feature | client | all have the same moments |
# | fine-tuning | last passes alone | client | no passes |
# | Ditto | a second model, pulled | client | you use the common model |
# | clusters | several models | both | there is one cluster |
#
# - A comparison with equal work, equal tuning and no labels, that says what it cannot say.

# %% [markdown]
# ## Check yourself
#
# **Two clients' updates have the same length and an angle of 180°. What does the mean keep? Is FedAvg at
# its goal?**
#
# <details><summary>Answer</summary>
# Nothing, if both have the same weight: the mean is zero, and FedAvg stands still. Whether that is the
# goal is another question. The walks cancel out, the gradients at this place need not: see the three
# clients of section 9.4.
# </details>
#
# **FedProx with a very large $\mu$: what does it compute?**
#
# <details><summary>Answer</summary>
# Nearly nothing: nobody moves. There is no drift any more, and no learning either. (The package refuses
# a $\mu$ for which a step would jump over the start.)
# </details>
#
# **Why is it not enough to compare each method with FedAvg at FedAvg's step size?**
#
# <details><summary>Answer</summary>
# Methods need different step sizes. Who is compared at somebody else's looks worse than he is. And who
# may try more settings than the others has more lottery tickets.
# </details>
#
# **A colleague shows that the best of twelve methods beats FedAvg in five seeds. What do you ask?**
#
# <details><summary>Answer</summary>
# Whether the method was chosen on the same five seeds. The best of twelve is partly the luckiest of
# twelve. Let him choose on four seeds and measure on the fifth ("closed elsewhere" in section 9.10).
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 09.1** (easy) Write `kept_share`: the length of the mean update, divided by the mean length. Both
# means are weighted by rows.


# %% tags=["exercise"]
def kept_share(updates, rows):
    """Return what the mean of updates [K, P] keeps of their lengths; rows [K] are the weights."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    share = rows / rows.sum()
    return np.linalg.norm(share @ updates) / (share @ np.linalg.norm(updates, axis=1))
    # END SOLUTION


check("09.1", kept_share)

# %% [markdown]
# **Exercise 09.2** (medium) Write FedProx's local training: `steps` steps of size `lr` from `w`, where
# `gradient(v)` gives the gradient of the client's own loss at `v`. Return the update.


# %% tags=["exercise"]
def proximal_update(gradient, w, mu, lr, steps):
    """Return the update [P] after some steps on the loss with the pull to w [P]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    v = w.copy()
    for _ in range(steps):
        v = v - lr * (gradient(v) + mu * (v - w))
    return v - w
    # END SOLUTION


check("09.2", proximal_update)

# %%
hint("09.2")

# %% [markdown]
# **Exercise 09.3** (medium) A SCAFFOLD client has taken `steps` steps of size `lr`, each with the gradient
# $g - c_k + c$, and its weights have changed by `update`. Return its new control variate: the mean of the
# $g$ alone.


# %% tags=["exercise"]
def new_control(update, c_own, c, lr, steps):
    """Return the client's new control variate [P]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return c_own - c - update / (lr * steps)
    # END SOLUTION


check("09.3", new_control)

# %% [markdown]
# **Exercise 09.4** (medium) Write `share_closed`: how much of the gap from FedAvg to the better of local and
# central does a method close? Each argument holds one AP per seed; compare means over the seeds. Return
# nan if FedAvg is the best of the three already.


# %% tags=["exercise"]
def share_closed(method, fedavg, local, central):
    """Return the share of the gap that is closed: 0 at FedAvg, 1 at the better bound."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    low, high = np.mean(fedavg), max(np.mean(local), np.mean(central))
    return (np.mean(method) - low) / (high - low) if high > low else np.nan
    # END SOLUTION


check("09.4", share_closed)

# %% [markdown]
# **Exercise 09.5** (open) In "digits, opposed" there are two camps. What if you do not know that? Run
# `fit_clustered` from `split_by_updates` with 1, 2, 3 and 5 clusters, for three seeds, and look at the AP
# of the mean client. What is worse: too few clusters or too many? Would the calibration loss have told
# you?

# %% tags=["solution"]
for number in (1, 2, 3, 5):
    found = []
    for seed in range(3):
        data = settings["digits, opposed"].make(seed)
        begin = fl.dense_autoencoder(64, **narrow, seed=seed)
        base = fl.fit(begin, data, rounds=12, local=small, seed=seed, progress=False).model
        starts, _ = split_by_updates(base, data, number, local=small, seed=seed)
        run = fit_clustered(starts, data, rounds=27, local=small, seed=seed, progress=False)
        aps = [ap(run.personal[client.name], client) for client in data]
        found.append((np.mean(aps), comparison.calibration_loss(run.personal, data)))
    mean_ap, loss = np.mean(found, axis=0)
    print(f"{number} clusters: AP {mean_ap:.3f}, calibration loss {loss:.3f}")

# %% [markdown] tags=["solution"]
# Too few is a disaster: with one cluster nothing is found. Too many costs little here. And the
# calibration loss would have told you: it is the highest for one cluster and the lowest for two.

# %% [markdown]
# ## Further reading
#
# - T. Li and others, [Federated Optimization in Heterogeneous Networks](https://arxiv.org/abs/1812.06127)
#   (2020): FedProx.
# - S. P. Karimireddy and others, [SCAFFOLD](https://arxiv.org/abs/1910.06378) (2020).
# - J. Wang and others, [Tackling the Objective Inconsistency
#   Problem](https://arxiv.org/abs/2007.07481) (2020): FedNova.
# - S. Reddi and others, [Adaptive Federated Optimization](https://arxiv.org/abs/2003.00295) (2021); server
#   momentum and Dirichlet partitions: T.-M. H. Hsu, H. Qi, M. Brown, [Measuring the Effects of Non-Identical
#   Data Distribution](https://arxiv.org/abs/1909.06335) (2019).
# - T. Yu, E. Bagdasaryan, V. Shmatikov, [Salvaging Federated Learning by Local
#   Adaptation](https://arxiv.org/abs/2002.04758) (2020): fine-tuning.
# - T. Li and others, [Ditto](https://arxiv.org/abs/2012.04221) (2021); X. Li and others,
#   [FedBN](https://arxiv.org/abs/2102.07623) (2021): normalisation of one's own.
# - A. Ghosh and others, [An Efficient Framework for Clustered Federated
#   Learning](https://arxiv.org/abs/2006.04088) (2020): IFCA; C. Briggs, Z. Fan, P. Andras, [Federated
#   Learning with Hierarchical Clustering of Local Updates](https://arxiv.org/abs/2004.11791) (2020).

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at the difference between drift (a matter of optimisation: SCAFFOLD, FedNova)
#   and disagreement (no common optimum is good: something of one's own). Let them find one setting
#   of each kind. And at option II of SCAFFOLD: let them derive exercise 09.3 on paper.
# - **What to ask:** "Which client would leave this federation, and when would it be right?" "Which of these
#   methods works with a secure sum?" (Those that only change the client's steps or what the server does
#   with the sum; clusters show who belongs where.)
# - **What to skip:** sections 9.5 and 9.6 can be read without running; the comparison stands without them.
#
# </details>
