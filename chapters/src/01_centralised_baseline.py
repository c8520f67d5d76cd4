# %% [markdown]
# # 01 · Centralised baseline
# *How good is an autoencoder at finding fraud when all payments lie in one place, and what did it learn?*
#
# {{badges}}
#
# You will
#
# - **build** an autoencoder and **train** it on payments without labels;
# - **turn** its reconstruction error into an anomaly score;
# - **compare** it with the floor: detectors that have learned nothing;
# - **compute** average precision by hand, and **say** why accuracy misleads;
# - **set** a threshold without a single label.
#
# You need: chapter 00, and some PyTorch.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 1.1 Payments and their anomalies
#
# We pretend for one chapter that the ten banks may share everything. All payments lie in one
# place: this is the **centralised** baseline to which every later chapter is compared.

# %%
import numpy as np
import torch
from torch import nn

import fedlab_utils as fl
from fedlab_utils import detect
from fedlab_utils.course import check, figures, save_results, show, show_error

federation = fl.load("payments", clients=10, shift=0.6, seed=0)
bank = federation.pooled()

# %% [markdown]
# Training and calibration rows have no labels. The test rows do, with the kind of each anomaly.
# A **point** anomaly is far from everything. A **structural** one has ordinary values that do not
# belong together. A **collective** one is a burst of ordinary payments. A **takeover** looks like
# the customer, and a **regular** one is *too* ordinary.

# %%
kinds, counts = np.unique(bank.kind_test, return_counts=True)
dict(zip(kinds.tolist(), counts.tolist(), strict=True))

# %% [markdown]
# The features are standardised: each has mean 0 and variance 1 on the training rows. Otherwise
# the feature with the largest unit would decide everything.

# %%
print(f"largest |mean| {np.abs(bank.x_train.mean(axis=0)).max():.4f}")
print(
    f"deviations from {bank.x_train.std(axis=0).min():.4f} to {bank.x_train.std(axis=0).max():.4f}"
)

# %% [markdown]
# ## 1.2 An autoencoder from scratch
#
# The network maps a payment $x$ to a short code and back to $\hat x$. The code is narrower than the
# payment, so the network cannot copy; it has to learn how the features depend on each other.

# %%
torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(23, 46), nn.Tanh(), nn.Linear(46, 7))
decoder = nn.Sequential(nn.Linear(7, 46), nn.Tanh(), nn.Linear(46, 23))
own = nn.Sequential(encoder, decoder)

# %% [markdown]
# The score of a payment is its reconstruction error, $s(x) = \frac1d \sum_j (\hat x_j - x_j)^2$.
# Here is the function with a hole:

# %%
over = "???"


def score_rows(model, x):
    rows = torch.from_numpy(x)
    return (model(rows) - rows).square().mean(dim=over)


with show_error(Exception):
    score_rows(own, bank.x_test[:3])

# %% [markdown]
# We want one number per row, so the mean goes over the features, axis 1. The package's
# version gives the same numbers.

# %%
over = 1
ours = score_rows(own, bank.x_test[:500]).detach().numpy()
np.allclose(ours, fl.reconstruction_error(own, bank.x_test[:500]), rtol=1e-4)

# %% [markdown]
# Training is ordinary gradient descent on the same error. With everything in one place, a
# federation of *one* client does it: `pooled_federation`. `fit` is built in chapter 03.

# %%
model = fl.dense_autoencoder(federation.n_features, seed=0)
sgd = fl.SGD(lr=0.05, momentum=0.9)
run = fl.fit(model, federation.pooled_federation(), rounds=20, local=sgd, progress=False)
print(f"loss of round 1: {run.history.loss[0]:.3f}, of round 20: {run.history.loss[-1]:.3f}")

# %%
score = fl.reconstruction_error(run.model, bank.x_test)
show(figures.scores(score, bank.y_test, xlabel="Reconstruction error"), name="central-scores")

# %% [markdown]
# ## 1.3 Why average precision
#
# Anomalies are rare, so a detector that never raises an alarm is nearly always right:

# %%
print(f"accuracy of 'everything is normal': {1 - bank.y_test.mean():.3f}")

# %% [markdown]
# **Average precision** (AP) asks instead: go down the list from the highest score. At each anomaly
# you meet, which share of the rows so far were anomalies? AP is the mean of these shares. A
# detector that guesses gets the **prevalence**, the share of anomalies.


# %%
def average_precision(y, score):
    ranked = y[np.argsort(-score, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return precision[ranked].mean()


print(f"AP {average_precision(bank.y_test, score):.4f}, chance {bank.y_test.mean():.4f}")
np.isclose(average_precision(bank.y_test, score), detect.average_precision(bank.y_test, score))

# %% [markdown]
# ## 1.4 The floor
#
# Before you praise a detector, ask what one gets that has learned *nothing*: an **untrained**
# autoencoder, and the **norm** of the standardised row. An isolation forest stands beside them as
# a strong, simple detector. Three seeds, everything pooled:

# %%
reports = []
for seed in range(3):
    data = fl.load("payments", clients=10, shift=0.6, seed=seed)
    start = fl.dense_autoencoder(data.n_features, seed=seed)
    trained = fl.fit(
        start, data.pooled_federation(), rounds=20, local=sgd, seed=seed, progress=False
    )
    reports.append(fl.evaluate({"central": trained.model}, data, seed=seed))

table = detect.format_summary(fl.summarise(reports))
save_results("01", "Central baseline on payments: mean and spread of three seeds", table)
table

# %% [markdown]
# Compare the first row with the rows below it: the distance to the untrained autoencoder is what
# learning added. Which kind of anomaly did it help with? Each kind against the normal rows, seed 0:

# %%
reports[0].by_kind()["AUC"].unstack("detector").round(3)

# %% [markdown]
# Read the table by row. Point anomalies are found by everything: the floor is high, and a good
# result there proves little. Structural ones are where the untrained network guesses and the trained
# one does not. Takeovers come closest to the chance level of .5, and there are few of them, so their
# number moves from seed to seed: without labels, fraud that looks normal is not reliably found. Regular anomalies vary *less* than normal rows, so scores that
# measure deviation tend to rank them too low.
#
# ## 1.5 A threshold without labels
#
# An alarm needs a threshold, and there are no labels to set it by. The calibration rows help: the
# model has not been trained on them. If at most a share $a$ of normal rows may raise an alarm, take the
# $\lceil (n+1)(1-a) \rceil$-th smallest of the $n$ calibration scores (split-conformal quantile).

# %%
calibration = fl.reconstruction_error(run.model, bank.x_calibration)
n, a = len(calibration), 0.01
threshold = np.sort(calibration)[int(np.ceil((n + 1) * (1 - a))) - 1]
np.isclose(threshold, fl.local_threshold(calibration, a))

# %%
alarm = score > threshold
print(f"alarms among normal test rows: {alarm[~bank.y_test].mean():.4f} (asked for {a})")
print(f"anomalies found: {alarm[bank.y_test].mean():.3f}")

# %% [markdown]
# The promise holds if test rows are like calibration rows. Even then the rate varies with the
# calibration rows one happens to have; the package states by how much.

# %%
detect.alarm_rate_bound(n, a)

# %% [markdown]
# ## 1.6 And on real data
#
# The Shuttle data are in many papers, and PyOD publishes a table: AUC .9967 for the isolation
# forest, .9895 for PCA, .9856 for HBOS. Its protocol: split 60/40, keep the anomalies in training,
# standardise by the training rows. We repeat it over several splits, with the row norm beside it.

# %%
from sklearn.ensemble import IsolationForest
from sklearn.model_selection import train_test_split

from fedlab_utils.data.bundled import shuttle

data = shuttle()


def split(seed):
    x = data.x.astype(float)
    a, b, _, y = train_test_split(x, data.y, test_size=0.4, random_state=seed)
    return (a - a.mean(0)) / a.std(0), (b - a.mean(0)) / a.std(0), y


# %% [markdown]
# PyOD's PCA adds up the distances to the eigenvectors, each divided by the share of variance it
# explains. HBOS adds up how rare a row's histogram bin is in each feature.


# %%
def pca(train, test):
    values, vectors = np.linalg.eigh(np.cov(train.T))
    distance = np.linalg.norm(test[:, :, None] - vectors[None], axis=1)
    return (distance / (values / values.sum())).sum(axis=1)


# %%
def hbos(train, test, bins=10):
    total = np.zeros(len(test))
    for column, values in zip(train.T, test.T, strict=True):
        height, edges = np.histogram(column, bins=bins, density=True)
        rarity = -np.log2(height + 0.1)
        bin_ = np.clip(np.searchsorted(edges, values) - 1, 0, bins - 1)
        margin = 0.5 * (edges[1] - edges[0])
        outside = (values < edges[0] - margin) | (values > edges[-1] + margin)
        total += np.where(outside, rarity.max(), rarity[bin_])
    return total


# %%
import pandas as pd

rows = []
for seed in range(5):
    train, test, y = split(seed)
    forest = IsolationForest(random_state=seed).fit(train)
    scores = {"isolation forest": -forest.score_samples(test), "PCA": pca(train, test)}
    scores |= {"HBOS": hbos(train, test), "row norm": np.linalg.norm(test, axis=1)}
    rows.append({name: detect.auc(y, s) for name, s in scores.items()})
shuttle_table = pd.DataFrame(rows).agg(["mean", "std"]).T
shuttle_table["published"] = [0.9967, 0.9895, 0.9856, np.nan]
save_results("01", "Shuttle: AUC of five splits and PyOD's published table", shuttle_table.round(4))
shuttle_table.round(4)

# %% [markdown]
# The published table is reproduced to within the spread of the splits. And the warning: look at the
# last row. The plain row norm, which learns nothing at all, is as good as PCA. On Shuttle a high AUC
# says little about learning. This is why every table of this course has its floor.

# %% [markdown]
# ## What we have built
#
# - An autoencoder, its score, and central training: the baseline of the course.
# - AP by hand, the floor, and a table by kind of anomaly.
# - A threshold without labels, with its bound.

# %% [markdown]
# ## Check yourself
#
# **A paper reports an AUC of .99. What do you ask first?**
#
# <details><summary>Answer</summary>
# What an untrained model and the row norm reach on the same data. If they reach .99 too, nothing
# was learned that matters.
# </details>
#
# **Why is the threshold not set on training rows?**
#
# <details><summary>Answer</summary>
# The model has been fitted to them, so their errors are smaller than those of new rows; the
# threshold would be too low and alarms too many.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 01.1** (easy) Write `row_norm`: the Euclidean norm of each row, one number per row.


# %% tags=["exercise"]
def row_norm(x):
    """Return the Euclidean norm [n] of rows x [n, d]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return np.sqrt(np.square(x).sum(axis=1))
    # END SOLUTION


check("01.1", row_norm)

# %% [markdown]
# **Exercise 01.2** (medium) Write `precision_at`: among the k rows with the highest scores, which
# share are anomalies? An analyst with time for k alarms a day cares about this number.


# %% tags=["exercise"]
def precision_at(y, scores, k):
    """Return the share of anomalies among the k highest scores."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return np.asarray(y)[np.argsort(-np.asarray(scores))[:k]].mean()
    # END SOLUTION


check("01.2", precision_at)

# %% [markdown]
# **Exercise 01.3** (open) Make the code narrower and wider. Which kind of anomaly gains, which
# loses? Write down a guess first.

# %% [markdown]
# ## Further reading
#
# - S. Han and others, [ADBench](https://arxiv.org/abs/2206.09426) (2022): kinds of anomalies, and
#   how little the choice of detector matters without looking at them.
# - A. Angelopoulos, S. Bates, [A Gentle Introduction to Conformal
#   Prediction](https://arxiv.org/abs/2107.07511) (2021): the threshold of section 1.5.
# - Y. Zhao and others, [PyOD](https://arxiv.org/abs/1901.01588) (2019): the published table.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** they read a high AUC as success. Let them guess the floor first.
# - **What to ask:** "What would you need to know to find a takeover?"
# - **What to skip:** PCA and HBOS in section 1.6.
#
# </details>
