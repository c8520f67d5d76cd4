# %% [markdown]
# # 15 · Everything at once
# *One federation, every technique: what does each give, what does it cost, and what goes together?*
#
# {{badges}}
#
# You will
#
# - **train** the same ten banks by every technique of the course, through the same `fl.fit`;
# - **compose** a stack by hand, from clipping to masks, and **find** that the package's does the same;
# - **attack** each of them in three ways: at the server, through the result, and from inside;
# - **put** everything into one table and one picture, made by code;
# - **say** which techniques compose, and which do not, and **see** the package refuse the latter;
# - **design** a consortium of your own, and **mark** it with a rubric.
#
# You need: chapters 01 to 03, and those of 06 to 13 whose technique you want to understand. Each
# technique is named with its chapter; nothing is explained twice.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"] extras="privacy"
# The build writes this cell.

# %% [markdown]
# ## 15.1 One federation
#
# Ten banks that differ, and an eleventh that takes no part and wants to use the result. Five rounds with
# four local epochs each (chapter 12: talking less costs little here). Three seeds throughout: they
# change the banks, the first weights and the order of the rows.

# %%
from functools import cache

import numpy as np
import pandas as pd
import torch
from tqdm.auto import tqdm

import fedlab_utils as fl
from fedlab_utils import attacks, detect
from fedlab_utils.course import (
    check,
    figures_capstone,
    hint,
    save_results,
    show,
    show_error,
)

# %%
torch.set_num_threads(1)
seeds, rounds = range(3), 5
sgd = fl.SGD(lr=0.3, epochs=4, batch_size=64, momentum=0.9)


# %%
@cache
def banks(seed):
    """The federation and the untrained model of a seed."""
    data = fl.load("payments", clients=11, customers=60, shift=0.6, unseen=True, seed=seed)
    return data, fl.dense_autoencoder(data.n_features, hidden=46, code=8, seed=seed)


# %%
def train(seed, data=None, local=sgd, aggregator=None, rounds=rounds):
    """What every technique of this chapter goes through."""
    federation, start = banks(seed)
    options = {"rounds": rounds, "local": local, "aggregator": aggregator, "seed": seed}
    return fl.fit(start, data or federation, progress=False, **options)


# %%
federation, start = banks(0)
weights = fl.flatten(start)
P, K = len(weights), len(federation)
print(f"P = {P} parameters, {sum(federation.sizes):,} training rows")
federation

# %% [markdown]
# ## 15.2 First epsilon, then the noise
#
# Two of the techniques promise something about what the model tells, so they begin with a number that
# the banks choose. How strong is the noise? Here is the question with a hole:

# %%
from fedlab_utils.privacy import dp

epsilon, rate, steps = "???", 0.1, 60
with show_error(TypeError):
    dp.noise_for_epsilon(epsilon, 1e-5, rate, rounds * steps)

# %% [markdown]
# Nobody can fill it in by looking at an AP. It is a decision about *whom* you protect. For a single
# payment, at its bank, over all five rounds, we take 8 (weak; chapter 06 says what that means):

# %%
from fedlab_utils.federate.dpsgd import DPSGD

epsilon = 8.0
z = dp.noise_for_epsilon(epsilon, 1e-5, rate, rounds * steps)
private = DPSGD(0.5, clip=0.5, noise_multiplier=z, sample_rate=rate, steps=steps, momentum=0.9)
print(private.statement(federation.sizes, rounds, 1e-5))

# %% [markdown]
# The second protects a *bank* as a whole (DP-FedAvg): clip each update, and add noise to the mean. Does it
# make sense with ten banks? One bank more or less may change the sum by the clip norm, so the noise has
# that size, however many banks there are. Compare it with what is to be learned:

# %%
from fedlab_utils.federate import RowStore, train_stacked

store = RowStore([client.x_train for client in federation], start)
updates, _ = train_stacked(start, weights, store, np.arange(K), sgd, 0, 0)
# %%
z_bank = dp.noise_for_epsilon(epsilon, 0.01, 1.0, rounds)
noise = z_bank * 5.0 * np.sqrt(P) / K
print(f"updates have norms of {updates.norm(dim=1).min():.1f} to {updates.norm(dim=1).max():.1f}")
print(f"noise of one round, clip 5: {noise:.0f}; the mean update: {updates.mean(dim=0).norm():.1f}")
print(
    f"banks until the noise is a tenth of it: {K * noise / (updates.mean(dim=0).norm() / 10):,.0f}"
)

# %% [markdown]
# The noise drowns the update. With hundreds of members it does not (chapter 06 had 500 branches). And
# delta must be far below one in the number of members; with ten it would have to be below 0.1, and we
# took 0.01. So **with ten banks there is no client-level privacy worth having**. We let it run anyway,
# so that it stands in the table.

# %% [markdown]
# ## 15.3 Every technique, the same `fit`
#
# What differs between them is what a bank does (`local`) and how updates are combined (`aggregator`).
# Robust rules are made for two liars.

# %%
from fedlab_utils.federate import (
    CoordinateMedian,
    Ditto,
    FedProx,
    MultiKrum,
    NormBound,
    Scaffold,
    compress,
)
from fedlab_utils.privacy.secure import SecureMean

# %%
three_bits = compress.Rotated(compress.LloydMax(3))
plans = {
    "FedAvg (03)": {},
    "FedProx (09)": {"local": FedProx(0.3, 4, 64, 0.9, mu=0.001)},
    "Scaffold (09)": {"local": Scaffold(sgd)},
    "Ditto, own models (09)": {"local": Ditto(sgd, mu=0.01)},
    "DP-SGD (06)": {"local": private},
    "DP-FedAvg (06)": {"aggregator": dp.DPMean(clip=5.0, noise_multiplier=z_bank, delta=0.01)},
    "masks (07)": {"aggregator": SecureMean()},
    "3 bits (12)": {"aggregator": compress.Broadcast(three_bits, compress.Compressed(three_bits))},
    "median (13)": {"aggregator": CoordinateMedian()},
    "multi-Krum (13)": {"aggregator": MultiKrum(2)},
}

# %% [markdown]
# Two are missing: encryption, and the last one, which composes several. We build that one first.

# %% [markdown]
# ## 15.4 A stack by hand
#
# Suppose the banks want all of this: the server sees no single update; few bytes; no update counts for
# more than a bound; a guarantee for single payments. In which order? A bank's message goes through these
# steps:
#
# **noise → shorten → rotate → round → mask**, then the server adds, and everybody decodes.
#
# The noise is in the training (DP-SGD): whatever is done to a noisy update afterwards, the guarantee
# stays. The server adds what it cannot read, so all the rest must be *addable*: integers of one range
# that all banks share. Let us walk, with plain updates first, so that we can see what is lost. Step one,
# shorten:


# %%
def shorten(updates, bound):
    """Rows longer than the bound get its length."""
    return updates * (bound / updates.norm(dim=1, keepdim=True)).clamp_max(1.0)


short = shorten(updates, 5.0)
print("norms:", short.norm(dim=1).numpy().round(2))

# %% [markdown]
# Step two, rotate: afterwards all numbers have about the same size, so one range fits all. Step three,
# round to one of 256 levels of that range, at random such that the mean is right:

# %%
turn = compress.Rotated(compress.Float32())
seed_of_round = np.full(K, 7, dtype=np.uint64)  # common to all banks, or they could not be added
turned = turn.turn(short.numpy(), seed_of_round)
limit = 1.0
print(f"largest number before {short.abs().max():.2f}, after {np.abs(turned).max():.2f}")

# %%
rng = np.random.default_rng(0)
exact = (turned / limit + 1) / 2 * 255
levels = np.floor(exact + rng.random(exact.shape)).astype(np.int64)
print(
    "levels of bank 1:", levels[0, :8], " how many bits for a sum of ten:", (10 * 255).bit_length()
)

# %% [markdown]
# Step four, masks. Each pair of banks agrees on random numbers; one adds them, the other subtracts them,
# modulo $2^{12}$. (With a common seed for all it would be theatre; chapter 07 has the real thing, with
# keys, shares and dropouts.)

# %%
masked = levels.copy()
for i in range(K):
    for j in range(i + 1, K):
        mask = rng.integers(2**12, size=levels.shape[1])
        masked[i] += mask
        masked[j] -= mask
masked %= 2**12
print("what the server gets of bank 1:", masked[0, :8])

# %%
total = masked.sum(axis=0) % 2**12
print("the sum is right:", np.array_equal(total, levels.sum(axis=0)))
mean = (total / K / 255 * 2 - 1) * limit
decoded = turn.turn_back(mean[None], P, seed_of_round[:1])[0]
print(f"error of the mean: {np.linalg.norm(decoded - short.mean(dim=0).numpy()):.3f}")

# %% [markdown]
# In the package every step is an object around another one. It packs two sums of 12 bits into one number
# of the ring, and runs the whole protocol:

# %%
from fedlab_utils.federate import RoundContext

shared = compress.SharedRange(limit=1.0, bits=8, inner=SecureMean(weighted=False, fraction_bits=0))
stack = NormBound(5.0, compress.CompressedSum(turn, shared))
context = RoundContext(0, 0, federation.names, K)
rows = torch.from_numpy(federation.sizes).float()
done = stack.aggregate_round(updates, rows, stack.start(P), context)

# %%
step = 2 * limit / 255 * np.sqrt(P)  # the rotation keeps lengths
for name, found in {"by hand": decoded, "package": done.update.numpy()}.items():
    error = np.linalg.norm(found - short.mean(dim=0).numpy())
    print(f"{name}: error {error:.3f}; one level in each number would be {step:.3f}")
print(f"bytes of a bank: {done.bytes_up / K:,.0f}, plain {4 * P:,}")
plans["stack"] = {"local": private, "aggregator": stack}

# %% [markdown]
# ## 15.5 Locks change nothing that is learned
#
# Paillier and CKKS (chapter 08) send more bytes in a round than any other update, and their result is
# FedAvg's. One round shows it and gives bytes and seconds; their AP in the table is that of FedAvg.

# %%
from fedlab_utils.privacy import he

keys, ckks = he.PaillierKeyHolder(), he.CKKSKeyHolder(he.SUM)
locks = {"Paillier (08)": he.PaillierMean(keys=keys), "CKKS (08)": he.CKKSMean(keys=ckks)}
# %%
plain = train(0, rounds=1)
locked = {name: train(0, rounds=1, aggregator=lock) for name, lock in locks.items()}
for name, run in locked.items():
    gap = (fl.flatten(run.model) - fl.flatten(plain.model)).abs().max()
    print(f"{name:14} largest difference from FedAvg {gap:.0e}")

# %% [markdown]
# Now everything else, in three seeds:

# %%
jobs = [(name, seed) for seed in seeds for name in plans]
runs = {(name, seed): train(seed, **plans[name]) for name, seed in tqdm(jobs, desc="trainings")}

# %% [markdown]
# Beside them: training alone, training with all rows in one place, and a detector that is no network, the
# common forest, for which only counts are added up (chapter 10):

# %%
count_sum = SecureMean(weighted=False, fraction_bits=0)


def others(seed):
    """Models that do not go through rounds."""
    data, start = banks(seed)
    return {
        "local (02)": fl.fit_local(start, data, rounds=rounds, local=sgd, seed=seed),
        "central (01)": train(seed, data.pooled_federation()).model,
        "forest of counts (10)": detect.grow_common(data, aggregator=count_sum, seed=seed),
    }


# %%
reports = []
for seed in tqdm(seeds, desc="tests"):
    models = {name: runs[name, seed].personal or runs[name, seed].model for name in plans}
    reports.append(fl.evaluate(models | others(seed), banks(seed)[0], seed=seed))
# %%
quality = fl.summarise(reports)
shown = detect.format_summary(quality)
save_results("15", "Every technique: detection on payments, three seeds", shown)
shown[["AP pooled", "AP mean client", "AP worst client", "AP unseen", "AUC pooled"]]

# %%
print(f"prevalence {reports[0].prevalence:.3f}: the AP of guessing")

# %% [markdown]
# What is in it? Chance is 0.015, and an untrained network has an AP of about 0.03.
#
# - **FedAvg, FedProx, Scaffold, Ditto, masks and 3 bits** lie within one spread of each other, over all
#   payments. The masks are equal to FedAvg in every digit shown; three bits lose less than the seeds differ.
# - **Local training** is as good as FedAvg over all payments. At the worst bank it is behind on average, and
#   for the newcomer clearly: that is what federation buys here.
# - **Central training** is ahead of everybody. It takes ten times as many steps in a row (chapter 09).
# - **Robust rules** cost something, on average, even where nobody lies: they leave honest banks out.
# - **DP-SGD** at epsilon 8 keeps less than a third of the AP, and is still above the floor. The noise for
#   whole banks is so large that the model is worse than an untrained one.
# - **The forest** is at the floor: it cannot see this kind of fraud (chapter 10), federated or not.
# - **The stack** has the AP of DP-SGD, less a little for rounding and for equal weights.

# %% [markdown]
# ## 15.6 Thresholds under the same masks
#
# A score alone raises no alarm. The banks need a threshold that keeps to an **alert budget**, and the
# stack must not fall apart for it: histograms of scores are counts, and counts go through the same sum.

# %%
budget = 0.01  # one alarm in a hundred normal payments
judge = detect.as_detector(runs["stack", 0].model)
parts = [detect.ScoreHistogram.of(judge.score(c.x_calibration)) for c in federation]
vectors = [part.to_vector() for part in parts]
# %%
total = detect.add_counts(vectors, federation.names, count_sum)
summed = detect.ScoreHistogram.from_vector(total, parts[0].edges)
threshold = detect.federated_threshold([summed], budget)

# %%
alarms = {
    c.name: np.mean(judge.score(c.x_test[~c.y_test]) > threshold) for c in federation.everyone
}
print("as without masks:", threshold == detect.federated_threshold(parts, budget))
pd.Series(alarms, name="alarms on normal payments").map("{:.1%}".format).to_frame().T

# %% [markdown]
# Over all banks together the rate is near the budget, for a single bank it need not be (chapter 02).

# %% [markdown]
# ## 15.7 Attack one: the server
#
# Whoever gets an update can compute the rows that made it, if they are few. The attack of chapters 06 to 08:
# each bank takes one step on one payment; we attack what the server gets from bank 3. Three
# payments, one after the other.

# %%
one_step = fl.SGD(lr=0.3, epochs=1, batch_size=None)
noisy_step = DPSGD(0.3, clip=0.5, noise_multiplier=z, sample_rate=1.0, steps=1)


# %%
def single(k, local):
    """Bank 3's payment k, and the updates [10, P] when each bank steps on its payment k."""
    parts = [client.x_train[k : k + 1] for client in federation]
    trained, _ = local.train(
        "stacked", start, weights, RowStore(parts, start), np.arange(K), k, 0
    )  # fmt: skip
    return parts[2], trained


# %%
from fedlab_utils.privacy.secure import FixedPoint, Identity, encode_weighted, invite, run_round


# %%
def masked_message(trained):
    """Bank 3's upload in a round of the secure sum."""
    heard, people = [], [Identity(name) for name in federation.names]
    vectors = [
        encode_weighted(u, 1.0, FixedPoint(32, 12), K, p.name)
        for u, p in zip(trained.numpy(), people, strict=True)
    ]
    run_round(people, invite(people, len(vectors[0]), round_=0), vectors, watch=heard.append)
    return heard[22]  # two batches of messages come before the uploads


def as_numbers(data):
    """P bytes of a message as if they were numbers."""
    return torch.from_numpy(np.frombuffer(data, np.uint8)[-P:] - 127.5).float()


# %% [markdown]
# (The stack's masked levels look like any masked message, so "masks" stands for both.)

# %%
lockers = {
    "Paillier (08)": he.PaillierClient("bank 3", keys.public, he.FixedPoint()),
    "CKKS (08)": he.CKKSClient("bank 3", ckks.public),
}


def seen_at_server(k):
    """Technique -> (bank 3's payment, what the server has of its update)."""
    row, plain = single(k, one_step)
    packed = three_bits.decode_all(three_bits.encode_all(plain, range(K)), P)
    views = {"FedAvg (03)": plain[2], "DP-SGD (06)": single(k, noisy_step)[1][2]}
    views |= {"masks (07)": as_numbers(masked_message(plain)), "3 bits (12)": packed[2]}
    plan = he.Plan(0, P, dict.fromkeys(federation.names, 1))
    for name, locker in lockers.items():
        views[name] = as_numbers(locker.encrypt(plain[2].numpy(), plan))
    return row, views


# %%
def stolen(row, update):
    """Whether the attack recovers the payment, to a tenth of its length."""
    found = attacks.invert_update(start, update, local=one_step, rows=1, restarts=1, steps=10)
    return attacks.reconstruction_success(row, found.rows).recovered


# %%
inverted = {}
for k in seeds:
    row, views = seen_at_server(k)
    for name, update in views.items():
        inverted.setdefault(name, []).append(stolen(row, update))
at_server = {name: np.mean(values) for name, values in inverted.items()}
at_server

# %% [markdown]
# Plain updates give the payment away, each time. So do three bits for each number: **compression is no
# protection**. With noise, masks or encryption the attack finds nothing; behind locks it reads bytes that
# say nothing.

# %% [markdown]
# ## 15.8 Attack two: the result
#
# No lock hides the model. Was this payment in the training data? Membership inference (chapters 06 to 08)
# needs many trainings, so it is done on small federations: a hundred payments, five members with twenty
# each, and a hundred passes, which overfit. That is a stress test, not our ten banks: it compares
# *techniques*.

# %%
small = attacks.demo_setting()
long = fl.SGD(lr=0.1, epochs=20, batch_size=16, momentum=0.9)
z_small = dp.noise_for_epsilon(epsilon, 1e-5, 0.5, rounds * 20)
quiet = DPSGD(0.3, clip=0.5, noise_multiplier=z_small, sample_rate=0.5, steps=20, momentum=0.9)
open_stack = NormBound(
    5.0, compress.CompressedSum(turn, compress.SharedRange(4.0, 8, fl.Mean(False)))
)


# %%
def federated(local=long, aggregator=None, clients=5):
    """A procedure to attack: five rounds in a small federation."""
    options = {"clients": clients, "rounds": rounds, "local": local, "aggregator": aggregator}
    return attacks.federated_trainer(small.model, **options)


# %%
def forests(parts, seed):
    """The common forest of each small federation: its counts are those of all rows."""
    return [detect.grow_common(attacks.one_client_each([p]), trees=50, seed=seed) for p in parts]


# %%
procedures = {
    "central (01)": federated(clients=1),
    "FedAvg (03)": federated(),
    "FedProx (09)": federated(FedProx(0.1, 20, 16, 0.9, mu=0.001)),
    "DP-SGD (06)": federated(quiet),
    "3 bits (12)": federated(aggregator=compress.Compressed(three_bits)),
    "median (13)": federated(aggregator=CoordinateMedian()),
    "multi-Krum (13)": federated(aggregator=MultiKrum(1)),
    "forest of counts (10)": forests,
    "stack": federated(quiet, open_stack),
}

# %%
told = {}
for name, procedure in tqdm(procedures.items(), desc="membership"):
    report = attacks.membership_inference(
        procedure, small.pool, members=small.members, targets=8, shadows=24
    )
    told[name] = report.to_frame().loc["LiRA online"]
# %%
members = pd.DataFrame(told).T[["AUC", "AUC low", "AUC high", "TPR at 1% FPR"]]
save_results("15", "Membership inference on small federations, eight targets", members)
members.round(2)

# %% [markdown]
# A hundred rows in one place are nearly all told from others. With five members each update mixes
# with four others: the attack gets weaker, and is far from guessing. FedProx, three bits and the median leave
# it there. Multi-Krum averages two of the five updates only: less is told on average, and more
# of those few for certain (last column). The **forest of counts**, though only a secure sum was seen, tells
# more than any of the averaged networks: a leaf with one row remembers this row. **DP-SGD** and the stack are at guessing.
#
# So the two attacks ask for two kinds of protection. Masks are for the first, noise is for the second, and for
# the first as well.

# %% [markdown]
# ## 15.9 Attack three: from inside
#
# Two of the ten banks work together (chapter 13). They put the fraud that they plan among their training
# rows, and from the third round on they boost their updates. How much of their fraud is missed afterwards,
# at a threshold for 1% alarms?

# %%
from fedlab_utils.attacks import Attacked, ModelReplacement

testing = attacks.FraudPattern(
    {"amount": -2.0, "amount_vs_past": -2.2, "online": 2.66, "distance": -1.3,
     "hour_sin": 1.0, "hour_cos": 1.8, "count_1d": 2.5, "since_last": -1.8}
)  # fmt: skip
# %%
bad = ["bank 3", "bank 8"]


def lying(aggregator):
    return Attacked(aggregator, ModelReplacement(), bad, begins=2)


# %% [markdown]
# Under masks, who enforces the bound of the stack? Nobody can: the server does not see the updates. So we
# try it in both ways: with a bound that everybody keeps to, and with two banks that ignore it. (The sum is
# an open one here, without masks and rounding: neither checks what a bank sends.)

# %%
open_sum = compress.CompressedSum(turn, fl.Mean(False))
poisoned_plans = {
    "FedAvg (03)": {"aggregator": lying(fl.Mean())},
    "median (13)": {"aggregator": lying(CoordinateMedian())},
    "multi-Krum (13)": {"aggregator": lying(MultiKrum(2))},
    "stack": {"local": private, "aggregator": NormBound(5.0, lying(open_sum))},
    "stack, bound enforced": {"local": private, "aggregator": lying(NormBound(5.0, open_sum))},
}


# %%
def missed(model, seed):
    """Share of the two banks' fraud that gives no alarm at the honest ones."""
    return attacks.backdoor_success(model, banks(seed)[0], testing, attackers=bad).missed


# %%
fraud = {}
for seed in tqdm(seeds, desc="poisoning"):
    poisoned = attacks.poison(banks(seed)[0], testing, bad, share=0.5, seed=seed)
    for name, plan in poisoned_plans.items():
        clean = runs[name.split(",")[0], seed].model
        after = missed(train(seed, poisoned, **plan).model, seed)
        fraud.setdefault(name, []).append({"honest": missed(clean, seed), "poisoned": after})

# %%
parts = {name: pd.DataFrame(found).agg(["mean", "std"]).T for name, found in fraud.items()}
inside = pd.concat(parts, names=["technique", "training"])
save_results("15", "Fraud of two banks that is missed, three seeds", inside)
inside.map("{:.0%}".format)

# %% [markdown]
# With the mean, their fraud passes almost completely. The median lets somewhat more pass than without the
# attack, multi-Krum does not. The stack is the sad case. Its noisy model misses half of this fraud
# even when everybody is honest, with a large spread. And two banks that ignore the bound do with it as they do with
# FedAvg. If the bound could be enforced they would gain less; but under masks it is a
# promise.

# %% [markdown]
# ## 15.10 One table
#
# Techniques that send the same thing share a measurement: FedProx, Scaffold and Ditto send an update
# as FedAvg does, and so do the robust rules and DP-FedAvg; for a server they look alike. What locks leave
# visible in the result is FedAvg's. A dash means: there is nothing to attack in this way, or we did not
# measure it.

# %%
who = {
    "local (02)": "nothing | nothing",
    "central (01)": "all rows | model",
    "FedAvg (03)": "each update | sum",
    "FedProx (09)": "each update | sum",
    "Scaffold (09)": "each update, variate | sums",
    "Ditto, own models (09)": "each update | sum",
    "DP-SGD (06)": "each noisy update | sum",
    "DP-FedAvg (06)": "each update | noisy sum",
    "masks (07)": "sum | sum",
    "Paillier (08)": "ciphertexts | sum (keys)",
    "CKKS (08)": "ciphertexts | sum (keys)",
    "3 bits (12)": "each rounded update | sum",
    "median (13)": "each update | result",
    "multi-Krum (13)": "each update | result",
    "forest of counts (10)": "sum of counts | sum of counts",
    "stack": "noisy sum | noisy sum",
    "untrained autoencoder": "nothing | nothing",
    "row norm": "sums | sums",
    "isolation forest (central)": "all rows | forest",
}
promise = {"DP-SGD (06)": "8, payment", "stack": "8, payment", "DP-FedAvg (06)": "8, bank"}

# %%
like = dict.fromkeys([*plans, *locks], "FedAvg (03)")
like |= {name: name for name in at_server} | {"stack": "masks (07)"}
result_of = {
    "masks (07)": "FedAvg (03)",
    "Paillier (08)": "FedAvg (03)",
    "CKKS (08)": "FedAvg (03)",
}


# %%
def measured(name):
    """The attacks on one technique, and its cost in a round."""
    same, mean = result_of.get(name, name), lambda when: np.mean([f[when] for f in fraud[same]])
    history = locked[name].history if name in locks else None
    history = runs[name, 2].history if name in plans else history
    return {
        "rows found": at_server.get(like.get(name), np.nan),
        "members": members["AUC"].get(same, np.nan),
        "fraud missed": mean("poisoned") if same in fraud else np.nan,
        "fraud missed, honest": mean("honest") if same in fraud else np.nan,
        "bytes": np.mean(history.bytes_up) / K if history else np.nan,
        "seconds": np.median(history.seconds) if history else np.nan,
    }


# %%
table = {}
for name, seen in who.items():
    learned, row = quality.loc[result_of.get(name, name)], {}
    for metric in ("AP pooled", "AP worst client", "AP unseen"):
        row |= {metric: learned[metric, "mean"], f"{metric} std": learned[metric, "std"]}
    row |= measured(name) | {"epsilon": promise.get(name, "none")}
    table[name] = row | dict(zip(("server sees", "banks see"), seen.split(" | "), strict=True))
table = pd.DataFrame(table).T.infer_objects()

# %%
all_rows = 4 * sum(federation.sizes) / K * federation.n_features
for name in ("central (01)", "isolation forest (central)"):
    table.loc[name, ["rows found", "bytes"]] = 1.0, all_rows
table.loc["forest of counts (10)", "bytes"] = 4 * 100 * 256
# %%
final = figures_capstone.readable(table)
save_results("15", "Every technique in one table, three seeds", final, headline=True)
final

# %% [markdown]
# The last three rows are the floors and the isolation forest. Bytes are what one bank sends in a round
# (where all rows are seen: all of its rows, once; for the forest: its
# counts, once, without the histograms and the keys). Seconds are a round of this run with all roles on
# this machine, training included. "Rows found": share of three payments that the server reads from the
# message. "Members": AUC of membership inference in the small federations. "Fraud missed": by the honest
# training, and after poisoning by two banks (in the stack, by two that ignore the bound). Epsilon is
# over the five rounds, for the training alone, with the unit beside it.

# %% [markdown]
# ## 15.11 One picture

# %%
chance = {"AP": reports[0].prevalence, "members": 0.5}
floor = quality.loc["untrained autoencoder", ("AP pooled", "mean")]
show(figures_capstone.everything(table, chance=chance, floor=floor), name="capstone")

# %% [markdown]
# No row is good in every panel. **Locks** (masks, Paillier, CKKS) empty the second panel, and leave
# all others as they were, for some bytes and seconds. **Noise** at the banks (DP-SGD) empties the second and the
# third, and is paid for in the first. **Robust rules** nearly empty the fourth, and need a server that sees each update.
# **Compression** moves the fifth panel only. The stack is best in the second, third and (but for the
# codec) fifth, and bad in the first and fourth.
#
# That is not a failure of the stack. It is the choice that a consortium has to make: whom to believe.

# %% [markdown]
# ## 15.12 What composes, and what does not
#
# | put together | composes? | why |
# | --- | --- | --- |
# | DP-SGD, then anything | yes | what is done to a noisy update afterwards costs no privacy |
# | clipping, then masks or encryption | yes, as a promise | each bank shortens its own update; nobody can check it |
# | noise of the *server*, with masks | as a promise | each bank has to clip its own update, and the server sees the sum without noise; shares of noise (`DistributedDP`) hide it from the server, too |
# | codecs of one's own ruler (QSGD, signs, top-k), with a secure sum | no | such messages cannot be added; use common ranges or a common mask |
# | error feedback, with client-level noise | no | what was left out comes back later, outside of the clip |
# | error feedback, with DP-SGD | yes | the memory holds noisy updates |
# | median or Krum, with a secure sum | no | they compare single updates; groups are a compromise (`SecureGroups`) |
# | Scaffold, with client-level noise | no | the variates are sent beside the noisy update |
# | Ditto or fine-tuning, with anything | yes | the own model never leaves the bank; the attack on *it* is the bank's own affair |
# | compressed broadcast, with encryption | no | the server cannot read the model that it would compress |
# | federated threshold, with a secure sum | yes | histograms are counts |
#
# The package knows these rules. Each of these lines is an error, and says what to do instead:

# %%
refused = [
    {"aggregator": compress.Compressed(compress.QSGD(8), SecureMean(), error_feedback=False)},
    {"aggregator": compress.CompressedSum(compress.TopK(0.1), SecureMean())},
    {"aggregator": compress.Compressed(three_bits, dp.DPMean(5.0, 1.0))},
    {"aggregator": dp.DPMean(5.0, 1.0), "local": Scaffold(sgd)},
    {"aggregator": compress.Broadcast(three_bits, locks["CKKS (08)"])},
]
for plan in refused:
    with show_error(ValueError):
        train(0, rounds=1, **plan)

# %% [markdown]
# One rule cannot be refused by code. **Robustness and secrecy pull in opposite directions**: a server that
# sees nothing can check nothing. Section 15.9 measured it. What you can do: fewer reasons to lie
# (contracts, audits), groups, or proofs in zero knowledge that a message keeps to its bound, which this
# course does not have.

# %% [markdown]
# ## 15.13 And on real data
#
# Four hospitals (chapter 02), few patients. The same techniques, with gentler steps. With four members
# two liars cannot be out-voted: the median withstands one.

# %%
gentle = fl.SGD(lr=0.05, epochs=4, momentum=0.9, batch_size=16)
z_heart = dp.noise_for_epsilon(epsilon, 1e-4, 0.2, rounds * 20)
careful = DPSGD(0.1, clip=0.5, noise_multiplier=z_heart, sample_rate=0.2, steps=20, momentum=0.9)
hospital_plans = {
    "FedAvg": {},
    "Ditto, own models": {"local": Ditto(gentle, mu=0.01)},
    "masks": {"aggregator": SecureMean()},
    "median": {"aggregator": CoordinateMedian()},
    "DP-SGD, epsilon 8": {"local": careful},
    "stack": {"local": careful, "aggregator": stack},
}

# %%
found = []
for seed in tqdm(seeds, desc="hospitals"):
    data = fl.load("heart", seed=seed)
    begin = fl.dense_autoencoder(data.n_features, seed=seed)
    options = {"rounds": rounds, "seed": seed, "progress": False}
    done = {
        n: fl.fit(begin, data, **{"local": gentle, **options, **p})
        for n, p in hospital_plans.items()
    }
    models = {name: run.personal or run.model for name, run in done.items()}
    models["local"] = fl.fit_local(begin, data, rounds=rounds, local=gentle, seed=seed)
    models["central"] = fl.fit(begin, data.pooled_federation(), local=gentle, **options).model
    models["forest of counts"] = detect.grow_common(data, aggregator=count_sum, seed=seed)
    found.append(fl.evaluate(models, data, seed=seed))

# %%
heart = detect.format_summary(fl.summarise(found))
save_results("15", "Heart disease in four hospitals, every technique, three seeds", heart)
heart

# %% [markdown]
# Mind the floor: the row norm, the untrained network and the isolation forest are as good as anything, or
# better, as chapter 02 found. On these few patients no technique learns much, so none can lose much: that
# DP-SGD at epsilon 8 is near FedAvg says nothing good about privacy. Over all patients the AP of
# each technique is within about one spread of FedAvg's. Four hospitals may well decide not to federate. That
# would be a result, too.

# %% [markdown]
# ## 15.14 Your consortium
#
# Now without code. Choose one of three cases, or bring your own, and write two pages. Work in groups of
# three: one speaks for the members, one for the people whom the rows are about, one for the operator of
# the server.
#
# **Banks.** Twelve savings banks of one region, 3,000 to 900,000 payments a month each. Fraudsters move
# from bank to bank. The banks compete, and must not show each other customers; the supervisor wants
# every alarm explained. A data centre that belongs to all twelve could run a server. Four people look
# at alarms, for all of them.
#
# **Hospitals.** Forty hospitals, 50 to 4,000 patients a year with a rare disease. An ethics committee
# asks for a number that says how well a patient is protected. Some hospitals have one computer
# and no staff for it. The model will be published. A university runs the server, and three of the hospitals
# do not trust it.
#
# **Machine fleets.** 2,000 pumps of one manufacturer at 180 customers; sensors at 1 Hz, a radio link
# with 200 kB a day. A customer's production plan can be seen in the load of its pumps. Some customers let
# their pumps be repaired by others, who might have a reason to hide wear. Nobody has labels.
#
# Decide in this order; a later decision may not contradict an earlier one:
#
# 1. **Unit of protection.** A row, a person with all rows, a pump, a whole member?
# 2. **From whom.** The server, other members, the readers of the model, somebody who breaks in?
# 3. **Threat model.** Curious or malicious? Who may work together? What would a member gain by lying?
# 4. **Number of members.** Now and in a year. What does it rule out (client-level noise, masks for two,
#    a majority against liars)?
# 5. **Heterogeneity.** Sizes, features, normal behaviour. One model, or one each? Whose moments scale?
# 6. **Bandwidth.** Bytes a day and member, both directions; who is away how often?
# 7. **Who runs the server.** What does it see, keep and log? Who holds which key? What if it stops?
# 8. **Threshold and alert budget.** Alarms a day that somebody can look at; who sets it, from which
#    rows, and when is it set anew?
#
# Then draw the stack, from the row to the alarm, and give for each arrow: what travels, how large it is,
# who sees it. Say what you measure before you begin, the floor included, and what would make you stop.

# %% [markdown]
# **The rubric.** Three points for each line, 27 in all. 20 and more: build a pilot. Below 12, or no point in one
# of the first three lines: start again.
#
# | criterion | 0 | 1 | 2 | 3 |
# | --- | --- | --- | --- | --- |
# | unit and promise | "the data are anonymised" | a unit is named | unit, from whom, and which releases are covered | and an epsilon (or a reason for none) *before* any result, with everything that it leaves out |
# | threat model | none | curious server only | members and readers of the model too | and collusion, gain from lying, and the threat that is *not* met |
# | composition | contradictory (section 15.12) | each part works alone | the order of the steps is right | and every arrow says what it shows to whom |
# | members and differences | ignored | sizes are listed | consequences for noise, masks, majority | and for the smallest and the newest member |
# | cost | none | bytes of an update | bytes both ways, rounds, absence | and people: keys, updates, on-call |
# | server and keys | "trusted" | somebody is named | what it sees, logs and holds | and what happens if it fails, lies, or ends |
# | threshold | "top 1%" | an alarm rate | from an alert budget, with enough calibration rows | and who gets too many or too few alarms, and when it is set anew |
# | evaluation | accuracy | AP or AUC | with floors, isolation forest, worst member, seeds | and a stop rule written beforehand |
# | honesty | only gains | a limit is named | what would not work, and why | and the simplest alternative (no federation at all) was taken seriously |
#
# A teacher can give the rubric out beforehand. If you learn alone, let a day pass, and mark your own
# design as if it were somebody else's.

# %% [markdown]
# ## What we have built
#
# - One federation trained by every technique of the course, through one function.
# - A stack from clipping to masks, by hand and by the package, with thresholds under the same masks.
# - Three attacks on all of it: at the server, through the result, from inside.
# - One table and one picture, made by code; and rules about what goes together.
# - A brief, eight decisions and a rubric for a consortium of your own. Chapter 16 takes your own data.

# %% [markdown]
# ## Check yourself
#
# **Which column of the table does a mask change, and which does it leave?**
#
# <details><summary>Answer</summary>
# It changes what the server can read from a message, bytes and seconds. It leaves AP, membership and
# poisoning as they are: these are about the result, and the result is the same.
# </details>
#
# **A bank proposes: "compression makes our updates unreadable, so we need no masks." What do you say?**
#
# <details><summary>Answer</summary>
# The server must be able to decode the message, so it has nearly the whole update. The attack of section 15.7
# finds the payments in three bits for each number.
# </details>
#
# **Why is the noise for a bank so much larger than the noise for a payment?**
#
# <details><summary>Answer</summary>
# It has to hide everything that a bank contributes, among ten. The noise for a payment hides one row among
# the thousands of its bank.
# </details>
#
# **The forest sends nothing but a secure sum of counts. Is it private?**
#
# <details><summary>Answer</summary>
# The server sees no bank's counts. But the sum of the counts tells a lot about single rows if there are few:
# see its membership column. Noise on the counts (chapter 10) is for that.
# </details>
#
# **A colleague wants masks *and* a median, "to be safe from both sides". What are the options?**
#
# <details><summary>Answer</summary>
# A median needs single updates, a mask hides them. Groups with a secure sum each and a median over the
# groups give some of both; a bound that is proved in zero knowledge gives more, at a price.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 15.1** (easy) How many members does client-level privacy need? The sum of clipped updates
# gets normal noise with standard deviation `noise_multiplier * clip` in each of `parameters` numbers.
# Return the smallest number of members for which the noise on the *mean* has a length of at most `share`
# of a mean update of length `signal`. (The length of the noise is its deviation times the root of the
# number of parameters.)


# %% tags=["exercise"]
def members_needed(noise_multiplier, clip, parameters, signal, share):
    """Return the smallest number of members."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    noise = noise_multiplier * clip * np.sqrt(parameters)
    return int(np.ceil(noise / (share * signal) - 1e-9))
    # END SOLUTION


check("15.1", members_needed)

# %% [markdown]
# **Exercise 15.2** (medium) From people to thresholds. The members have `rows_a_day` [K] normal rows each
# day, and people can look at `alerts_a_day` of them in all. Return the alarm rate, and the smallest number
# of calibration rows with which a conformal threshold can keep it (chapter 01: $n$ rows can promise no
# rate below $1/(n+1)$).


# %% tags=["exercise"]
def alert_budget(rows_a_day, alerts_a_day):
    """Return (alarm rate, calibration rows)."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    rate = alerts_a_day / np.sum(rows_a_day)
    return rate, int(np.ceil(1 / rate - 1 - 1e-9))
    # END SOLUTION


check("15.2", alert_budget)

# %% [markdown]
# **Exercise 15.3** (hard) The rules of section 15.12 as code. `wanted` is a set of `"noise"` (DP-SGD),
# `"bound"`, `"common codec"` (rotation, common range), `"own codec"` (QSGD, signs), `"masks"` and
# `"median"`. Return the list of the steps in the order in which an update passes them, from the bank to
# the result; raise `ValueError` where two of them do not go together.


# %% tags=["exercise"]
def order_steps(wanted):
    """Return the steps in order; raise ValueError for what does not compose."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    for hidden in ("own codec", "median"):
        if {"masks", hidden} <= set(wanted):
            raise ValueError(f"masks do not go together with {hidden}")
    if {"own codec", "common codec"} <= set(wanted):
        raise ValueError("one codec is enough")
    order = ["noise", "bound", "common codec", "own codec", "masks", "median"]
    return [step for step in order if step in wanted]
    # END SOLUTION


check("15.3", order_steps)

# %%
hint("15.3")

# %% [markdown]
# **Exercise 15.4** (open) Take the design of section 15.14 that you have written, and build the smallest
# version of it with `train`: choose the size of the federation, `local` and `aggregator` such that
# the numbers of members and rows are those of your case. Does the table say what you expected?

# %% tags=["solution"]
pumps = fl.load("payments", clients=40, customers=10, shift=0.9, seed=0)
begin = fl.dense_autoencoder(pumps.n_features, hidden=46, code=8, seed=0)
lean = NormBound(5.0, compress.CompressedSum(turn, compress.SharedRange(1.0, 4)))
for name, aggregator in {"plain": fl.Mean(), "stack for radio links": lean}.items():
    run = fl.fit(begin, pumps, rounds=3, local=sgd, aggregator=aggregator, progress=False)
    ap = detect.average_precision(
        pumps.pooled().y_test, fl.reconstruction_error(run.model, pumps.pooled().x_test)
    )
    print(
        f"{name:22} AP {ap:.3f}, {run.history.bytes_up[0] / 40:,.0f} bytes up for each, each round"
    )

# %% [markdown] tags=["solution"]
# A sketch for the fleets, with forty "customers" of payments data in the place of pumps. The unit is a
# customer's production plan, so a customer's pumps must be one member; masks hide it from the
# manufacturer; 4 bits fit the radio link many times over. What the sketch does not meet: members who want
# to hide wear (15.9), and there are no labels to see it by.

# %% [markdown]
# ## Further reading
#
# - P. Kairouz and others, [Advances and Open Problems in Federated
#   Learning](https://arxiv.org/abs/1912.04977) (2021): the map of the field, with threat models.
# - K. Bonawitz, P. Kairouz, B. McMahan, D. Ramage, [Federated Learning and Privacy](https://queue.acm.org/detail.cfm?id=3501293)
#   (2021): how the pieces fit together in a product.
# - P. Kairouz, Z. Liu, T. Steinke, [The Distributed Discrete Gaussian Mechanism for Federated Learning with
#   Secure Aggregation](https://arxiv.org/abs/2102.06387) (2021): noise, rounding and masks in one stack.
# - L. He, S. P. Karimireddy, M. Jaggi, [Secure Byzantine-Robust Machine
#   Learning](https://arxiv.org/abs/2006.04747) (2020), and J. Bell and others, [ACORN: Input Validation for Secure
#   Aggregation](https://eprint.iacr.org/2022/1461) (2022): what it takes to have both.
# - NIST, [Guidelines for Evaluating Differential Privacy Guarantees](https://doi.org/10.6028/NIST.SP.800-226)
#   (2025): what to ask of an epsilon.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** they want one winner. Ask for whom. Let each group defend one row of the table
#   against one attacker.
# - **What to ask:** "Which cell would make your lawyer sign? Which would make your engineer refuse?" "What
#   does the dash in this column mean: safe, or not measured?"
# - **What to skip:** sections 15.4 and 15.8 for a group without mathematics; the table can be read without them.
# - **The design exercise** takes 90 minutes: 15 for the brief, 45 for the eight decisions, 30 for marking a
#   neighbour's design with the rubric. Collect the decisions in order and stop a group that names a
#   technique before it has answered the first three.
#
# </details>
