# %% [markdown]
# # 10 · Forests and one-class SVMs
# *Can detectors that are not networks be federated, and does a mixed team find more?*
#
# {{badges}}
#
# You will
#
# - **build** an isolation forest from path lengths, and **agree** with scikit-learn's scores;
# - **federate** it in three ways, and **say** for each what leaves a client;
# - **show** what the thresholds of a tree tell about single rows;
# - **make** a forest of nothing but counts: with a secure sum, and with differential privacy;
# - **replace** a one-class SVM, whose support vectors are rows, by one that `fl.fit` can train;
# - **fuse** different detectors by ranks, and **see** when that helps and when it harms.
#
# You need: chapters 01 to 03. Sections 10.6 and 10.8 use a secure sum (chapter 07) and the language
# of differential privacy (chapter 06); you can read them before those chapters.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 10.1 Alone after few cuts
#
# An autoencoder learns what is normal and measures the distance to it. An **isolation forest** turns
# the question around: how hard is it to separate this row from the others? Cut the data at random, keep
# the side on which the row is, and cut again, until it is alone. An odd row is alone soon.

# %%
import numpy as np
import pandas as pd
import torch

import fedlab_utils as fl
from fedlab_utils import detect
from fedlab_utils.course import (
    check,
    figures,
    figures_forests,
    hint,
    save_results,
    show,
    show_error,
)

# %%
torch.set_num_threads(1)  # matrices this small are computed before a second thread has woken up
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
federation


# %% [markdown]
# One cut: choose a feature, choose a value between the smallest and the largest that are left.


# %%
def cuts_until_alone(row, rows, rng):
    """Cut rows [n, d], `row` among them, until it is alone; return cuts (feature, value)."""
    cuts = []
    while len(rows) > 1:
        feature = rng.choice(np.flatnonzero(np.ptp(rows, axis=0) > 0))
        value = rng.uniform(rows[:, feature].min(), rows[:, feature].max())
        rows = rows[(rows[:, feature] > value) == (row[feature] > value)]
        cuts.append((feature, value))
    return cuts


# %% [markdown]
# To look at it we take two features of bank 3's payments: the amount, and what the customer usually
# pays in this category. Which payment is odd, and which is ordinary? We take the one that is farthest
# from the middle, and the one that is nearest to it.

# %%
rng = np.random.default_rng(0)
pair = [federation.features.index(name) for name in ("amount", "category_amount")]
some = rng.permutation(federation["bank 3"].x_train[:, pair].astype(float))[:256]
distance = np.linalg.norm(some - np.median(some, axis=0), axis=1)
odd, usual = some[distance.argmax()], some[distance.argmin()]
chosen = {"odd": odd, "ordinary": usual}
drawn = {name: (row, cuts_until_alone(row, some, rng)) for name, row in chosen.items()}
show(
    figures_forests.isolation(some, drawn, xlabel="Amount", ylabel="Usual amount"),
    name="forest-cuts",
)

# %% [markdown]
# One sequence of cuts is luck. The mean over many is not:

# %%
for name, row in chosen.items():
    lengths = [len(cuts_until_alone(row, some, rng)) for _ in range(200)]
    print(f"{name:8}: {np.mean(lengths):5.2f} cuts on average, {np.std(lengths):.2f} deviation")

# %% [markdown]
# ## 10.2 How long is long? The number c(n)
#
# Among more rows everybody needs more cuts. So a path length must be compared with what is usual among
# $n$ rows. The theory of search trees knows it. With $H(m) = 1 + \frac12 + \dots + \frac1m$,
#
# $$ c(n) = 2 H(n-1) - \frac{2 (n-1)}{n} $$
#
# is the mean path length over all of $n$ rows. Here it is, with a hole:

# %%
H = "???"


def c(n):
    """The mean number of cuts until a row is alone among n."""
    return 2 * H(n - 1) - 2 * (n - 1) / n


with show_error(TypeError):
    c(256)

# %% [markdown]
# Nobody adds up 255 fractions: $H(m) \approx \ln m + 0.5772$, where 0.5772 is Euler's constant.


# %%
def H(m):
    return np.log(m) + np.euler_gamma


for n in (16, 64, 256):
    uniform = rng.uniform(size=(n, 2))
    lengths = [len(cuts_until_alone(uniform[i % n], uniform, rng)) for i in range(600)]
    print(f"n = {n:3}: c(n) = {c(n):5.2f}, counted {np.mean(lengths):5.2f}")
np.isclose(c(256), detect.average_path(256))

# %% [markdown]
# The **score** puts it on a scale from 0 to 1. With $h$ the mean path length of a row,
#
# $$ s = 2^{-h / c(n)} $$
#
# is 0.5 for a usual path, and near 1 for a row that is alone at once.

# %%
for name, row in chosen.items():
    h = np.mean([len(cuts_until_alone(row, some, rng)) for _ in range(200)])
    print(f"{name:8}: score {2 ** (-h / c(256)):.3f}")

# %% [markdown]
# ## 10.3 A hundred trees, as arrays
#
# Cutting anew for each row is slow. A **tree** makes the cuts once, for all rows of a sample, on both
# sides of each cut; a row then walks down and counts. Two things make it cheap. A tree needs a sample
# of only 256 rows. And it stops at depth 8: who is not alone by then is not odd. Where it stops
# with $m$ rows together, the $c(m)$ cuts that are still to be expected are added.
#
# The package keeps all trees in arrays. Node $i$ has the children $2i+1$ (at or below the
# threshold) and $2i+2$ (above it):

# %%
pooled = federation.pooled()
forest = detect.grow_forest(pooled.x_train, trees=100, sample=256, seed=0)
asked = [federation.features[f] if f >= 0 else "(ends)" for f in forest.feature[0, :7]]
columns = {"asks for": asked, "threshold": forest.threshold[0, :7], "rows": forest.count[0, :7]}
pd.DataFrame(columns).round(2).rename_axis("node of tree 0")


# %% [markdown]
# So sending a row down *all* trees is eight steps of array arithmetic, without a loop over trees:


# %%
def path_lengths(forest, row):
    """The path length of one row [d] in each tree, [T]."""
    tree, node, depth = np.arange(forest.trees), np.zeros(forest.trees, int), 0
    for _ in range(forest.depth):
        feature, threshold = forest.feature[tree, node], forest.threshold[tree, node]
        goes_on = feature >= 0
        depth = depth + goes_on
        node = np.where(goes_on, 2 * node + 1 + (row[feature] > threshold), node)
    return depth + detect.average_path(forest.count[tree, node])


first = pooled.x_test[:5]
ours = np.stack([path_lengths(forest, row) for row in first])
print("as the package:", np.allclose(ours, forest.path_lengths(first)))

# %% [markdown]
# And scikit-learn? We take *its* trees, put them into our arrays, and compare the scores:

# %%
from sklearn.ensemble import IsolationForest

theirs = IsolationForest(n_estimators=100, random_state=0).fit(pooled.x_train)
same_trees = detect.from_sklearn(theirs)
difference = same_trees.score(pooled.x_test) + theirs.score_samples(pooled.x_test)
print(f"largest difference of two scores: {np.abs(difference).max():.0e}")

# %% [markdown]
# (A plus, because scikit-learn's score is higher for *normal* rows.) The arithmetic is the same.
# The trees are drawn with other random numbers, so two forests differ, ours from theirs as much as
# theirs from theirs:

# %%
others = [detect.isolation_forest(pooled.x_train, seed) for seed in range(3)]
others += [detect.grow_forest(pooled.x_train, seed=seed) for seed in range(3)]
aucs = [detect.auc(pooled.y_test, f.score(pooled.x_test)) for f in others]
print("AUC, scikit-learn:", np.round(aucs[:3], 3), " ours:", np.round(aucs[3:], 3))

# %% [markdown]
# ## 10.4 Forests that stay at home
#
# A forest has no weights, so there is nothing to average. What can ten banks do? First idea: every bank
# grows its own forest and keeps it. The banks form a **committee**: a payment that is to be judged
# goes to all of them, each answers with a number, and the answers are averaged, weighted by rows.
#
# With which number? A bank's *score* has the bank's own scale. Look at the same payments through
# the eyes of three banks:

# %%
at_home = detect.grow_local(federation, trees=10, seed=0)
normal = pooled.x_test[~pooled.y_test]
seen = {name: at_home[name].score(normal) for name in ("bank 1", "bank 3", "bank 8")}
pd.DataFrame(seen).describe().loc[["mean", "std", "min", "max"]].round(3)

# %% [markdown]
# The differences are small between these banks, and grow with the differences of the banks. A
# **rank** has no scale at all: the share of the bank's own calibration payments that score lower. An
# **alarm** is coarser still: 1 or 0.

# %%
central = detect.grow_forest(pooled.x_train, seed=0)
teams = {"central forest": central}
for vote in ("score", "rank", "alarm"):
    teams[f"committee, {vote}"] = detect.committee(at_home, federation, vote)


def quality(detectors, test):
    """AP and AUC on the test rows of one client (or of all in one place)."""
    scores = {name: detector.score(test.x_test) for name, detector in detectors.items()}
    rows = {
        name: {"AP": detect.average_precision(test.y_test, s), "AUC": detect.auc(test.y_test, s)}
        for name, s in scores.items()
    }
    return pd.DataFrame(rows).T.round(3)


quality(teams, pooled)

# %% [markdown]
# Averaged scores and ranks come close to the central forest, alarms fall behind: with ten voters most
# payments are tied at 0. (One seed; the comparison that counts comes in section 10.7.) And the isolation
# forest is weak on the payments anyway, as you saw in chapter 01.
#
# **Privacy.** No forest leaves its bank. But every payment that is judged is shown to nine other banks,
# at the time of use, for ever. For fraud detection that is usually out of the question.

# %% [markdown]
# ## 10.5 Trees that travel, and what they tell
#
# Second idea: put all trees into one forest, the **union**. It has to be sent once, and then everybody
# scores alone. A bank's say is its number of rows, shared out among its trees.

# %%
union = detect.union(at_home.values(), rows=federation.sizes)
print(f"{union.trees} trees; weight of a tree of bank 1: {union.weight[0]:.4f}")
share = federation.sizes / federation.sizes.sum()
mean_path = sum(
    p * f.path_lengths(first).mean(axis=1) for p, f in zip(share, at_home.values(), strict=True)
)
print("as by hand:", np.allclose(2 ** (-mean_path / c(256)), union.score(first)))

# %% [markdown]
# That is simple, and it works. What does a bank give away? A tree is a list of thresholds, and every
# threshold lies *between two values of this bank*. So somebody who sees the highest threshold of
# a feature knows for certain: the bank has a row above it.

# %%
bank = federation["bank 3"]
forest = detect.grow_forest(bank.x_train, trees=100, seed=1)
smallest, largest = detect.value_bounds(forest)
table = pd.DataFrame(
    {"proved by the trees": largest, "true largest value": bank.x_train.max(axis=0)},
    index=federation.features,
)
table.loc[["amount", "distance", "sum_1d", "mean_7d"]].round(2)

# %% [markdown]
# The largest values of the bank are known from below, some of them closely. A leaf with a count of 1 tells
# more: *exactly one* payment of the sample lies in this box. How many of the bank's payments are
# described by such a box alone, **singled out** among all payments of the bank?

# %%
alone = detect.singled_out(forest, bank.x_train)
print(f"{alone.sum()} of {len(alone)} payments of bank 3 are singled out by 100 trees")
bounds = (bank.x_train.min(axis=0) <= smallest).all() and (bank.x_train.max(axis=0) > largest).all()
print("all bounds hold:", bounds)

# %% [markdown]
# And a tree is a function of the rows: take one row away, and the trees of that seed are others. There is
# nothing one could clip or add up, so none of the later chapters' tools (secure sums, noise) can be
# applied to a union as it is.

# %%
without = detect.grow_forest(bank.x_train[1:], trees=100, seed=1)
changed = (forest.threshold != without.threshold).any(axis=1).mean()
print(f"trees that change when one row leaves: {changed:.0%}")

# %% [markdown]
# ## 10.6 A forest that no row has shaped
#
# Third idea: turn the two steps around. *First* draw the trees, without looking at any row: random
# features, random thresholds in a range that all banks know. *Then* count how many rows end in
# each leaf. Where many rows end, a row is ordinary; where hardly any row ends, it is odd.

# %%
low, high = detect.fixed_ranges(federation.n_features, width=4.0)
trees = detect.CommonTrees.draw(low, high, trees=100, depth=8, seed=0)
counts = trees.counts(bank.x_train)
print(f"bank 3 sends {counts.size:,} numbers; the first tree's add up to {counts[:256].sum():,}")

# %% [markdown]
# The thresholds come from the seed. Counts are *sums over rows*, and sums are what a federation can
# add up. Take one row away: the trees stay, and exactly one count per tree changes, by 1.

# %%
difference = counts - trees.counts(bank.x_train[1:])
print(f"counts that change: {(difference != 0).sum()}, by at most {np.abs(difference).max()}")

# %% [markdown]
# A tree ends where no more than one row of a sample of 256 is to be expected, that is, where at most
# 1/256 of all rows have come. So only the proportions of the counts matter.
#
# **Whose range?** Rows beyond the range all fall into outer leaves, and cuts where nobody lives are
# wasted. Three ways to choose, and each discloses something:
#
# | range | what leaves a client beside the moments of chapter 02 |
# | --- | --- |
# | fixed: ±4 deviations | nothing |
# | quantiles from histograms | counts of values in public bins |
# | smallest and largest value | a *value of a row*, of the oddest one |
#
# The package offers the first two. Histograms are counts again, so the same sum serves for both:

# %%
histograms = detect.RangeHistograms(width=10.0, bins=400)
messages = [histograms.counts(client.x_train) for client in federation]
low, high = histograms.ranges(np.sum(messages, axis=0), tail=0.001)
pd.DataFrame({"low": low, "high": high}, index=federation.features).iloc[[0, 1, 2, 15]].T.round(2)

# %% [markdown]
# `detect.grow_common` does all of it: histograms, ranges, trees, counts. The sums go through an
# *aggregator*, the same object that `fl.fit` takes. With `SecureMean` of chapter 07 the server sees
# only sums of masked numbers. Whole numbers are added exactly, so the forest is the same:

# %%
from fedlab_utils.privacy.secure import SecureMean

plain = detect.grow_common(federation, seed=0)
secure_sum = SecureMean(weighted=False, fraction_bits=0)
secure = detect.grow_common(federation, aggregator=secure_sum, seed=0)
print("the same forest:", np.allclose(plain.count, secure.count))
one_place = detect.grow_common(federation.pooled_federation(), seed=0)
print("as with all rows in one place:", np.allclose(plain.count, one_place.count))

# %% [markdown]
# So federating costs this forest *nothing*: however different the clients are, the sum of their counts is
# the count of all rows. No network has this property.
#
# **What does the sum still tell?** Count the leaves in which there is exactly one payment of all banks:

# %%
total = np.sum([trees.counts(client.x_train) for client in federation], axis=0)
print(f"leaves with exactly one of {sum(federation.sizes):,} payments: {(total == 1).sum():,}")

# %% [markdown]
# Each of them says "there is one payment in this box", though not at which bank. If that is too much, we
# need **differential privacy**, and here it is easy. How much can one row change the counts? One leaf in
# each of $T$ trees:

# %%
T = 100
sensitivity = {"L1 (for Laplace noise)": "???", "L2 (for normal noise)": "???"}
with show_error(TypeError):
    {name: value / T for name, value in sensitivity.items()}

# %% [markdown]
# $T$ counts change by 1: in sum that is $T$, and the root of the sum of squares is $\sqrt T$. So normal
# noise is far cheaper here. (The package uses Skellam noise: nearly normal, but in whole numbers like
# the counts, and shares of it add up exactly. Each bank adds a share, and the secure sum has enough of
# it.)

# %%
sensitivity = {"L1 (for Laplace noise)": T, "L2 (for normal noise)": np.sqrt(T)}
noise = detect.CountNoise(epsilon=1.0, delta=1e-5, trees=T, fewest=len(federation))
print(sensitivity)
print(f"Laplace noise would need a deviation of {detect.laplace_deviation(T, 1.0):.0f} rows,")
print(f"Skellam noise needs {noise.deviation:.1f}; a leaf holds {total.mean():.0f} rows on average")

# %% [markdown]
# What does that cost in quality? We ask on Shuttle, where the forest is good, with ten clients, and three
# seeds. The range is the fixed one: histograms would have to be paid for, too.

# %%
epsilons = [None, 1.0, 0.1, 0.01]
private = []
for seed in range(3):
    data = fl.load("shuttle", seed=seed)
    trees = detect.CommonTrees.draw(*detect.fixed_ranges(data.n_features), trees=T, seed=seed)
    messages = [trees.counts(client.x_train) for client in data]
    for epsilon in epsilons:
        noise = epsilon and detect.CountNoise(epsilon, 1e-5, T, fewest=10)
        sent = noise.add(messages, data.names, seed) if noise else messages
        grown = trees.forest(detect.add_counts(sent, data.names, secure_sum))
        row = quality({"common": grown}, data.pooled()).loc["common"]
        deviation = noise.deviation if noise else 0.0
        private.append({"epsilon": epsilon or np.inf, "noise (rows)": deviation, **row})

# %%
private = pd.DataFrame(private).groupby("epsilon", sort=False).agg(["mean", "std"])
private = private.drop(columns=("noise (rows)", "std")).round(4)
save_results("10", "Shuttle: a common forest with noisy counts, three seeds", private)
floor = quality({"row norm": detect.RowNorm()}, data.pooled()).loc["row norm"]
print(f"floor (row norm): AP {floor.AP}, AUC {floor.AUC}")
print(f"prevalence {data.pooled().y_test.mean():.3f}")
private

# %% [markdown]
# **The guarantee in words.** Protected: a single payment (not a customer with many, exercise 10.3).
# From whom: everybody who sees the sum, the server included, if the sum is secure and no bank betrays
# its share of the noise. How often: one release of all 100 trees. Not covered: the moments of the
# standardisation, and the number of rows.
#
# On this many rows $\epsilon = 1$ costs nearly nothing, and much less still works: the normal rows of
# Shuttle crowd into few leaves, whose counts stand out of any noise. But the noise has the same
# size for few rows as for many: a federation with a tenth of the rows has the same noise on a tenth
# of the counts. And mind the floor: on Shuttle it is high, as you know from chapter 01.

# %% [markdown]
# ## 10.7 Which one? Clients alike, and clients that differ
#
# Now the comparison, on Shuttle: rows dealt out at random (IID), and clients that know few of the modes in
# which the shuttle runs (`Dirichlet`, chapter 02). Beside the forests stands a federated autoencoder. The
# federated forests have 100 trees, like the central one, a local one has 30; the five seeds change
# clients, trees and network.


# %%
def forests(data, seed):
    """Local forests, and the three federated ones of 100 trees in all."""
    tenth = detect.grow_local(data, trees=100 // len(data), seed=seed)
    return {
        "forest, local": detect.grow_local(data, trees=30, seed=seed),
        "forest, committee by rank": detect.committee(tenth, data, "rank"),
        "forest, union": detect.union(tenth.values(), data.sizes),
        "forest, common": detect.grow_common(data, seed=seed),
    }


def network(data, seed, rounds, local, **shape):
    """A federated autoencoder."""
    start = fl.dense_autoencoder(data.n_features, seed=seed, **shape)
    return fl.fit(start, data, rounds=rounds, local=local, seed=seed, progress=False).model


# %%
sgd = fl.SGD(lr=0.1, momentum=0.9, batch_size=64)
partitions = {"IID": fl.IID(10), "Dirichlet 0.3": fl.Dirichlet(10, alpha=0.3)}
reports, kept = {name: [] for name in partitions}, []
for name, partition in partitions.items():
    for seed in range(5):
        data = fl.load("shuttle", partition=partition, seed=seed)
        members = {"autoencoder, federated": network(data, seed, rounds=5, local=sgd)}
        members |= forests(data, seed)
        reports[name].append(fl.evaluate(members, data, seed=seed))
        if name != "IID":
            kept.append((data, members))  # for section 10.9

# %%
parts = {name: detect.format_summary(fl.summarise(rs)) for name, rs in reports.items()}
compared = pd.concat(parts, names=["clients"])
save_results("10", "Shuttle: federated forests, five seeds", compared, headline=True)
compared

# %% [markdown]
# Is a federated forest equal to the central one, within the noise of the seeds? The difference to
# it, seed by seed:

# %%
rows = {}
for name, rs in reports.items():
    tables = [report.table()["AP pooled"] for report in rs]
    gap = pd.DataFrame([t - t["isolation forest (central)"] for t in tables])
    rows[name] = gap.filter(like="forest, ").agg(["mean", "std"]).T.round(4)
pd.concat(rows, axis=1)

# %% [markdown]
# With clients that are **alike**, the union is where it should be: its distance to the central forest is
# about as large as the spread between seeds, in AP a trace below, in AUC the same to two digits. The
# committee is a little further off, and a client alone, with fewer trees and rows, further still. The common forest is *better* than the central one, by more
# than the spread. It is not a copy of an isolation forest, after all: it counts all rows, not samples of
# 256, and its cuts fall where the rows are, not out to the farthest of them.
#
# With clients that **differ**, the common forest loses nothing in the pooled list, as its arithmetic
# promised. Local forests and the union lose a little there, and all but the common one lose much at the
# worst client: look at the spread of that column. Where a client has few anomalies one lucky or unlucky tree decides, so five seeds do not rank
# the forests there. The federated autoencoder is the steadiest for the worst client.
#
# And the floor? The row norm is close to all of them in AUC, so Shuttle says "these forests work",
# and little about which detector to choose.

# %% [markdown]
# ## 10.8 A one-class SVM without support vectors
#
# The third classic is the **one-class SVM**. It draws a smooth boundary around the normal rows, with a
# small share $\nu$ of them outside. Its boundary is made of **support vectors**. What are these?

# %%
from sklearn.svm import OneClassSVM

svm = OneClassSVM(kernel="rbf", gamma=1 / federation.n_features, nu=0.05).fit(bank.x_train)
rows_of_bank = {row.tobytes() for row in bank.x_train}
found = [v.astype(np.float32).tobytes() in rows_of_bank for v in svm.support_vectors_]
print(f"{len(found)} support vectors; how many of them are payments of bank 3? {sum(found)}")

# %% [markdown]
# They *are* rows, and at least a share $\nu$ of all rows. Whoever sends this model sends data, and
# the oddest data at that. Neither could it be averaged: each bank's model has other support vectors.
#
# The way out: the kernel $k(x, y) = e^{-\gamma |x-y|^2}$ is a dot product in disguise. **Random Fourier
# features** take the disguise off, approximately, with $D$ random directions $v_j$ and phases $b_j$:
#
# $$ z_j(x) = \sqrt{2/D}\, \cos(v_j \cdot x + b_j), \qquad v_j \sim N(0, 2\gamma I), \quad
# b_j \sim U(0, 2\pi), \qquad z(x) \cdot z(y) \approx k(x, y) $$

# %%
x, gamma = bank.x_train[:300].astype(float), 1 / federation.n_features
kernel = np.exp(-gamma * np.square(x[:, None] - x[None]).sum(axis=2))
for D in (64, 256, 1024):
    V = rng.normal(0, np.sqrt(2 * gamma), size=(x.shape[1], D))
    z = np.sqrt(2 / D) * np.cos(x @ V + rng.uniform(0, 2 * np.pi, D))
    print(f"D = {D:4}: mean error of a kernel value {np.abs(z @ z.T - kernel).mean():.4f}")

# %% [markdown]
# Four times as many features halve the error. The directions are random, so a **common seed** gives all
# banks the same map, and nothing has to be sent. What is left to learn is a *linear* model: coefficients
# $w$ and an offset $\rho$. A row is odd if $w \cdot z(x) < \rho$, and the loss is
#
# $$ \frac\nu2 |w|^2 - \nu \rho + \frac1n \sum_i \max(0,\ \rho - w \cdot z(x_i)) $$
#
# the third term pulls $w$ towards rows that lie outside, the second pushes the boundary outwards from
# the origin. In code:


# %%
def one_class_loss(z, w, offset, nu):
    outside = np.maximum(0, offset - z @ w)
    return nu / 2 * w @ w - nu * offset + outside.mean()


# %% [markdown]
# The package has the model, and a *local solver* for `fl.fit`. It is a few hundred numbers, trained by
# stochastic gradient descent and averaged like any network:

# %%
solver = detect.OneClassSGD(nu=0.05, lr=1.0, batch_size=64)
start = detect.OneClass(federation.n_features, features=256, seed=0)
run = fl.fit(start, federation, rounds=10, local=solver, seed=0, progress=False)
print(f"P = {len(fl.flatten(start))} parameters; loss {run.history.loss[-1]:.6f}")
outside = (run.model.score(pooled.x_train) > 0).mean()
print(f"share of the training rows outside: {outside:.3f}, asked for {solver.nu}")

# %% [markdown]
# scikit-learn has the linear one-class SVM, too (`SGDOneClassSVM`). On the same features, with all rows in
# one place, does it find the same?

# %%
from sklearn.linear_model import SGDOneClassSVM

with torch.no_grad():
    z, z_test = (
        start.features(torch.from_numpy(a)).numpy() for a in (pooled.x_train, pooled.x_test)
    )
oracle = SGDOneClassSVM(nu=solver.nu, average=True, random_state=0, max_iter=20, tol=None).fit(z)
w, offset = run.model.coefficients.detach().numpy(), run.model.offset.item()
print(f"loss, federated    {one_class_loss(z, w, offset, solver.nu):.6f}")
print(
    f"loss, scikit-learn {one_class_loss(z, oracle.coef_.ravel(), oracle.offset_[0], solver.nu):.6f}"
)
both = pd.DataFrame({"a": run.model.score(pooled.x_test), "b": -oracle.decision_function(z_test)})
print(f"rank correlation of the scores {both.corr('spearman').iloc[0, 1]:.3f}")

# %% [markdown]
# The federated loss is close to the central one (a lower loss is better), and the scores rank alike. And
# since what travels is an update vector, everything in this course that works on update vectors works
# here. The secure sum, for example:

# %%
secure_run = fl.fit(
    start,
    federation,
    rounds=2,
    local=solver,
    aggregator=SecureMean(fraction_bits=12),
    progress=False,
)
plain_run = fl.fit(start, federation, rounds=2, local=solver, progress=False)
gap = (fl.flatten(secure_run.model) - fl.flatten(plain_run.model)).abs().max()
print(f"largest difference of a coefficient: {gap:.0e}")
print(
    f"bytes up in a round: plain {plain_run.history.bytes_up[0]:,}, secure {secure_run.history.bytes_up[0]:,}"
)

# %% [markdown]
# How do the two see the world? A small picture, with two features only: the places that score higher than
# 95% of the rows lie beyond the line.

# %%
plane = some.astype(np.float32)
nothing, none = plane[:0], np.empty(0, bool)
toy = fl.Federation(
    "toy", (fl.Client("a", plane, nothing, nothing, none, none.astype(str)),), ("a", "b")
)
boundary = detect.OneClass(2, features=256, gamma=2.0)
boundary = fl.fit(boundary, toy, rounds=60, local=detect.OneClassSGD(batch_size=16), progress=False)
seen = {"isolation forest": detect.grow_forest(plane), "one-class SVM": boundary.model}
show(
    figures_forests.score_maps(seen, plane, xlabel="Amount", ylabel="Usual amount"),
    name="score-maps",
)

# %% [markdown]
# The forest cuts parallel to the axes. Its region is a blob with a jagged border, which takes in places
# beside the cloud and leaves out the cloud's ends. The one-class SVM follows the shape of the cloud.
# This is why it can see a broken dependence between two features, which the forest hardly does.

# %% [markdown]
# ## 10.9 A mixed team
#
# Three detectors of different kinds make different errors, one hopes. Their scores have nothing in
# common but their order: an error, a number between 0 and 1, a margin. So we use **ranks**: a score is
# replaced by its *tail*, the share of calibration rows that score at least as high. All clients'
# calibration rows count, and again only a histogram leaves a client.

# %%
data = fl.load("digits", anomaly=4, partition=fl.Dirichlet(10, alpha=0.3), seed=0)


def team(data, seed, rounds, local, one_class, **shape):
    """A federated autoencoder, a common forest and a federated one-class SVM."""
    start = detect.OneClass(data.n_features, features=256, seed=seed)
    options = {"rounds": 10, "local": one_class, "seed": seed, "progress": False}
    return {
        "autoencoder": network(data, seed, rounds, local, **shape),
        "forest": detect.grow_common(data, seed=seed),
        "one-class SVM": fl.fit(start, data, **options).model,
    }


# %%
digit_options = {
    "rounds": 40,
    "local": fl.SGD(lr=0.2, epochs=2, batch_size=16, momentum=0.9),
    "one_class": detect.OneClassSGD(batch_size=16),
    "hidden": 32,
    "code": 8,
}
members = team(data, 0, **digit_options)
reference = detect.federated_reference(members["forest"], data)
scores = members["forest"].score(data.pooled().x_test[:4])
pd.DataFrame({"score": scores, "tail": reference.tail(scores)}).round(4)

# %% [markdown]
# A plain rank has a flaw: all rows that score higher than every calibration row get the *same* rank, and
# these are the rows we care for. The package spreads one imaginary calibration row over all bins, so
# that a higher score has a smaller tail even there.
#
# Then three numbers must become one. Three ways, from a committee that wants agreement to one that
# listens to whoever shouts:
#
# - **rank**: the mean of $1 - \text{tail}$. A row must be odd for all to come first.
# - **tail**: the mean of $-\log \text{tail}$ (Fisher). Who is very sure can outvote two who shrug.
# - **surest**: the largest $-\log \text{tail}$ (Tippett). The surest decides alone.


# %%
def with_fusions(members, data):
    """The members, and three ways to fuse them."""
    judges = tuple(detect.as_detector(member) for member in members.values())
    ranks = tuple(detect.federated_reference(judge, data) for judge in judges)
    ways = ("rank", "tail", "surest")
    return members | {f"team, {how}": detect.RankFusion(judges, ranks, how) for how in ways}


tails = np.stack([
    detect.federated_reference(member, data).tail(detect.as_detector(member).score(data.pooled().x_test))
    for member in members.values()
])  # fmt: skip
fused = detect.fuse(members, data, "tail").score(data.pooled().x_test)
print("as by hand:", np.allclose(-np.log(tails).mean(axis=0), fused))

# %% [markdown]
# First the payments, three seeds:

# %%
payments_reports = []
for seed in range(3):
    data = fl.load("payments", clients=10, shift=0.6, seed=seed)
    wide = {
        "rounds": 20,
        "local": fl.SGD(lr=0.3, momentum=0.9, batch_size=64),
        "hidden": 46,
        "code": 8,
    }
    members = team(data, seed, one_class=detect.OneClassSGD(), **wide)
    payments_reports.append(fl.evaluate(with_fusions(members, data), data, seed=seed))

# %%
payments = detect.format_summary(fl.summarise(payments_reports))
save_results("10", "Payments: a mixed team, three seeds", payments)
payments

# %% [markdown]
# No, the team does *not* win. Each fusion is worse than the autoencoder alone, pooled, for the mean
# bank and for the worst one; the more a fusion listens to everybody, the worse it is. The forest
# is at the floor in AP here, and the one-class SVM reaches a quarter of the autoencoder's AP. Their ranks
# are mostly noise, and a mean of ranks passes the noise on. Is there at least a kind of fraud which the others
# see, and the autoencoder does not?

# %%
kinds = pd.concat([report.by_kind()["AUC"].unstack("detector") for report in payments_reports])
order = ["autoencoder", "forest", "one-class SVM", "team, rank", "team, tail", "team, surest"]
kinds = kinds[order].groupby("kind").mean().round(3)
kinds.loc[["point", "structural", "collective", "takeover", "regular"]]

# %% [markdown]
# There is none: in each row of the table the autoencoder is the best member, or all are near chance
# or below. Even `regular`, the fraud that is too ordinary, is below .5 for all three: all of them
# measure distance from the normal rows, each in its way. Different machinery is not yet different
# knowledge.

# %% [markdown]
# ## 10.10 And on real data: digits and Shuttle
#
# Ten clients, each of which knows few digits (`Dirichlet`). Once the 4 is the anomaly, once the 8, on
# which forests fail (chapter 01). Five seeds:

# %%
digit_reports = {}
for digit in (4, 8):
    for seed in range(5):
        data = fl.load("digits", anomaly=digit, partition=fl.Dirichlet(10, alpha=0.3), seed=seed)
        members = team(data, seed, **digit_options)
        report = fl.evaluate(with_fusions(members, data), data, seed=seed)
        digit_reports.setdefault(f"digit {digit}", []).append(report)

# %%
parts = {name: detect.format_summary(fl.summarise(rs)) for name, rs in digit_reports.items()}
digits = pd.concat(parts, names=["anomaly"])
save_results("10", "Digits, Dirichlet clients: a mixed team, five seeds", digits, headline=True)
digits

# %% [markdown]
# Digit 4 is the friendly case. Autoencoder and forest are close to each other, and the teams by rank and
# by tail come out near the best of them, not above it; the differences are within the spread. For
# digit 8 two members are below .5 in AUC, and they pull the team far below the autoencoder.
#
# Is there a case in which a team helps? It takes members that are all good, but not at the same clients.
# Section 10.7 had that: on Shuttle with clients that differ, the common forest was ahead in the pooled
# list, and the autoencoder at the worst client. We kept both; a one-class SVM joins them.

# %%
shuttle_reports = []
for seed, (data, found) in enumerate(kept):
    start = detect.OneClass(data.n_features, features=256, seed=seed)
    options = {"rounds": 5, "local": solver, "seed": seed, "progress": False}
    members = {
        "autoencoder": found["autoencoder, federated"],
        "forest": found["forest, common"],
        "one-class SVM": fl.fit(start, data, **options).model,
    }
    together = with_fusions(members, data)
    shuttle_reports.append(fl.evaluate(together, data, baselines=False, seed=seed))

# %%
columns = ["AP pooled", "AP mean client", "AP worst client", "AUC worst client"]
help_case = fl.summarise(shuttle_reports)[columns]
floors = fl.summarise(reports["Dirichlet 0.3"])[columns]
floors = floors.loc[["untrained autoencoder", "row norm", "isolation forest (central)"]]
shuttle_team = detect.format_summary(pd.concat([help_case, floors]))
save_results("10", "Shuttle, Dirichlet clients: a mixed team, five seeds", shuttle_team)
shuttle_team

# %% [markdown]
# Here the team is what one hopes for. No member is good everywhere, and the teams by tail and by surest are
# near the best member in *every* column: close to the forest in the pooled list, level with it for the
# mean client, and for the worst client at least as good as the autoencoder (a little higher in the
# mean of five seeds, within a wide spread).
#
# The verdict for all four: what you get from a member chosen at random, from the best one (which you
# would need labels to know), and from the teams.

# %%
groups = {"payments": payments_reports, **digit_reports, "shuttle": shuttle_reports}
tables = {name: fl.summarise(rs)[("AP pooled", "mean")] for name, rs in groups.items()}
verdict = pd.DataFrame(tables).loc[order].T
verdict.insert(0, "best member", verdict[order[:3]].max(axis=1))
verdict.insert(0, "mean of members", verdict[order[:3]].mean(axis=1))
verdict.drop(columns=order[:3]).round(3)

# %%
bars = {row: {name: t[row] for name, t in tables.items()} for row in order}
show(figures.bars(bars, xlabel="Data", ylabel="AP, pooled"), name="mixed-team")

# %% [markdown]
# So a mixed team is an **insurance**, not a gain. Pooled, the surest member's word beats the mean of
# the members on each data set (for digit 4 only just), and it never reaches the best member. It pays where
# the best member changes from client to client. If you have reason to trust one detector, because
# validation labels or knowledge of the field say so, take it alone.

# %% [markdown]
# ## 10.11 And on real data: the published number
#
# Chapter 01 reproduced PyOD's AUC of .9967 for an isolation forest on Shuttle, with all rows in one place.
# Does the union of ten clients' trees reach it? The same protocol: 60/40 split, anomalies stay in the
# training rows, five splits. Each client grows ten trees on its tenth of the training rows.

# %%
from sklearn.model_selection import train_test_split

from fedlab_utils.data.bundled import shuttle
from fedlab_utils.data.standardise import federated_scaler

sensors = shuttle()


def ten_clients(seed):
    """Ten clients with a tenth of the training rows each; the test rows in one place."""
    train, test, _, y = train_test_split(sensors.x, sensors.y, test_size=0.4, random_state=seed)
    parts = np.array_split(np.random.default_rng(seed).permutation(train), 10)
    scaler = federated_scaler(parts)
    nothing, none = test[:0], np.empty(0, bool)
    rest = (nothing, nothing, none, none.astype(str))
    clients = [
        fl.Client(f"client {i}", scaler.apply(p), *rest) for i, p in enumerate(parts, start=1)
    ]
    return fl.Federation("shuttle 60/40", tuple(clients), sensors.features), scaler.apply(test), y


# %%
values = []
for seed in range(5):
    data, test, y = ten_clients(seed)
    rows = data.pooled().x_train
    grown = {
        "isolation forest (central)": detect.isolation_forest(rows, seed),
        "union of ten clients' trees": detect.union(
            detect.grow_local(data, trees=10, seed=seed).values(), data.sizes
        ),
        "common forest": detect.grow_common(data, seed=seed),
        "row norm": detect.RowNorm(),
    }
    for name, forest in grown.items():
        s = forest.score(test)
        values.append((name, detect.auc(y, s), detect.average_precision(y, s)))

# %%
anchor = pd.DataFrame(values, columns=["detector", "AUC", "AP"]).groupby("detector", sort=False)
anchor = anchor.agg(["mean", "std"]).round(4)
anchor.columns = [f"{metric} {part}" for metric, part in anchor.columns]
anchor["AUC published"] = [0.9967, np.nan, np.nan, np.nan]
anchor["prevalence"] = round(float(sensors.y.mean()), 4)
save_results("10", "Shuttle 60/40: the published AUC by ten clients, five splits", anchor)
anchor

# %% [markdown]
# The union of ten clients' trees reaches the published number: the difference is smaller than the spread
# between the splits, and so is its difference to the central forest.
#
# The common forest does not, and in AP it falls behind even the row norm. The training rows hold
# anomalies here, and it counts *all* rows: a group of anomalies fills its leaves and looks ordinary.
# A sample of 256 rows holds few of them, which is why isolation forests sample. In section 10.7 the
# training rows were normal and the common forest was ahead. So it is the better choice for clean
# training rows, and the worse one for rows that nobody has cleaned. Exercise 10.5 looks for a remedy.

# %% [markdown]
# ## What we have built
#
# - An isolation forest in arrays, with scikit-learn's scores to the last digits.
# - Three ways to federate it, and the price of each:
#
# | | travels once | travels for each judged row | what it tells |
# | --- | --- | --- | --- |
# | committee | nothing | the row, to all clients | the row itself |
# | union | trees | nothing | thresholds between values; lonely rows |
# | common forest | sums of counts | nothing | counts in boxes; with noise: $\epsilon$ |
#
# - A one-class SVM of a few hundred coefficients, for the same `fl.fit`, aggregators included.
# - Rank fusion for detectors of different kinds, with counts only.

# %% [markdown]
# ## Check yourself
#
# **Why may the common forest be made by a secure sum, and the union not?**
#
# <details><summary>Answer</summary>
# Its message is a vector of counts on which all clients agree place by place, so that adding makes sense.
# Trees of different clients have nothing in common that could be added: they can only be collected.
# </details>
#
# **A client's support vectors are sent after a random rotation of the features. Is that private?**
#
# <details><summary>Answer</summary>
# No. A rotation keeps all distances and lengths. Whoever knows a few rows, or the distribution, can undo
# it. Hiding the coordinate system is not hiding the rows.
# </details>
#
# **You double the number of trees. What happens to the noise that the same epsilon needs?**
#
# <details><summary>Answer</summary>
# The L2 sensitivity is the root of T, so the deviation grows by a factor of 1.41 in each count. Against
# that, there are twice as many trees to average over.
# </details>
#
# **Two of three detectors are near chance. What does a mean of ranks do?**
#
# <details><summary>Answer</summary>
# It adds the noise of two to the knowledge of one. A mean helps if its members are about equally good
# and err at different rows. Otherwise the best member alone is better, but without labels you do not
# know which one that is.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 10.1** (easy) Write `isolation_score`: from path lengths `[n, T]` in trees of `sample` rows
# to scores `[n]`. `detect.average_path` is $c(n)$.


# %% tags=["exercise"]
def isolation_score(paths, sample):
    """Return the score [n] of path lengths [n, T] in trees of `sample` rows."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return 2.0 ** (-paths.mean(axis=1) / detect.average_path(sample))
    # END SOLUTION


check("10.1", isolation_score)

# %% [markdown]
# **Exercise 10.2** (medium) Write `tree_weights` for the union: client $k$ has `rows[k]` training rows and
# sent `trees[k]` trees. Return one weight for each tree, client by client, that add up to 1.


# %% tags=["exercise"]
def tree_weights(rows, trees):
    """Return each tree's weight [sum of trees]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return np.repeat(rows / rows.sum() / trees, trees)
    # END SOLUTION


check("10.2", tree_weights)

# %% [markdown]
# **Exercise 10.3** (medium) Section 10.6 protects a single payment. A customer may have up to `payments`
# payments in the training rows. By how much can all of them together change the counts of `trees` trees,
# in L1 and in L2? Return both.


# %% tags=["exercise"]
def customer_sensitivity(trees, payments):
    """Return the sensitivities (L1, L2) to one customer."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return payments * trees, payments * np.sqrt(trees)
    # END SOLUTION


check("10.3", customer_sensitivity)

# %%
hint("10.3")

# %% [markdown]
# **Exercise 10.4** (medium) Write `tail` without a histogram, from calibration scores: the share of rows
# that score at least as high, the imaginary row (which scores higher than everybody) included. In
# statistics this is called a conformal p-value.


# %% tags=["exercise"]
def tail(scores, calibration):
    """Return the tail [n] of scores [n] among calibration scores [m]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    above = calibration[None] >= scores[:, None]
    return (1 + above.sum(axis=1)) / (1 + len(calibration))
    # END SOLUTION


check("10.4", tail)

# %% [markdown]
# **Exercise 10.5** (open) In section 10.11 the training rows hold anomalies, and they fill leaves.
# `detect.grow_common(..., sample=...)` says how large a sample is: a leaf that expects more than one
# row of it is cut again. Try 32, 256 and 1024 on `ten_clients(seed)`, for three seeds. What happens to the AP, and
# why? Then try the same on clean training rows. Would you have known which value to take?

# %% tags=["solution"]
for sample in (32, 256, 1024):
    aps = []
    for seed in range(3):
        data, test, y = ten_clients(seed)
        grown = detect.grow_common(data, sample=sample, seed=seed)
        aps.append(detect.average_precision(y, grown.score(test)))
    print(f"sample {sample:4}: AP {np.mean(aps):.3f} ± {np.std(aps, ddof=1):.3f}")

# %% [markdown] tags=["solution"]
# A small sample ends the trees early: a small group of anomalies is then still "less than one row of the
# sample", and all of it counts as odd. With a large sample the anomalies hide each other. This is the
# reason for the small samples of the original isolation forest, too. Without labels nothing tells you the
# share of anomalies, so the choice is a guess about it.

# %% [markdown]
# ## Further reading
#
# - F. T. Liu, K. M. Ting, Z.-H. Zhou, [Isolation Forest](https://doi.org/10.1109/ICDM.2008.17) (2008).
# - S. C. Tan, K. M. Ting, F. T. Liu, [Fast Anomaly Detection for Streaming
#   Data](https://www.ijcai.org/Proceedings/11/Papers/254.pdf) (2011): half-space trees, which are drawn
#   before any row is seen.
# - B. Schölkopf and others, [Estimating the Support of a High-Dimensional
#   Distribution](https://doi.org/10.1162/089976601750264965) (2001): the one-class SVM.
# - A. Rahimi, B. Recht, [Random Features for Large-Scale Kernel
#   Machines](https://papers.nips.cc/paper/3182-random-features-for-large-scale-kernel-machines) (2007).
# - C. Aggarwal, S. Sathe, [Theoretical Foundations and Algorithms for Outlier
#   Ensembles](https://doi.org/10.1145/2830544.2830549) (2015).
# - N. Agarwal, P. Kairouz, Z. Liu, [The Skellam Mechanism for Differentially Private Federated
#   Learning](https://arxiv.org/abs/2110.04995) (2021).

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at "higher score = shorter path"; let them compute one score by hand.
#   Some think that a threshold is not data, because it is no value of a row: let them find the
#   largest payment of a bank from its trees.
# - **What to ask:** "Which of the three forests could a hospital send, and to whom?" and "Two detectors
#   agree on a row. How much more do you know than from one?"
# - **What to skip:** the walk in arrays of section 10.3; the loss of the one-class SVM, for a group that
#   only needs to know that its coefficients can be averaged.
#
# </details>
