# %% [markdown]
# # 01 · Centralised baseline
# *How good is an autoencoder at finding fraud when all payments lie in one place, and what did it learn?*
#
# {{badges}}
#
# You will
#
# - **name** five kinds of fraud, and **say** which of them can be found without labels;
# - **build** an autoencoder, **train** it, and **turn** its error into an anomaly score;
# - **compute** average precision by hand, and **say** why accuracy and AUC mislead;
# - **compare** a detector with the floor: what one gets that has learned nothing;
# - **set** a threshold without a single label, and **test** what it promises;
# - **reproduce** a published table, and **see** what it does not say.
#
# You need: chapter 00, numpy, and a first acquaintance with PyTorch.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 1.1 What is an anomaly?
#
# An anomaly is a row that was not made the way normal rows are made. That is not the same as an
# extreme row, as you will see. Here are the payments of our ten banks; `kind` is the truth, which
# only a simulation can tell:

# %%
import copy

import numpy as np
import pandas as pd
import torch
from torch import nn

import fedlab_utils as fl
from fedlab_utils import detect
from fedlab_utils.course import check, figures, save_results, show, show_error
from fedlab_utils.data.payments import PaymentsConfig, simulate

payments = simulate(PaymentsConfig(clients=10, shift=0.6, seed=0)).to_frame()
columns = ["bank", "customer", "day", "hour", "amount", "distance", "category", "kind"]
payments[payments.day >= 0].drop_duplicates("kind")[columns].round(2)

# %% [markdown]
# There are five kinds of fraud:
#
# | Kind | What happens |
# | --- | --- |
# | `point` | far too much money, far too far away, in the small hours |
# | `structural` | amount, place, hour and category are each usual for the customer, but not together |
# | `collective` | many copies of ordinary payments in one day |
# | `takeover` | a thief who pays like the customer |
# | `regular` | the same payment at the same second, day after day: *too* ordinary |
#
# A model does not see the payments but 23 numbers for each: its own, and some that compare it with
# the customer's past. In this chapter we pretend that the banks may pool everything. This is the
# **centralised** baseline that every later chapter is measured against.

# %%
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
bank = federation.pooled()
d = federation.n_features
print(f"{len(bank.x_train):,} training, {len(bank.x_calibration):,} calibration rows: no labels")
pd.Series(bank.kind_test).value_counts().to_frame("test rows")

# %% [markdown]
# The labels of the test rows are for judging only. No detector sees them.
#
# Two of the features are the amount, and what the customer usually pays in this category. Look at
# the two kinds that differ most:

# %%
from fedlab_utils.course.figures_baseline import two_features

pair = [federation.features.index(name) for name in ("amount", "category_amount")]
figure = two_features(
    bank.x_test[:, pair],
    bank.kind_test,
    ["normal", "structural", "point"],
    xlabel="Amount (standardised)",
    ylabel="Usual amount in this category",
)
show(figure, name="baseline-kinds")

# %% [markdown]
# Cover the vertical axis: the structural anomalies have the same amounts as everybody else. Cover
# the horizontal one: the same again. Only the *dependence* is broken, so only a model of the
# dependence can find them. The point anomalies are shifted to large amounts (and, not drawn here, to
# far places and odd hours): looking at one feature at a time goes a long way.

# %% [markdown]
# ## 1.2 One scale for all features
#
# Errors and distances add up squares over the features, so a feature with a large spread
# drowns the others. Here are the raw features again, and their shares in the total variance:

# %%
raw = fl.load("payments", clients=10, shift=0.6, seed=0, scaler=None).pooled()
share = pd.Series(raw.x_train.var(axis=0), index=federation.features)
(share / share.sum()).sort_values(ascending=False).iloc[[0, 1, 2, -3, -2, -1]].round(3).to_frame(
    "share of the variance"
)


# %% [markdown]
# So we **standardise**: subtract the mean and divide by the standard deviation, both from the
# *training* rows. What if a feature is constant, like the currency of payments in one country? Add
# such a column and see (numpy would only warn; we ask it to stop):


# %%
def standardise(rows, train):
    return (rows - train.mean(axis=0)) / train.std(axis=0)


x = np.column_stack([raw.x_train.astype(float), np.ones(len(raw.x_train))])
with np.errstate(invalid="raise"), show_error(FloatingPointError):
    standardise(x, x)

# %% [markdown]
# Zero divided by zero. A constant feature carries no information: divide it by 1, and it becomes 0.


# %%
def standardise(rows, train):
    deviation = train.std(axis=0)
    return (rows - train.mean(axis=0)) / np.where(deviation > 0, deviation, 1)


print("the constant feature becomes", np.unique(standardise(x, x)[:, -1]))

# %% [markdown]
# `fl.load` has standardised `federation` in this way; `scaler=None` left `raw` alone. (How ten banks
# can agree on a mean without showing rows is a subject of chapter 02.)

# %%
np.allclose(standardise(raw.x_test, raw.x_train.astype(float)), bank.x_test, atol=1e-4)

# %% [markdown]
# ## 1.3 An autoencoder and its error
#
# An autoencoder maps a payment $x$ to a short **code** and back to a **reconstruction** $\hat x$. The
# code is narrower than $x$, so the network cannot simply copy. It has to find out how the
# features depend on each other.

# %%
torch.manual_seed(0)
encoder = nn.Sequential(nn.Linear(d, 2 * d), nn.Tanh(), nn.Linear(2 * d, d // 3))
decoder = nn.Sequential(nn.Linear(d // 3, 2 * d), nn.Tanh(), nn.Linear(2 * d, d))
own = nn.Sequential(encoder, decoder)
print(f"{d} features -> code of {d // 3} -> {d} features, {fl.flatten(own).numel():,} weights")

# %% [markdown]
# The score of a payment is its **reconstruction error**, the mean square over its features:
#
# $$s(x) = \frac1d \sum_{j=1}^{d} (\hat x_j - x_j)^2$$
#
# Here it is, with a hole. Over which axis is the mean?

# %%
over = "???"


def error(model, rows):
    rows = torch.from_numpy(rows)
    with torch.no_grad():
        return (model(rows) - rows).square().mean(dim=over).numpy()


with show_error():
    error(own, bank.x_test)

# %% [markdown]
# Axis 0 counts the payments, axis 1 the features. We want one number per payment:

# %%
over = 1
error(own, bank.x_test).shape

# %% [markdown]
# The package has the same network and the same score. With our weights it gives our numbers:

# %%
same = fl.unflatten(fl.flatten(own), fl.dense_autoencoder(d))
np.allclose(error(own, bank.x_test), fl.reconstruction_error(same, bank.x_test), rtol=1e-4)

# %% [markdown]
# ## 1.4 Training without labels
#
# Training makes the mean error of the training rows small: compute its gradient, take a small step
# down, repeat. Five such steps by hand:

# %%
rows, hand = torch.from_numpy(bank.x_train), copy.deepcopy(own)
for step in range(5):
    loss = (hand(rows) - rows).square().mean()
    gradients = torch.autograd.grad(loss, list(hand.parameters()))
    with torch.no_grad():
        for weight, gradient in zip(hand.parameters(), gradients, strict=True):
            weight -= 0.1 * gradient
    print(f"step {step + 1}: loss {loss.item():.4f}")

# %% [markdown]
# `fl.fit` trains a federation, and a federation of *one* client is central training. Its five rounds
# of one full step end at the same weights:

# %%
everything = federation.pooled_federation()
full = fl.SGD(lr=0.1, epochs=1, batch_size=len(rows))
five = fl.fit(same, everything, rounds=5, local=full, progress=False)
np.allclose(fl.flatten(five.model).detach(), fl.flatten(hand).detach(), atol=1e-5)

# %% [markdown]
# A step per pass over the data is slow. So each pass goes through small batches, with one step
# after each, and with momentum. Twenty passes. (The widths and the learning rate were chosen with an
# eye on the test rows, so our results are a little flattered.)

# %%
sgd = fl.SGD(lr=0.1, momentum=0.9, batch_size=64)
model = fl.dense_autoencoder(d, seed=0)
run = fl.fit(model, everything, rounds=20, local=sgd, seed=0, progress=False)
show(figures.curves({"training loss": run.history.loss}, xlabel="Pass over the data"))

# %%
score = fl.reconstruction_error(run.model, bank.x_test)
show(figures.scores(score, bank.y_test, xlabel="Reconstruction error"), name="central-scores")

# %% [markdown]
# Each histogram shows shares of its own group, although there are far fewer anomalies. Some anomalies
# stand out to the right. Others lie in the middle of the normal rows.

# %% [markdown]
# ## 1.5 How good is that? Why average precision
#
# **Accuracy** is useless here. A detector that never raises an alarm is nearly always right:

# %%
print(f"accuracy of 'everything is normal': {1 - bank.y_test.mean():.3f}")

# %% [markdown]
# **AUC** is the probability that a random anomaly scores above a random normal row; guessing gives
# .5. It knows nothing of how rare anomalies are. Two made-up detectors, one anomaly in a
# hundred rows: *sharp* puts half of the anomalies at the very top and guesses at the rest; *vague*
# puts all of them somewhere in the upper half.

# %%
rng = np.random.default_rng(0)
truth = np.arange(20_000) < 200
sharp, vague = rng.uniform(size=(2, len(truth)))
sharp[:100] += 1
vague[truth] = rng.uniform(0.5, 1, size=200)

# %% [markdown]
# **Average precision** (AP) tells them apart. Go down the list from the highest score. At each
# anomaly, ask which share of the rows so far were anomalies: that is the *precision* there. AP is
# the mean of these shares.


# %%
def average_precision(y, score):
    ranked = y[np.argsort(-score, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return precision[ranked].mean()


for name, values in {"sharp": sharp, "vague": vague}.items():
    print(f"{name}: AUC {detect.auc(truth, values):.2f}, AP {average_precision(truth, values):.2f}")

# %% [markdown]
# Nearly the same AUC, and very different lists for whoever must read them. So we report both numbers,
# and look at AP first. A detector that guesses has the same precision everywhere: the
# **prevalence**, the share of anomalies. So the prevalence is the chance level of AP.

# %%
guess = [average_precision(bank.y_test, rng.uniform(size=len(score))) for _ in range(20)]
print(f"prevalence {bank.y_test.mean():.4f}, AP of guessing {np.mean(guess):.4f}")
print(f"AP of the autoencoder {average_precision(bank.y_test, score):.4f}")
np.isclose(average_precision(bank.y_test, score), detect.average_precision(bank.y_test, score))

# %% [markdown]
# (Equal scores need care: the package takes them together, our five lines take them one by one.)

# %% [markdown]
# ## 1.6 The floor: what did learning add?
#
# Before you praise a detector, ask what one gets that has learned *nothing*. Two of them are free:
# the **norm** of the standardised row, and an **untrained** autoencoder. They are nearly the same: an
# untrained network answers something near 0 to everything, and then its error is
# $\frac1d \sum_j x_j^2$, the square of the norm divided by $d$.

# %%
norm = np.sqrt(np.square(bank.x_test).sum(axis=1))
untrained = fl.reconstruction_error(model, bank.x_test)
ranks = pd.DataFrame({"norm": norm, "untrained": untrained, "trained": score}).rank()
print(f"rank correlation of the norm with the untrained error {ranks.corr().iloc[0, 1]:.3f},")
print(f"with the trained error {ranks.corr().iloc[0, 2]:.3f}")
np.allclose(norm, detect.RowNorm().score(bank.x_test), rtol=1e-5)

# %%
detectors = {"autoencoder": score, "untrained autoencoder": untrained, "row norm": norm}
show(figures.precision_recall(detectors, bank.y_test), name="central-precision-recall")

# %% [markdown]
# One more neighbour: the **isolation forest**, a strong and simple detector. It cuts the data at
# random until each row is alone; odd rows are alone early. `fl.evaluate` puts all of them into one
# table. One seed is an anecdote, so we draw new banks, new starting weights and a new order of the
# batches twice more:


# %%
def central(data, seed, rounds=20, local=sgd):
    start = fl.dense_autoencoder(data.n_features, seed=seed)
    pooled = data.pooled_federation()
    return fl.fit(start, pooled, rounds=rounds, local=local, seed=seed, progress=False).model


reports = [fl.evaluate({"central": run.model}, federation, seed=0)]
for seed in (1, 2):
    data = fl.load("payments", clients=10, shift=0.6, seed=seed)
    reports.append(fl.evaluate({"central": central(data, seed)}, data, seed=seed))

# %%
table = detect.format_summary(fl.summarise(reports))
save_results("01", "Central baseline on payments: mean and spread of three seeds", table)
table

# %% [markdown]
# The first row is the central autoencoder, the next two are the floor. The distance between them is
# what learning added. Compare the means of the isolation forest and the row norm, too: by AUC the
# forest is slightly ahead, by AP it is behind. *Mean client* and *worst client* judge each bank's rows alone; they
# matter from chapter 02 on.
#
# Now the same by kind of fraud, each kind against all normal rows, as AUC (.5 is guessing; AP
# would have another chance level in each row):

# %%
parts = [report.by_kind()["AUC"].unstack("detector") for report in reports]
kinds = pd.concat(parts)[list(reports[0].table().index)].groupby("kind").agg(["mean", "std"])
kinds = kinds.loc[["point", "structural", "collective", "takeover", "regular"]]
by_kind = detect.format_summary(kinds)
save_results("01", "Payments, AUC by kind of fraud: mean and spread of three seeds", by_kind)
by_kind

# %%
means = kinds.xs("mean", axis=1, level=1).drop(columns="row norm")
bars = figures.bars(means.to_dict(), ylabel="AUC", xlabel="Kind of fraud", chance=0.5)
show(bars, name="central-kinds")

# %% [markdown]
# Read the table row by row:
#
# - **point**: everybody finds them, the floor included. A good result here proves little.
# - **structural**: the floor guesses, and the isolation forest does little better. The trained
#   network ranks them far above most normal rows. *This* is learning.
# - **collective**: learning helps somewhat. The first payments of a burst are ordinary, so nobody
#   can find them all.
# - **takeover**: all are near .5, and the seeds differ more than the detectors do. Fraud that
#   looks normal cannot be found without labels. No cleverer network changes that.
# - **regular**: *below* .5. These rows vary less than normal ones, so they are easy to reconstruct,
#   and the score says "particularly normal". A trap: the worst fraud for the model is not the
#   strangest one.
#
# A single AP hides all this. If all frauds were point anomalies, you could do without a model.

# %% [markdown]
# ## 1.7 A threshold without labels
#
# Somebody must decide from which score on an alarm is raised. Without labels you cannot choose the
# rate of frauds found. But you can choose the rate of **false alarms**, because nearly all rows
# are normal. The calibration rows were kept for this; the model has not been trained on them. (Here all
# of them are normal. A few frauds among them would make the threshold higher and alarms rarer.)
#
# Let $n$ calibration scores be given, and a rate $a$. Sort the scores, and take the one at place
# $\lceil (n+1)(1-a) \rceil$. Why $n+1$? A new normal row is as likely to land in any of the
# $n+1$ gaps: below, between and above the sorted scores. Above that score lie at most a share $a$ of
# the gaps. This is the *split-conformal* quantile:

# %%
calibration = fl.reconstruction_error(run.model, bank.x_calibration)
n, a = len(calibration), 0.01
place = int(np.ceil((n + 1) * (1 - a)))
threshold = np.sort(calibration)[place - 1]
print(f"place {place:,} of {n:,}: threshold {threshold:.4f}")
np.isclose(threshold, fl.local_threshold(calibration, a))

# %%
alarm = score > threshold
print(f"alarms among normal test rows {alarm[~bank.y_test].mean():.4f}, asked for {a}")
print(f"alarms that are right {bank.y_test[alarm].mean():.3f}")
show(figures.scores(score, bank.y_test, threshold, xlabel="Reconstruction error"))

# %% [markdown]
# The rate $a$ is promised on average over all calibration sets you might have had. You have one of
# them. How far off can it be? The rate for one set follows a Beta distribution, so the package can
# say so:

# %%
bound = detect.alarm_rate_bound(n, a)
print(f"with {n:,} rows, in 95% of the cases between {bound.low:.4f} and {bound.high:.4f}")
few = detect.alarm_rate_bound(300, a)
print(f"with 300 rows, between {few.low:.4f} and {few.high:.4f}")

# %% [markdown]
# Which frauds raise an alarm at this threshold?

# %%
found = pd.DataFrame({"kind": bank.kind_test, "share with alarm": alarm}).groupby("kind").mean()
found.round(3)

# %% [markdown]
# All of this assumes that new rows are like the calibration rows. The ten banks are not alike. One
# threshold for all of them gives each bank another rate of false alarms:

# %%
rates = {}
for client in federation:
    normal = client.x_test[~client.y_test]
    rates[client.name] = np.mean(fl.reconstruction_error(run.model, normal) > threshold)
pd.Series(rates).round(4).to_frame("false alarms, asked for 0.01").T

# %% [markdown]
# In the pool, the rate counted above lies inside the interval. But some banks get more alarms than they
# asked for, others fewer: the promise is for the pool only. Chapter 02 returns to this.
#
# And why not set the threshold on the training rows? A model that has learned them by heart has
# small errors there, so the threshold would be too low. Is that so here?

# %%
trained_on = fl.local_threshold(fl.reconstruction_error(run.model, bank.x_train), a)
print(f"from training rows {trained_on:.4f}, from calibration rows {threshold:.4f}")

# %% [markdown]
# It is not: a small network with many rows does not learn them by heart, and the two thresholds are
# close. But nothing *promises* it. For the calibration rows there is a proof, and it costs a few
# rows.

# %% [markdown]
# ## 1.8 And on real data: digits
#
# A simulation shows what we put into it. So here are real data: handwritten digits, 8 x 8 pixels.
# One digit never occurs in training, and is the anomaly in the test. The network is made in the same
# way; on so few rows it takes more passes and a larger rate (chosen, again, with an eye on the test
# rows):

# %%
longer = fl.SGD(lr=0.2, momentum=0.9, batch_size=32)
parts = {}
for digit in (4, 8):
    reports = []
    for seed in range(3):
        data = fl.load("digits", anomaly=digit, seed=seed)
        net = central(data, seed, rounds=40, local=longer)
        reports.append(fl.evaluate({"central": net}, data, seed=seed))
    parts[f"digit {digit}"] = detect.format_summary(fl.summarise(reports))

# %%
digits = pd.concat(parts, names=["anomaly"])
save_results("01", "Digits, one of them unseen: mean and spread of three seeds", digits)
digits

# %% [markdown]
# For digit 4 the floor is high already, and the autoencoder improves on it. Digit 8 is the
# better test: its pixels are average ones, so the norm, the untrained network and the isolation
# forest do *worse than guessing*. What is odd about an 8 is how the pixels go together, and the
# trained network finds that. It is the structural anomaly of section 1.1 again, on real data. The
# clients here are ten random parts, so the worst of them says little.

# %% [markdown]
# ## 1.9 And on real data: a published table
#
# The Shuttle data, nine sensors of the space shuttle, are in many papers. The library PyOD
# publishes for them an AUC of .9967 for the isolation forest, .9895 for PCA and .9856 for HBOS. Can we
# reproduce that? Its protocol: split 60/40 at random, keep the anomalies in the training rows, and
# standardise by the training rows.

# %%
from sklearn.model_selection import train_test_split

from fedlab_utils.data.bundled import shuttle

sensors = shuttle()


def split(seed):
    train, test, _, y = train_test_split(sensors.x, sensors.y, test_size=0.4, random_state=seed)
    train, test = train.astype(float), test.astype(float)
    return standardise(train, train), standardise(test, train), y


# %% [markdown]
# PyOD's **PCA** score adds up a row's distances to the eigenvectors $v_j$ of the covariance, each
# divided by the share of variance that $v_j$ explains: $\sum_j \lVert x - v_j \rVert / r_j$.


# %%
def pca(train, test):
    values, vectors = np.linalg.eigh(np.cov(train.T))
    distance = np.linalg.norm(test[:, :, None] - vectors[None], axis=1)
    return (distance / (values / values.sum())).sum(axis=1)


# %% [markdown]
# **HBOS** draws a histogram of each feature, and adds up how rare a row's bins are. A value far outside
# the histogram counts as the rarest bin.


# %%
def hbos(train, test, bins=10):
    total = np.zeros(len(test))
    for column, values in zip(train.T, test.T, strict=True):
        height, edges = np.histogram(column, bins=bins, density=True)
        rarity = -np.log2(height + 0.1)
        place = np.clip(np.searchsorted(edges, values) - 1, 0, bins - 1)
        margin = 0.5 * (edges[1] - edges[0])
        outside = (values < edges[0] - margin) | (values > edges[-1] + margin)
        total += np.where(outside, rarity.max(), rarity[place])
    return total


# %% [markdown]
# Beside them stand our floors, and our autoencoder, trained on the same rows with the anomalies in
# them. Five splits:


# %%
def one_client(train, test, y):
    kind = np.where(y, "anomaly", "normal")
    parts = (train.astype("float32"), train[:0].astype("float32"), test.astype("float32"))
    return fl.Federation("shuttle", (fl.Client("all", *parts, y, kind),), sensors.features)


aucs, aps = [], []
for seed in range(5):
    train, test, y = split(seed)
    scores = {"isolation forest": detect.isolation_forest(train, seed).score(test)}
    scores |= {"PCA": pca(train, test), "HBOS": hbos(train, test)}
    scores |= {"row norm": np.linalg.norm(test, axis=1)}
    here = one_client(train, test, y)
    nets = {"untrained autoencoder": fl.dense_autoencoder(here.n_features, seed=seed)}
    nets |= {"autoencoder, trained with anomalies": central(here, seed, rounds=2)}
    scores |= {k: fl.reconstruction_error(v, here.pooled().x_test) for k, v in nets.items()}
    aucs.append({name: detect.auc(y, values) for name, values in scores.items()})
    aps.append({name: detect.average_precision(y, values) for name, values in scores.items()})

# %%
published = pd.DataFrame(aucs).agg(["mean", "std"]).T.add_prefix("AUC ")
published["AUC published"] = pd.Series({"isolation forest": 0.9967, "PCA": 0.9895, "HBOS": 0.9856})
published["difference"] = published["AUC mean"] - published["AUC published"]
published["AP mean"] = pd.DataFrame(aps).mean()
published["prevalence"] = sensors.y.mean()
save_results("01", "Shuttle: AUC of five splits and PyOD's published table", published.round(4))
published.round(4)

# %% [markdown]
# The published numbers are reproduced: each difference is smaller than the spread between our
# splits. And now the warning. Look at the row norm and the untrained network: they learn nothing,
# and by AUC they are about as good as PCA and HBOS. PCA *is* nearly the norm. When a row is far away, its
# distance to any vector of length 1 is nearly its distance to 0:

# %%
ranks = pd.DataFrame({"PCA": scores["PCA"], "norm": scores["row norm"]}).rank()
print(f"rank correlation of PCA's score with the row norm: {ranks.corr().iloc[0, 1]:.3f}")

# %% [markdown]
# The last row of the table is a second warning. This network was trained on rows with many anomalies
# among them, and far-away rows weigh most in a squared error. So it learns to reconstruct anomalies,
# too; which of them is a matter of the split and the seed, hence the large spread. On average it ends
# below its own untrained self, and by AP far below. What does it reach with normal training rows only, as in the rest
# of this chapter?

# %%
reports = []
for seed in range(3):
    data = fl.load("shuttle", seed=seed)
    reports.append(fl.evaluate({"central": central(data, seed, rounds=2)}, data, seed=seed))
clean = detect.format_summary(fl.summarise(reports), digits=4)
save_results("01", "Shuttle, normal training rows: mean and spread of three seeds", clean)
clean

# %% [markdown]
# Now it is better than the floor, but see how little room the floor left, and by AP the isolation
# forest is still ahead. A paper that reports an AUC of .99 on
# Shuttle has not shown that its method learns. This is why every table of this course has its
# floor.

# %% [markdown]
# ## What we have built
#
# - An autoencoder, its score, and its training: the central baseline of the course.
# - AP by hand, with its chance level, and AUC beside it.
# - The floor, and a table by kind of fraud: what learning added, and where it cannot help.
# - A threshold without labels, with what it promises and to whom it does not.
# - A published table, reproduced, and the reason to distrust it.

# %% [markdown]
# ## Check yourself
#
# **A paper reports an AUC of .99. What do you ask first?**
#
# <details><summary>Answer</summary>
# What an untrained model and the row norm reach on the same data. If they reach .99 too, the data
# were easy, and nothing has been shown about the method. Then: how rare are the anomalies, and what
# is the AP?
# </details>
#
# **Why is guessing's AP equal to the prevalence, while its AUC is always .5?**
#
# <details><summary>Answer</summary>
# In a random order the share of anomalies among the first rows is the same everywhere: the
# prevalence. AUC compares one anomaly with one normal row, so it does not matter how many there are
# of each.
# </details>
#
# **The AUC of `regular` fraud lies below .5. So turn the sign of the score, and it is found?**
#
# <details><summary>Answer</summary>
# Somewhat. But then every other kind, which scored high, is missed. And to know that the sign must
# be turned you needed labels.
# </details>
#
# **You ask for a false-alarm rate of 1%, and one bank gets clearly more. Is the theory wrong?**
#
# <details><summary>Answer</summary>
# No. It needs new rows that are like the calibration rows. The calibration rows came from ten banks,
# the new rows from one. Besides, a rate counted on few test rows varies by chance.
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
# **Exercise 01.2** (easy) Write `precision_at`: among the k rows with the highest scores, which
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
# **Exercise 01.3** (medium) With few calibration rows and a small rate, the place
# $\lceil (n+1)(1-a) \rceil$ is larger than $n$: there is no such score. How many calibration rows does
# a rate need at least?


# %% tags=["exercise"]
def rows_needed(alarm_rate):
    """Return the smallest number n of calibration rows for which a threshold exists."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return int(np.ceil(1 / alarm_rate)) - 1
    # END SOLUTION


check("01.3", rows_needed)

# %% [markdown]
# **Exercise 01.4** (medium) Write `auc_by_pairs` from the definition: over all pairs of one anomaly and
# one normal row, the share in which the anomaly scores higher. Equal scores count half.


# %% tags=["exercise"]
def auc_by_pairs(y, scores):
    """Return the AUC of labels y [n] (True = anomaly) and scores [n]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    difference = scores[y][:, None] - scores[~y][None]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()
    # END SOLUTION


check("01.4", auc_by_pairs)

# %% [markdown]
# **Exercise 01.5** (open) Make the network narrower and wider: `fl.dense_autoencoder(d, hidden=...,
# code=...)`. Which kind of fraud gains, which loses, and when does the trained network fall back to
# the floor? Write down a guess first. Use three seeds before you believe a difference.

# %% [markdown]
# ## Further reading
#
# - S. Han and others, [ADBench](https://arxiv.org/abs/2206.09426) (2022): many detectors on many data
#   sets, also by kind of anomaly.
# - F. T. Liu, K. M. Ting, Z.-H. Zhou, [Isolation Forest](https://doi.org/10.1109/ICDM.2008.17) (2008).
# - A. Angelopoulos, S. Bates, [A Gentle Introduction to Conformal
#   Prediction](https://arxiv.org/abs/2107.07511) (2021): the threshold of section 1.7, with its proof.
# - Y. Zhao, Z. Nasrullah, Z. Li, [PyOD](https://arxiv.org/abs/1901.01588) (2019), and its [table of
#   results](https://pyod.readthedocs.io/en/latest/benchmark.html).
# - R. Wu, E. Keogh, [Current Time Series Anomaly Detection Benchmarks are Flawed and are Creating the
#   Illusion of Progress](https://arxiv.org/abs/2009.13807) (2021): the warning of section 1.9, for time
#   series.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** they read a high AUC as success. Let them guess the floor on Shuttle
#   before they see it. Some take the reconstruction error for a probability; it is only a rank.
# - **What to ask:** "What would you need to know to find a takeover?" and "Which kind of fraud would
#   you commit, now that you know the model?"
# - **What to skip:** the hand-made training steps with a group that knows PyTorch; the lines of PCA and
#   HBOS in section 1.9, but not its table.
#
# </details>
