# %% [markdown]
# # 02 · Why federate
# *What does a bank gain from a model that others helped to train, and when does it gain nothing?*
#
# {{badges}}
#
# You will
#
# - **list** what leaves a client in federated learning and what does not;
# - **standardise** features across banks without seeing a row, and **show** what that leaks;
# - **train** three ways: each bank alone, all rows in one place, and federated;
# - **write** a first federated average, and **see** when it fails;
# - **set** one threshold for all banks, an unseen one included, from histograms;
# - **say** with numbers where federation does not pay.
#
# You need: chapter 01 (autoencoder, average precision, the floor, a threshold without labels).
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 2.1 Clients and a federation
#
# A **client** is whoever holds data: here a bank. A **federation** is a group of clients with the
# same features. Nine banks have joined ours. Bank 10 has not: it stays **unseen**, takes no part in
# any training, and will tell us what the model is worth to a newcomer.

# %%
import numpy as np
import pandas as pd
import torch

import fedlab_utils as fl
from fedlab_utils import detect
from fedlab_utils.course import check, figures, figures_federation, hint, save_results, show
from fedlab_utils.course import show_error

# %%
torch.set_num_threads(1)  # matrices this small are computed before a second thread has woken up
options = {"clients": 10, "shift": 0.6, "seed": 0, "unseen": True}
federation = fl.load("payments", **options)
federation.describe().round(4)

# %% [markdown]
# The banks differ in size, and they differ in kind. To see that, we sort all payments into six groups
# of similar ones. The larger a disc, the more payments of that group a bank has. (Only we can draw
# this: we made the data and see all of it.)

# %%
from sklearn.cluster import KMeans

some = federation.pooled().x_train[::10]
kmeans = KMeans(6, n_init=1, random_state=0).fit(some)
groups = [np.bincount(kmeans.predict(c.x_train), minlength=6) for c in federation]
show(figures.partition(groups, federation.names, [f"group {i}" for i in range(1, 7)]))

# %% [markdown]
# The rule of the federation is **data locality**: rows stay where they are, and computation travels.
#
# | | stays at the bank | leaves the bank |
# | --- | --- | --- |
# | payments | every row, every label | nothing |
# | standardisation | | number of rows, sums, sums of squares |
# | training | | the model's weights, once a round |
# | threshold | the score of every row | counts of scores in fixed bins |
#
# The right column is computed *from* the data, so it tells something about it. Locality is not
# privacy. Twice in this chapter we will look at what such a number gives away.
#
# **Exercise 02.1** (easy) Which of these leave a bank in this chapter? **A** a payment, **B** the
# weights of the model after local training, **C** the label of a test payment, **D** the number of
# training rows, **E** the score of a payment, **F** how many scores lie in a bin, **G** the sum of the
# squares of a feature. Answer with a set of letters, such as `{"A", "C"}`.

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: leaves = ...  # a set of letters
leaves = {"B", "D", "F", "G"}
# END SOLUTION
check("02.1", leaves)

# %% [markdown]
# ## 2.2 One scale for all, and no row leaves
#
# Features must be standardised: mean 0, variance 1. With all rows in one place that is one line. Here
# nobody has all rows. But a mean is a sum, a variance is made of two sums, and sums of banks can be
# added up. With $n$ rows, $s = \sum x$ and $q = \sum x^2$:
#
# $$ \mu = \frac{s}{n}, \qquad \sigma = \sqrt{\frac{q}{n} - \mu^2} $$

# %%
raw = fl.load("payments", scaler=None, **options)


def message(x):
    """What a bank tells about its rows x [n, d]: a count, sums, sums of squares."""
    x = x.astype(np.float64)
    return len(x), x.sum(axis=0), np.square(x).sum(axis=0)


# %% [markdown]
# The server adds the messages. Its function has a hole:

# %%
less = "???"


def scaler_from(messages):
    """Mean [d] and deviation [d] of all banks' rows."""
    n, s, q = (sum(part) for part in zip(*messages, strict=True))
    mean = s / n
    return mean, np.sqrt(q / n - less(mean))


with show_error(TypeError):
    scaler_from([message(bank.x_train) for bank in raw])

# %% [markdown]
# The formula says what to subtract: the square of the mean.

# %%
less = np.square
mean, deviation = scaler_from([message(bank.x_train) for bank in raw])
everything = raw.pooled().x_train.astype(np.float64)
print("as with all rows in one place:", np.allclose(deviation, everything.std(axis=0)))

# %% [markdown]
# The package does the same, and `fl.load` did it before you got the federation:

# %%
from fedlab_utils.data.standardise import Moments, federated_scaler

scaler = federated_scaler(bank.x_train for bank in raw)
print("mean:     ", np.allclose(scaler.mean, mean))
print("deviation:", np.allclose(scaler.std, deviation))
ours = (raw["bank 1"].x_train - mean) / deviation
print("bank 1:   ", np.allclose(ours, federation["bank 1"].x_train, atol=1e-4))

# %% [markdown]
# **What do these sums give away?** Of thousands of rows, little. Of one row, everything: its sum *is*
# the row.

# %%
one_row = Moments.of(raw["bank 1"].x_train[:1])
print("the message is the row:", np.array_equal(one_row.total, raw["bank 1"].x_train[0]))

# %% [markdown]
# So a client with very few rows should not send its moments. And a large one is not safe either, if
# it sends them twice: exercise 02.3. Chapter 07 adds the sums without showing them to the server.

# %% [markdown]
# ## 2.3 Each bank alone
#
# The simplest answer to "you may not share" is not to share. Here is a bank that trains for itself:
# gradient descent in small batches, on its own rows.

# %%
from torch.nn.functional import mse_loss

start = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=0)


def train_alone(model, x, epochs, lr=0.3, momentum=0.9, batch_size=64):
    """A copy of the model, trained on one bank's rows x [n, d]."""
    own, x = fl.unflatten(fl.flatten(model), model), torch.from_numpy(x)
    optimiser = torch.optim.SGD(own.parameters(), lr=lr, momentum=momentum)
    shuffle = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(x), generator=shuffle).split(batch_size or len(x)):
            optimiser.zero_grad()
            mse_loss(own(x[batch]), x[batch]).backward()
            optimiser.step()
    return own


# %%
mine = train_alone(start, federation["bank 1"].x_train, epochs=5)
for name in ("bank 1", "bank 2", "bank 3"):
    error = fl.reconstruction_error(mine, federation[name].x_calibration).mean()
    print(f"bank 1's model on held-back rows of {name}: error {error:.3f}")

# %% [markdown]
# `fl.fit_local` does this for all banks at once. It shuffles in another order, so we compare
# with full batches, where the order does not matter:

# %%
full = fl.SGD(lr=0.3, momentum=0.9, batch_size=None)
theirs = fl.fit_local(start, federation, rounds=3, local=full)["bank 1"]
mine = train_alone(start, federation["bank 1"].x_train, epochs=3, batch_size=None)
print("the same weights:", np.allclose(fl.flatten(mine), fl.flatten(theirs), atol=1e-5))

# %% [markdown]
# Now the real thing. **The budget: 30 passes over the rows**, for every way to train. For a federation
# that will be 30 rounds of one local epoch.

# %%
budget = 30
sgd = fl.SGD(lr=0.3, momentum=0.9, batch_size=64)
alone = fl.fit_local(start, federation, rounds=budget, local=sgd)
len(alone), "models"

# %% [markdown]
# How well does a bank's model **generalise**, to payments that are not its own? Each model scores the
# test payments of each bank, the unseen one included.


# %%
def ap(model, client):
    return detect.average_precision(client.y_test, fl.reconstruction_error(model, client.x_test))


tested = federation.everyone
cross = np.array([[ap(alone[name], client) for client in tested] for name in federation.names])
show(
    figures.heat_map(
        cross, federation.names, [c.name for c in tested],
        xlabel="Test payments of", ylabel="Model of", label="Average precision",
    )
)  # fmt: skip

# %% [markdown]
# Compare within a column, since some banks' frauds are harder than others'. If a bank's own model is
# the best for it, the largest number of a column stands on the diagonal. The advantage of home is
# the diagonal less the mean of the other models in that column:

# %%
members = cross[:, :9]
others = (members.sum(axis=0) - np.diag(members)) / 8
advantage = pd.Series(np.diag(members) - others, federation.names)
best = members.argmax(axis=0)
print("own model is the best:", int((best == np.arange(9)).sum()), "of 9 banks")
print("the best model for each bank is that of:", *(best + 1))
print(f"advantage of home: mean {advantage.mean():.3f}, lowest {advantage.min():.3f}")
print(f"bank 10 with somebody else's model: AP {cross[:, 9].min():.3f} to {cross[:, 9].max():.3f}")

# %% [markdown]
# At home a model does better than the average stranger's does. But for most banks somebody else's
# model is better still than their own (the best of nine is partly luck). So even without any
# averaging there is something to be had from the others. And for bank 10 it is a lottery whose
# model it gets.
#
# ## 2.4 Everything in one place
#
# The other extreme is what the banks may not do: one bank that holds all rows. It is the yardstick.

# %%
central_sgd = fl.SGD(lr=0.3, momentum=0.9, batch_size=128)
central = fl.fit(
    start, federation.pooled_federation(), rounds=budget, local=central_sgd, progress=False
).model
print(f"central model on bank 10: AP {ap(central, federation.unseen):.3f}")

# %% [markdown]
# Is that fair? The passes are the same. The rate was chosen for each way by the same rule, which
# needs no labels: of 0.2, 0.3 and 0.4, the one that reconstructs held-back rows best in the mean of
# three seeds. It is 0.3 for all. With equal batches a pass over everybody's rows would have about
# nine times as many steps as a pass of one bank. So the central model gets larger batches, and still
# takes more steps in a row than anybody else.

# %% [markdown]
# ## 2.5 A first naive average
#
# Now the idea of federated learning, in its most naive form: let each bank train alone, and average
# the nine models, weight by weight.


# %%
def average(models):
    """One model whose weights are the mean of the models' weights."""
    return fl.unflatten(torch.stack([fl.flatten(m) for m in models]).mean(dim=0), start)


held_back = federation.pooled().x_calibration


def loss(model):
    return fl.reconstruction_error(model, held_back).mean()


# %%
passes = 10
ten = fl.fit_local(start, federation, rounds=passes, local=sgd)
after_all = list(ten.values())
print(f"untrained:                {loss(start):.3f}")
print(f"nine local models (mean): {np.mean([loss(model) for model in after_all]):.3f}")
print(f"their average:            {loss(average(after_all)):.3f}")

# %% [markdown]
# Ten passes, averaged once: better than nothing, but worse than the models that went into it. The
# banks have gone too far apart. It gets worse if they do not even begin at the same place. Two
# banks are enough to see it:

# %%
pair = [federation["bank 3"].x_train, federation["bank 8"].x_train]
strangers = [
    train_alone(fl.dense_autoencoder(23, 46, 8, seed=1 + k), x, passes) for k, x in enumerate(pair)
]
twins = [train_alone(start, x, passes) for x in pair]
for name, two in {"different starts": strangers, "the same start": twins}.items():
    print(f"{name}: {loss(two[0]):.3f} and {loss(two[1]):.3f}, average {loss(average(two)):.3f}")

# %% [markdown]
# With different starts the average is nearly as bad as an untrained model, although both models
# are good. The hidden units of a network have no fixed order: unit 5 of one bank may do the job
# of unit 12 of another, and the mean of two different jobs is no job. So: **start together**, and
# **meet often**.
# The same ten passes, but now with an average after each of them:


# %%
def one_pass(model, **options):
    """Each bank trains a copy of the model on its own rows, once."""
    return [train_alone(model, bank.x_train, epochs=1, **options) for bank in federation]


# %%
meeting, losses = start, []
for _ in range(passes):
    meeting = average(one_pass(meeting))
    losses.append(loss(meeting))

lines = {
    "average after each pass": losses,
    "average once, at the end": [loss(average(after_all))] * passes,
    "nine local models, mean": [np.mean([loss(m) for m in after_all])] * passes,
}
show(figures.curves(lines, xlabel="Passes over the rows", ylabel="Held-back loss"))

# %% [markdown]
# Same start, same work, same rows: only the number of meetings differs. This is **federated
# averaging**; a pass and a meeting make a **round**. No row left a bank. `fl.fit` is the
# package's version, which chapter 03 builds. Once more with full batches:

# %%
model = start
for _ in range(3):
    model = average(one_pass(model, batch_size=None))
equal_votes = fl.Mean(weighted=False)
run = fl.fit(start, federation, rounds=3, local=full, aggregator=equal_votes, progress=False)
print("the same weights:", np.allclose(fl.flatten(run.model), fl.flatten(model), atol=1e-5))

# %% [markdown]
# From here on we weight each bank by its rows, the default of `fl.fit` (chapter 03 says why).

# %% [markdown]
# ## 2.6 Does it pay?
#
# Three ways, the same budget, and the floors of chapter 01 beside them. One seed proves nothing:
# three seeds, each with new banks, new payments and new start weights.


# %%
def compare(data, seed, rounds, sgd, central_sgd=None, **shape):
    """Train local, federated and central with the same number of passes over the rows."""
    begin = fl.dense_autoencoder(data.n_features, seed=seed, **shape)
    same = {"rounds": rounds, "seed": seed}
    models = {
        "local": fl.fit_local(begin, data, local=sgd, **same),
        "federated": fl.fit(begin, data, local=sgd, progress=False, **same).model,
    }
    if central_sgd is not None:
        whole = data.pooled_federation()
        models["central"] = fl.fit(begin, whole, local=central_sgd, progress=False, **same).model
    return models


# %%
wide = {"hidden": 46, "code": 8}
banks = [fl.load("payments", **options | {"seed": seed}) for seed in range(3)]
first = fl.fit(start, federation, rounds=budget, local=sgd, progress=False).model
models = [{"local": alone, "federated": first, "central": central}]  # seed 0, trained above
models += [compare(banks[seed], seed, budget, sgd, central_sgd, **wide) for seed in (1, 2)]
reports = [fl.evaluate(models[s], data, seed=s) for s, data in enumerate(banks)]
table = detect.format_summary(fl.summarise(reports))
save_results("02", "Payments: local, federated, central", table, headline=True)
table

# %% [markdown]
# "Unseen" is bank 10. A newcomer has no model of its own, so its local number is the mean over the
# models of the nine others. For local models the pooled column mixes scores of nine different
# models in one list; better compare the mean and the worst client.


# %%
def per_seed(column):
    """The three seeds' values of a column for each way of training."""
    return {w: [r.table().loc[w, column] for r in reports] for w in models[0]}


summaries = {"mean bank": "AP mean client", "worst bank": "AP worst client"}
summaries["unseen bank"] = "AP unseen"
by_seed = {w: {k: per_seed(c)[w] for k, c in summaries.items()} for w in models[0]}
order = [federation.names[i] for i in np.argsort(federation.sizes)]
found = reports[0].by_client()["AP"]
by_client = {
    w: {name: found[w, name] for name in order} | {"bank 10\n(unseen)": found[w, "bank 10"]}
    for w in models[0]
}
floor = np.mean([r.table().loc["untrained autoencoder", "AP mean client"] for r in reports])
show(
    figures_federation.ways_compared(by_client, by_seed, floor=("untrained autoencoder", floor)),
    name="02_local_federated_central",
)

# %%
for title, column in summaries.items():
    value = {w: np.array(v) for w, v in per_seed(column).items()}
    gain = value["federated"] - value["local"]
    lack = value["central"] - value["federated"]
    print(f"{title:12} federated less local  {gain.round(3)}, mean {gain.mean():+.3f}")
    print(f"{'':12} central less federated {lack.round(3)}, mean {lack.mean():+.3f}")

# %% [markdown]
# First the floor: whichever way you train, learning multiplies the AP of an untrained model. Then
# the differences. For the mean bank and for the unseen bank, federated is above local in all
# three seeds; for the worst bank in two, and in the third they are about equal. Central is a
# little ahead of federated, by less than federated is ahead of local.
#
# And in AUC? For the mean client all three ways are the same. AUC looks at the whole list, AP at
# its top, where the alarms are. So "federation pays" means here: the *top of the list* gets
# better.
#
# Look at the left half of the figure, too: one seed, each bank. Most banks gain, and some lose. A
# bank that loses would be right to ask why it should take part.
#
# Do small banks gain more? Here are all 27 banks of the three seeds, in three groups by their rows.

# %%
rows = []
for data, report in zip(banks, reports, strict=True):
    found = report.by_client()["AP"]
    for c in data:
        gain = found["federated", c.name] - found["local", c.name]
        rows.append({"training rows": len(c.x_train), "gain": gain, "wins": gain > 0})
sizes = pd.DataFrame(rows).sort_values("training rows").reset_index(drop=True)
sizes.groupby(np.repeat(["smallest 9", "middle 9", "largest 9"], 9), sort=False).agg(
    {"training rows": ["min", "max"], "gain": ["mean", "sem"], "wins": "sum"}
).round(3)

# %% [markdown]
# The smallest banks have the largest mean gain, and nearly all of them win. But the largest banks
# win, too, and compare the differences between the groups with the standard errors (`sem`): the
# order of the groups is not certain. A small bank has only a few test frauds, so its own AP is
# mostly luck. What can be said: the gain is not a privilege of the small.

# %% [markdown]
# ## 2.7 An alarm at a bank that nobody has seen
#
# AP ranks payments. An alarm needs a threshold, and a threshold needs scores of normal payments. Bank
# 10 has just opened: it has a model from the federation, but no history to set a threshold by. Can
# the others lend it one? They must not send scores. They can **count**: all agree on bins before
# anybody looks, and each bank tells how many of its calibration scores fall into each.

# %%
federated = models[0]["federated"]
edges = np.geomspace(1e-4, 1e3, 351)  # 50 bins for each factor of ten
bins = np.concatenate([[-np.inf], edges, [np.inf]])  # and one at each end, so that none is lost
counts = np.array(
    [np.histogram(fl.reconstruction_error(federated, c.x_calibration), bins)[0] for c in federation]
)
print("nine messages of", counts.shape[1], "numbers; calibration rows:", counts.sum(axis=1))

# %% [markdown]
# The sum of the nine histograms is the histogram of all scores. As in chapter 01 we look for the
# $\lceil (n+1)(1-a) \rceil$-th smallest score. We do not know it, but we know its bin: the first at
# which the running count reaches that rank. Its upper edge is the threshold.

# %%
alarm_rate = 0.01
total = counts.sum(axis=0)
rank = int(np.ceil((total.sum() + 1) * (1 - alarm_rate)))
place = int(np.argmax(np.cumsum(total) >= rank))
threshold = bins[place + 1]

# %%
histograms = [
    detect.ScoreHistogram.of(fl.reconstruction_error(federated, c.x_calibration), edges)
    for c in federation
]
theirs = fl.federated_threshold(histograms, alarm_rate)
exact = fl.local_threshold(fl.reconstruction_error(federated, held_back), alarm_rate)
print(f"by hand {threshold:.5f}, package {theirs:.5f}: {np.isclose(threshold, theirs)}")
print(f"with all scores in one place {exact:.5f}: the bins cost {threshold / exact - 1:.1%}")

# %% [markdown]
# It is never below the exact one, and above it by less than one bin. What does it do at each bank, and
# at bank 10? Beside it stands each bank's own threshold, set on its own calibration rows.

# %%
detect.threshold_report(federated, federation, alarm_rate, edges).round(3)

# %% [markdown]
# The rates are near the one that was asked for, with either threshold. Not exactly: each bank has
# only some hundred calibration rows, and the test payments come later in time. The promise of the
# federated threshold is for all banks together; a single bank may lie above or below. What it
# brings is the last row: bank 10 gives alarms from its first day, at about the rate it asked for,
# without a label and without history. (A member with fewer than 99 calibration rows could not set
# a threshold for 1% by itself, either.)
#
# What would bank 10 do without a federation? It could borrow model *and* threshold from one bank.

# %%
rows = []
for s, data in enumerate(banks):
    new, lone = data.unseen, models[s]["local"]
    for name, model in {**lone, "federation": models[s]["federated"]}.items():
        if name == "federation":
            limit = detect.threshold_report(model, data, alarm_rate)["federated threshold"].iloc[0]
        else:
            held = fl.reconstruction_error(model, data[name].x_calibration)
            limit = fl.local_threshold(held, alarm_rate)
        alarm = fl.reconstruction_error(model, new.x_test) > limit
        kind = "federation" if name == "federation" else "one bank"
        rates = {"alarm rate": alarm[~new.y_test].mean(), "recall": alarm[new.y_test].mean()}
        rows.append({"seed": s, "borrowed from": kind, **rates})
lent = pd.DataFrame(rows).groupby(["seed", "borrowed from"])
lent.agg({"alarm rate": ["min", "mean", "max"], "recall": "mean"}).round(3)

# %% [markdown]
# With model and threshold of a single bank, the rate at bank 10 depends on which bank it was. On
# average it is above the rate asked for in each seed, and in the worst case more than twice as
# high. The recall is a little higher too, which is what more alarms buy. The federation's alarm
# rate stays below the 1% in all three.
#
# A histogram is not nothing either: of a bank with one calibration row, it shows that row's score up
# to the width of a bin. But only the *sum* is needed, and chapter 07 computes a sum that hides its
# parts.

# %% [markdown]
# ## 2.8 Whose scaler?
#
# A bank could also standardise by its *own* moments, and send nothing at all for that. It is a single
# word, `scaler="own"`. Same model, same training:

# %%
own_reports = []
for seed in range(3):
    data = fl.load("payments", scaler="own", **options | {"seed": seed})
    begin = fl.dense_autoencoder(data.n_features, seed=seed, **wide)
    run = fl.fit(begin, data, rounds=budget, local=sgd, seed=seed, progress=False)
    floors = {"untrained autoencoder": begin, "row norm": detect.RowNorm()}
    ways = {"federated": run.model, **floors}
    own_reports.append(fl.evaluate(ways, data, baselines=False, seed=seed))

# %%
both = {"federated scaler": fl.summarise(reports), "own scaler": fl.summarise(own_reports)}
kept = own_reports[0].table().index
scalers = pd.concat({k: detect.format_summary(v).loc[kept] for k, v in both.items()})
scalers[["AP pooled", "AP mean client", "AP worst client", "AP unseen", "AUC pooled", "prevalence"]]

# %% [markdown]
# The floors hardly differ, so neither scaler makes the task as such easier. But the federated
# model is worse with own scalers: clearly for the worst bank, which has now no more than its
# local model gave it in section 2.6, and a little in the pooled list. With own scalers the same
# payment has other numbers at another bank, and one model has to serve them all. So the choice of
# the scaler costs the worst bank as much as the whole federation has won for it. Own scalers have
# their place where clients measure the same thing in different units: chapter 09.

# %% [markdown]
# ## 2.9 Where federation does not pay
#
# Would you expect it to pay always? We looked for cases where it does not, and here are two. They
# are not typical; they show that there are such cases.
#
# - **Enough data of your own.** Two large banks (three times as many customers) that are alike
#   (`shift=0`). Each bank's data already show what there is to learn.
# - **Partners too different.** Four banks that differ as much as they can (`shift=1`). What suits the
#   others may not suit you.
#
# The last bank is unseen again. To save time, all take half the passes.


# %%
def two_ways(rounds, **dials):
    """Local and federated, and the row norm as the floor; three seeds."""
    found = []
    for seed in range(3):
        data = fl.load("payments", seed=seed, unseen=True, **dials)
        ways = compare(data, seed, rounds, sgd, **wide)
        ways["row norm"] = detect.RowNorm.fit(data.pooled().x_train)
        found.append(fl.evaluate(ways, data, baselines=False, seed=seed))
    return found


# %%
cases = {
    "enough data": two_ways(15, clients=3, customers=300, shift=0),
    "too different": two_ways(15, clients=5, shift=1),
}
loses = pd.concat({k: detect.format_summary(fl.summarise(v)) for k, v in cases.items()})
save_results("02", "Where federation does not pay", loses.reset_index(names=["case", "detector"]))
loses[["AP mean client", "AP worst client", "AP unseen", "AUC mean client", "prevalence"]]

# %%
for case, found in cases.items():
    for title, column in summaries.items():
        gain = [r.table()[column]["federated"] - r.table()[column]["local"] for r in found]
        print(f"{case:13}, {title:11}: federated less local {np.round(gain, 3)}")

# %% [markdown]
# **Enough data:** in no seed does the federation help the mean or the worst bank, and for the
# newcomer the sign changes from seed to seed. Banks with enough data of one kind have little to tell
# each other. If anything, averaging two models costs a little.
#
# **Too different:** the members lose, in the mean and at the worst bank, in all three seeds, and the
# mean client loses in AUC as well. The common model is a compromise. Only the newcomer, who resembles
# nobody, gains in two of three seeds.
#
# So before you federate, ask: how much data do the members have, how much do they differ, and who
# is to use the model? And compare with training alone, for each member, at the same budget.
# Chapter 09 shows what can be done when the members differ.

# %% [markdown]
# ## 2.10 And on real data
#
# **Four hospitals.** The heart disease data come from Cleveland, Hungary, Switzerland and Long Beach.
# Real owners, and very unequal ones. We train on the healthy and look for the ill. Mind the last
# column: disease is *not rare* here, as these patients were sent to a specialist. A detector that
# guesses has a high AP, so AUC is the better guide.

# %%
fl.load("heart", seed=0).describe().round(3)

# %%
gentle = fl.SGD(lr=0.02, momentum=0.9, batch_size=16)
found = []
for seed in range(5):
    hospitals = fl.load("heart", seed=seed)
    trained = compare(hospitals, seed, 30, gentle, gentle)
    found.append(fl.evaluate(trained, hospitals, seed=seed))
heart = detect.format_summary(fl.summarise(found))
save_results("02", "Heart disease in four hospitals, five seeds", heart)
heart

# %% [markdown]
# In AUC, and alone, the worst hospital is no better than guessing, and its spread is wide: it
# depends on the luck of the split. Federated is better in the mean, and most of all for the
# worst. By hospital:

# %%
areas = pd.concat([r.by_client()["AUC"].unstack("client") for r in found])
areas.groupby("detector", sort=False).mean().round(3)

# %% [markdown]
# Switzerland and Long Beach have very few patients to train on (see the first table). Alone, both
# are close to guessing, .5; with the federation they are not. Cleveland and Hungary, which have
# more, gain little.
#
# Now read the floors. **The row norm, and even an untrained autoencoder, beat all three trained
# models** in the mean and at the worst hospital, and central is the lowest of the three in the
# pooled list. So few healthy patients do not teach this autoencoder much, and the ill are simply
# further from the mean. The best *federated* detector here is the row norm: its mean and
# deviation come from the sums of section 2.2, and nothing else has to leave a hospital.
# Federation pays here against training alone. Against the floor, the training itself does not
# pay.

# %% [markdown]
# **Handwritten digits.** Ten clients share about a thousand images; the digit 4 is the anomaly. The
# images are sorted into clusters, and a Dirichlet draw with a small parameter deals each cluster out
# unequally, so that a client sees few kinds of digits.
#
# Does a client meet only what it has been trained on? We test twice: on the client's own test images,
# and on **everyone's**. For the second, the pooled images take the place of the unseen client.

# %%
from dataclasses import replace

few_modes = fl.Dirichlet(10, alpha=0.3)
small = fl.SGD(lr=0.2, epochs=2, momentum=0.9, batch_size=16)
found = []
for seed in range(3):
    digits = fl.load("digits", anomaly=4, partition=few_modes, seed=seed)
    trained = compare(digits, seed, 40, small, small, hidden=32, code=8)
    digits = replace(digits, unseen=digits.pooled())
    found.append(fl.evaluate(trained, digits, seed=seed))
summary = detect.format_summary(fl.summarise(found))
summary = summary.rename(columns=lambda name: name.replace("unseen", "everyone's images"))
save_results("02", "Digits, Dirichlet clients, three seeds", summary)
summary

# %% [markdown]
# On its own images, the mean client's local model is about as good as the federated one, within
# the spread: it is tested on the few kinds of digits that it has seen. On everyone's images it
# falls to the level of the *untrained* model, since a digit that it never saw is as strange to it
# as a 4. The federated model keeps its level, and is better than the isolation forest, for which
# all images had to come to one place. In AUC the worst client gains, too. So the answer to "does
# it pay?" depends on the question: on your own data perhaps not, and for what may come tomorrow
# it does.

# %% [markdown]
# ## What we have built
#
# - A federation with a newcomer, and a list of what leaves each bank.
# - A scaler from counts and sums, and a threshold from counts in bins: both agree with what one
#   would compute with all rows in one place.
# - Local training, a naive average, and why it needs a common start and many meetings.
# - A fair comparison: same passes over the rows, floors beside it, mean, worst and unseen client.
# - Cases in which federation does not pay.

# %% [markdown]
# ## Check yourself
#
# **A colleague averages the weights of two good models that were trained from different starts. The
# average is useless. Why?**
#
# <details><summary>Answer</summary>
# The hidden units of a network have no fixed order, so the same position does different jobs in the
# two models. Models that are to be averaged need a common start, and must not go far apart.
# </details>
#
# **Which numbers leave a bank for standardisation, and when are they too much?**
#
# <details><summary>Answer</summary>
# The number of rows, and for each feature its sum and the sum of its squares. With one row they are
# the row. Two messages, before and after a customer joined, differ by that customer's rows.
# </details>
#
# **The mean over the banks went up. Is everybody better off?**
#
# <details><summary>Answer</summary>
# Not necessarily. Look at each bank, at least at the worst, and compare with what it had alone.
# </details>
#
# **Why do we test on a bank that took no part?**
#
# <details><summary>Answer</summary>
# A bank's own test rows resemble its training rows. Whether a model is worth something beyond
# the members shows only where nobody has trained.
# </details>

# %% [markdown]
# ## Exercises
#
# Exercise 02.1 is in section 2.1.
#
# **Exercise 02.2** (medium) Some banks send means and deviations instead of sums. Write
# `pooled_deviation`: from the counts [K], means [K, d] and (population) deviations [K, d] of K banks,
# compute the deviation [d] of all rows. It is not the mean of the deviations.


# %% tags=["exercise"]
def pooled_deviation(counts, means, deviations):
    """Return the deviation [d] of all rows."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    share = (np.asarray(counts) / np.sum(counts))[:, None]
    mean = (share * means).sum(axis=0)
    square = (share * (np.square(deviations) + np.square(means))).sum(axis=0)
    return np.sqrt(square - mean**2)
    # END SOLUTION


check("02.2", pooled_deviation)

# %% [markdown]
# **Exercise 02.3** (medium) You are a curious server. A bank sent `message(x)` of section 2.2 last
# week, and again today. In between it got exactly one new row. Write `recover_row`, which takes
# the two messages and returns that row [d].


# %% tags=["exercise"]
def recover_row(before, after):
    """Return the row [d] that was added; both messages are (count, sums, sums of squares)."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return after[1] - before[1]
    # END SOLUTION


check("02.3", recover_row)

# %%
hint("02.3")

# %% [markdown]
# **Exercise 02.4** (medium) A mean can hide losers. Write `who_loses`: it takes two dictionaries from
# client to AP, and returns the names of those whose own model is better, the largest loss first.


# %% tags=["exercise"]
def who_loses(local, federated):
    """Return the names of the clients that do better alone, the largest loss first."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    losers = [name for name in local if local[name] > federated[name]]
    return sorted(losers, key=lambda name: federated[name] - local[name])
    # END SOLUTION


check("02.4", who_loses)

# %% [markdown]
# **Exercise 02.5** (open) Is our comparison fair? A bank alone saves all the messages, and might spend
# the time on training longer. Give the local models two and four times the passes. Does federation
# still win for the mean bank, the worst bank, the unseen one? Write down a guess before you look.

# %% tags=["solution"]
longer = {}
for times in (1, 2, 4):
    found = []
    for seed, data in enumerate(banks):
        trained = fl.fit_local(
            fl.dense_autoencoder(23, seed=seed, **wide), data,
            rounds=times * budget, local=sgd, seed=seed,
        )  # fmt: skip
        found.append(fl.evaluate({"local": trained}, data, baselines=False, seed=seed))
    longer[f"{times * budget} passes"] = detect.format_summary(fl.summarise(found)).loc["local"]
pd.DataFrame(longer).T[list(summaries.values())]

# %% [markdown] tags=["solution"]
# More passes hardly change the local models: compare with the federated row of the table in
# section 2.6. What a bank lacks is not time but payments that it has never seen.

# %% [markdown]
# ## Further reading
#
# - B. McMahan and others, [Communication-Efficient Learning of Deep Networks from Decentralized
#   Data](https://arxiv.org/abs/1602.05629) (2017): figure 1 averages models with common and with
#   different starts.
# - P. Kairouz and others, [Advances and Open Problems in Federated
#   Learning](https://arxiv.org/abs/1912.04977) (2021): who takes part, and what for.
# - T. Yu, E. Bagdasaryan, V. Shmatikov, [Salvaging Federated Learning by Local
#   Adaptation](https://arxiv.org/abs/2002.04758) (2020): members for whom the federated model is
#   worse than their own.
# - T. Hsu, H. Qi, M. Brown, [Measuring the Effects of Non-Identical Data
#   Distribution](https://arxiv.org/abs/1909.06335) (2019): Dirichlet clients.
# - R. Detrano and others, [International application of a new probability algorithm for the diagnosis of
#   coronary artery disease](https://doi.org/10.1016/0002-9149%2889%2990524-9) (1989): the four hospitals.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** they take "the data stay local" for "the data are private". Exercise
#   02.3 cures that in five minutes. Some read the heat map by row; only a column is fair.
# - **What to ask:** "You are the largest bank. Why should you join?" and "What would bank 10 have to
#   pay for the model, and to whom?"
# - **What to skip:** section 2.8; of section 2.10, the digits.
#
# </details>
