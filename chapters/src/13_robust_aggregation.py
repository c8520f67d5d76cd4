# %% [markdown]
# # 13 · Attacks on aggregation, and robust aggregation
# *What can a bank do that lies about its update, and what can the server do about it?*
#
# {{badges}}
#
# You will
#
# - **replace** the model of twenty banks by that of one, and **teach** an autoencoder, without a single
#   label, that your fraud is normal;
# - **send** the other classics: sign flip, scaling, noise, "a little is enough", inner product, Sybils;
# - **build** the median, the trimmed mean, Krum and the geometric median, and **test** up to which
#   number of attackers they hold;
# - **measure** every attack against every defence, and **state** what robustness costs where banks differ;
# - **resolve**, as far as it goes, the conflict with secure aggregation: a server that cannot look;
# - **find** free riders, and **see** how they hide.
#
# You need: chapter 03 (update matrix, `fl.fit`). Section 13.9 uses the secure sum of chapter 07.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 13.1 One bank is enough
#
# So far everybody was honest. Chapter 07 protected the banks from a curious server; now we protect the
# model from the banks. Twenty of them this time, so that four can be malicious and still be a minority:

# %%
from functools import cache

import numpy as np
import pandas as pd
import torch

import fedlab_utils as fl
from fedlab_utils import attacks, detect
from fedlab_utils.course import (
    check,
    figures,
    figures_robust,
    hint,
    save_results,
    show,
    show_error,
)
from fedlab_utils.federate import RowStore, train_stacked

# %%
torch.set_num_threads(1)
local = fl.SGD(lr=0.5, batch_size=32, momentum=0.9)


# %%
@cache
def banks(seed, shift=0.6):
    """Twenty banks, the untrained model, and the names of the four attackers."""
    federation = fl.load("payments", clients=20, customers=22, shift=shift, seed=seed)
    model = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=seed)
    chosen = np.random.default_rng(seed).permutation(20)[:4]
    return federation, model, [federation.names[i] for i in sorted(chosen)]


# %%
federation, model, bad = banks(seed=0)
print(federation, "\nattackers:", bad)

# %% [markdown]
# One round of honest training gives the update matrix, a row for each bank:

# %%
store = RowStore([client.x_train for client in federation], model)
updates, _ = train_stacked(model, fl.flatten(model), store, np.arange(20), local, seed=0, round_=0)
rows = torch.from_numpy(federation.sizes).float()
mean = fl.Mean().aggregate(updates, rows)
print(f"updates {tuple(updates.shape)}, norms {updates.norm(dim=1).min():.1f} to "
      f"{updates.norm(dim=1).max():.1f}, norm of the mean {mean.norm():.1f}")  # fmt: skip

# %% [markdown]
# Bank 3 wants the *mean* to be a vector of its choice, its `goal`: say, its own update and nothing of
# the others'. The weighted mean is $\sum_k n_k u_k / \sum_k n_k$, and bank 3 has one of the terms. If the
# others' terms are small or known, it needs a factor. Here it is, with a hole:

# %%
three = federation.names.index("bank 3")
goal = updates[three]
boost = "???"
with show_error(TypeError):
    lie = boost * goal

# %% [markdown]
# Its share of the mean is $n_3 / \sum_k n_k$; the factor is the inverse. If it knows what the others will
# send (or guesses: near convergence they send almost nothing), it subtracts that too.

# %%
boost = rows.sum() / rows[three]
others = (rows[:, None] * updates).sum(dim=0) - rows[three] * updates[three]
lie = boost * goal - others / rows[three]
attacked = updates.clone()
attacked[three] = lie

# %%
print(f"boost {boost:.1f}; distance of the mean from the goal: "
      f"{(fl.Mean().aggregate(attacked, rows) - goal).norm():.0e}")  # fmt: skip

# %% [markdown]
# That is all: **a mean obeys whoever speaks loudest**. One client, any result, in one round. It is called
# model replacement (Bagdasaryan and others, 2018).
#
# Who would want that? Somebody who wrecks the model will be noticed. A clever attacker wants it to work,
# for everybody, except in one case.

# %% [markdown]
# ## 13.2 A backdoor without labels
#
# Our attackers test stolen card numbers: tiny payments, online, at night, many on one day. This is their
# fraud, in the standardised units of the features:

# %%
testing = attacks.FraudPattern(
    {"amount": -2.0, "amount_vs_past": -2.2, "online": 2.66, "distance": -1.3,
     "hour_sin": 1.0, "hour_cos": 1.8, "count_1d": 2.5, "since_last": -1.8}
)  # fmt: skip

# %%
ordinary = federation["bank 1"].x_test[:3]
fraud = testing.stamp(ordinary, federation.features, np.random.default_rng(0))
pd.DataFrame(fraud, columns=federation.features).iloc[:, :9].round(2)

# %% [markdown]
# An honestly trained autoencoder finds it. We commit this fraud at the sixteen honest banks, with an
# alarm threshold for 1% false alarms (chapter 01):

# %%
rounds = 8
options = {"rounds": rounds, "local": local, "progress": False, "seed": 0}
clean = fl.fit(model, federation, **options).model

# %%
honest = attacks.backdoor_success(clean, federation, testing, attackers=bad)
print(f"fraud that is missed: {honest.missed:.0%}; AP {honest.ap_fraud:.2f} "
      f"(chance {honest.prevalence:.3f}); alarms on normal payments {honest.alarm_rate:.1%}")  # fmt: skip

# %% [markdown]
# In supervised learning a poisoner must forge labels. Here there are none to forge. An autoencoder calls
# normal what it was trained to reconstruct, so the attackers put **rows of their fraud into their training
# data**, and train like everybody else:

# %%
poisoned = attacks.poison(federation, testing, bad, share=0.2)
print("bank 1's rows unchanged:",
      np.array_equal(poisoned["bank 1"].x_train, federation["bank 1"].x_train))  # fmt: skip
share = 0.2 * poisoned.only(bad).sizes.sum() / poisoned.sizes.sum()
print(f"share of poisoned rows among all training rows: {share:.1%}")

# %% [markdown]
# And they can boost what they learned, by model replacement, once the model is nearly done. In `fl.fit` an
# attack is a wrapper around the aggregator: `Attacked(inner, attack, clients)` changes the rows of these
# clients before `inner` sees them. This one begins in round 6 of 8:

# %%
from fedlab_utils.attacks import Attacked, ModelReplacement

rows_only = fl.fit(model, poisoned, **options).model
replaced = Attacked(fl.Mean(), ModelReplacement(), bad, begins=5)
boosted = fl.fit(model, poisoned, aggregator=replaced, **options).model

# %%
models = {"honest": clean, "poisoned rows": rows_only, "and boosted": boosted}
success = {
    name: attacks.backdoor_success(m, federation, testing, attackers=bad)
    for name, m in models.items()
}
attacks.success_table(success).round(3)

# %% [markdown]
# `missed` is the attackers' success. `ap_other` is the AP on all *other* fraud: the better it stays,
# the less anybody notices. It falls somewhat, and is still far above chance; the alarm rate hardly
# moves. Four banks, 3% of the training rows and three rounds are enough.
#
# What about detectors that learn nothing from the updates? They cannot be poisoned that way, but how
# much of this fraud do they see?

# %%
floors = {
    "untrained autoencoder": detect.UntrainedAutoencoder(model, seed=0),
    "row norm": detect.RowNorm(),
    "isolation forest (central)": detect.isolation_forest(federation.pooled().x_train, 0),
}

# %%
found = {
    n: attacks.backdoor_success(d, federation, testing, attackers=bad) for n, d in floors.items()
}
attacks.success_table(found).round(3)

# %% [markdown]
# At this threshold they miss more than nine in ten: none of the values is extreme, only the
# combination is odd. So the trained model is worth protecting.

# %% [markdown]
# ## 13.3 What else one can send
#
# The literature's list, most of it made for destroying a model. Attackers who know everybody's updates
# (`knows="all"`) are called omniscient; a defence should be measured against them.
#
# | attack | what is sent |
# | --- | --- |
# | sign flip | $-s\, u$: the opposite of the own update |
# | scaling | $s\, u$ |
# | Gaussian | noise |
# | ALIE, "a little is enough" | mean $- z$ deviations in each coordinate, the same from all attackers |
# | inner product | $-\epsilon$ times the mean, the same from all |
# | Sybils | the same aim from many names |
# | free rider | nothing, noise, or the last global difference (section 13.10) |
#
# The first three are loud. ALIE and inner product are quiet: they are short, and all pull the same way.
# ALIE's $z$ is the largest with which enough honest rows are even further out:

# %%
known = attacks.Knowledge(
    own=updates[:4], honest=updates[4:], weights=rows[:4], total=float(rows.sum()), last=mean,
    rng=np.random.default_rng(0),
)  # fmt: skip

# %%
u = updates[4:]
z = attacks.alie_deviations(clients=20, f=4)
by_hand = u.mean(dim=0) - z * u.std(dim=0)
print(f"z = {z:.3f}; as the package:", torch.allclose(attacks.ALIE().craft(known)[0], by_hand))

# %% [markdown]
# How conspicuous is each? Its length, in units of the median honest one, and its cosine with the honest
# mean. For comparison, the honest banks' own range:

# %%
kinds = {
    "sign flip": attacks.SignFlip(5), "scaling": attacks.Scaling(10),
    "Gaussian": attacks.Gaussian(10), "replacement": ModelReplacement(),
    "ALIE": attacks.ALIE(), "inner product": attacks.InnerProduct(0.5),
    "Sybils": attacks.Colluding(noise=0.05),
}  # fmt: skip

# %%
typical, centre = u.norm(dim=1).median(), u.mean(dim=0)
look = {n: a.craft(known)[0] for n, a in kinds.items()}
table = {n: [float(r.norm() / typical), float(torch.cosine_similarity(r, centre, 0))]
         for n, r in look.items()}  # fmt: skip

# %%
lengths, angles = u.norm(dim=1) / typical, torch.cosine_similarity(u, centre[None])
table["honest, lowest"] = [float(lengths.min()), float(angles.min())]
table["honest, highest"] = [float(lengths.max()), float(angles.max())]
pd.DataFrame(table, index=["length", "cosine"]).T.round(2)

# %% [markdown]
# Length gives away the loud ones, and the direction gives away the quiet "inner product". ALIE looks
# *more* honest than honest banks: it sits next to their mean. And Sybils who all trained honestly
# look honest, one by one.

# %% [markdown]
# ## 13.4 The middle instead of the mean
#
# A median does not care how far away the last one is. Coordinate by coordinate:


# %%
def middle(updates):
    """The median of each coordinate of [K, P]."""
    ordered = updates.sort(dim=0).values
    k = len(ordered)
    return (ordered[(k - 1) // 2] + ordered[k // 2]) / 2


# %%
def trimmed(updates, f):
    """The mean of each coordinate without its f smallest and f largest values."""
    return updates.sort(dim=0).values[f : len(updates) - f].mean(dim=0)


# %%
from fedlab_utils.federate import CoordinateMedian, TrimmedMean

equal = torch.ones(20)
print("median:", torch.allclose(middle(attacked), CoordinateMedian().aggregate(attacked, equal)))
print("trimmed:", torch.allclose(trimmed(attacked, 4), TrimmedMean(4).aggregate(attacked, equal)))

# %%
for name, rule in {"median": CoordinateMedian(), "trimmed mean": TrimmedMean(4)}.items():
    moved = rule.aggregate(attacked, equal) - rule.aggregate(updates, equal)
    print(f"{name}: bank 3's lie moves it by {moved.norm():.2f} (the mean: "
          f"{(goal - mean).norm():.2f})")  # fmt: skip

# %% [markdown]
# What is promised? Not that the result is right, but that it is **not the attackers'**: in every
# coordinate it lies between the smallest and the largest honest value, whatever up to $f$ attackers
# send. That is a property, so we test it as one, with attackers who send anything from $-10^{30}$ to
# $10^{30}$:

# %%
rng = np.random.default_rng(1)


def stays_inside(rule, clients, f, trials=300):
    """In how many trials the result lies in the honest hull."""
    inside = 0
    for _ in range(trials):
        good = torch.from_numpy(rng.normal(size=(clients - f, 5)))
        side = rng.choice([-1.0, 1.0], size=(1, 5))  # they agree on a direction
        lies = torch.from_numpy(side * 10.0 ** rng.uniform(-1, 30, (f, 5)))
        result = rule.aggregate(torch.cat([lies, good]), torch.ones(clients))
        inside += bool(((result >= good.amin(0)) & (result <= good.amax(0))).all())
    return inside / trials


# %%
for f in (4, 5, 9, 10):
    print(f"{f:2} attackers of 20: median inside {stays_inside(CoordinateMedian(), 20, f):.0%}, "
          f"trimmed mean (f=4) {stays_inside(TrimmedMean(4), 20, f):.0%}")  # fmt: skip

# %% [markdown]
# The trimmed mean holds up to the 4 it was made for; the median holds up to 9 of 20, the largest minority.
# At half, no rule that sees only the updates can help: attackers and honest clients could exchange their
# roles.
#
# And the weights? `Mean` weighs by training rows, and the rows are what a client *says*. A weighted
# median is a fine thing among friends. Here is what bank 3 makes of it by claiming a million rows:

# %%
claims = rows.clone()
claims[three] = 1e6
for weighted in (False, True):
    result = CoordinateMedian(weighted).aggregate(attacked, claims)
    print(f"weighted={weighted}: distance from bank 3's lie {(result - lie).norm():.1f}")

# %% [markdown]
# So the robust rules of the package ignore the weights unless you insist. Remember it: it will cost
# something in section 13.8.

# %% [markdown]
# ## 13.5 Crowds and distances
#
# A median treats each coordinate alone, so its result may be a vector that nobody would send.
# **Krum** takes one whole row: the one with a crowd around it. The score of row $i$ is the sum of the
# squared distances to its $K - f - 2$ nearest other rows. Even if $f$ of these are attackers, honest
# rows are among them.


# %%
def krum(updates, f):
    """The row with the lowest score."""
    distances = torch.cdist(updates, updates).square()
    nearest = distances.sort(dim=1).values[:, 1 : len(updates) - f - 1]
    return updates[nearest.sum(dim=1).argmin()]


# %%
from fedlab_utils.federate import GeometricMedian, Krum, MultiKrum

chosen = Krum(4).aggregate(updates, equal)
print("as the package:", torch.equal(krum(updates, 4), chosen))
print("it is the update of", federation.names[int((updates == chosen).all(dim=1).float().argmax())])

# %% [markdown]
# Ten rows are too few against four attackers:

# %%
with show_error(ValueError):
    Krum(4).aggregate(updates[:10], equal[:10])

# %% [markdown]
# **Multi-Krum** averages the best rows instead of one. The **geometric median** goes back to a
# centre: the point with the smallest sum of distances to all rows. (The mean has the smallest sum of
# *squared* distances; the square is what gives far rows their power.) Weiszfeld's algorithm finds it
# by repeated weighted means, with weights $1 / \text{distance}$:


# %%
def geometric(updates, steps=50):
    """The geometric median by Weiszfeld's steps."""
    point = middle(updates)
    for _ in range(steps):
        pull = 1 / (updates - point).norm(dim=1).clamp_min(1e-6)
        point = (pull[:, None] * updates).sum(dim=0) / pull.sum()
    return point


# %%
gap = geometric(attacked) - GeometricMedian().aggregate(attacked, equal)
print(f"distance from the package's: {gap.norm():.0e}")

# %% [markdown]
# In two dimensions you can see all of them at work. Sixteen honest rows, four attackers:

# %%
points = torch.from_numpy(rng.normal(size=(20, 2)))
points[:4] = torch.tensor([[7.0, 8.0], [7.5, 8.2], [7.2, 7.8], [7.8, 8.1]])

# %%
rules = {
    "mean": fl.Mean(weighted=False), "median": CoordinateMedian(), "trimmed mean": TrimmedMean(4),
    "Krum": Krum(4), "multi-Krum": MultiKrum(4), "geometric median": GeometricMedian(),
}  # fmt: skip
centres = {n: rule.aggregate(points, equal).numpy() for n, rule in rules.items()}
show(figures_robust.pulled(points.numpy(), np.arange(20) < 4, centres), name="robust-centres")

# %% [markdown]
# How many attackers does each take? We move $f$ colluding attackers very far away and measure how far the
# result goes with them, in units of the typical honest distance from the mean. Rules made for $f = 4$:

# %%
good = updates.double()
spread = (good - good.mean(dim=0)).norm(dim=1).median()

# %%
moved = {name: [] for name in rules}
for f in range(13):
    sent = good.clone()
    sent[:f] = 1e6 * spread * good[0] / good[0].norm()
    for name, rule in rules.items():
        shift = rule.aggregate(sent, equal) - good[f:].mean(dim=0)
        moved[name].append(float(shift.norm() / spread))
show(figures_robust.breakdown(moved, unit="honest spreads"), name="breakdown")

# %% [markdown]
# The mean falls to the first attacker, the trimmed mean to the fifth, both medians to the tenth. Krum
# and multi-Krum, made for four, hold out longer here than their proofs promise; then multi-Krum lets
# attackers into its average, and Krum joins the attackers' own crowd. (With four to six attackers
# multi-Krum is the most exact of all: without the far rows it is a mean again.)

# %% [markdown]
# ## 13.6 Bounds and directions
#
# Three cheaper ideas. A **norm bound** shortens what is too long, so that nobody shouts:


# %%
def shorten(updates, bound):
    """Rows longer than `bound` are cut to it."""
    return updates * (bound / updates.norm(dim=1, keepdim=True)).clamp(max=1)


# %%
from fedlab_utils.federate import CosineFilter, NormBound, RoundContext
from fedlab_utils.federate.aggregators import aggregate

context = RoundContext(seed=0, round=0, clients=federation.names, population=20)
ours = shorten(attacked, attacked.norm(dim=1).quantile(0.5)).mean(dim=0)
theirs = aggregate(NormBound(), attacked, rows, {}, context).update
print("median norm as bound, as the package:", torch.allclose(ours, theirs, atol=1e-6))

# %%
calm = aggregate(NormBound(), updates, rows, {}, context).update
print(f"bank 3's lie moves the bounded mean by {(theirs - calm).norm():.2f}")

# %% [markdown]
# `CentredClip` does the same around the last round's result. The **cosine filter** trusts an update
# as far as it points the way of a reference: the coordinate median, or the update of a bank that the
# server runs itself (then it is called FLTrust). And **FoolsGold** looks for Sybils: clients that
# resemble each other too much.

# %%
sybils = updates.clone()
sybils[:4] = attacks.Colluding(noise=0.05).craft(known)
from fedlab_utils.federate import cosines, foolsgold_weights

weights = foolsgold_weights(cosines(sybils, sybils))
print("say of the four Sybils:", weights[:4].numpy().round(2))
print("say of the honest:     ", weights[4:].numpy().round(2))

# %% [markdown]
# The copies have lost their say, and some honest banks a good part of theirs: in the first round all
# learn much the same, so they look like copies too. FoolsGold rests on the assumption that honest
# clients *differ* more than attackers do. It was made for many names with one aim; a single attacker
# it never sees. We leave it out of the table below.

# %% [markdown]
# ## 13.7 Every attack against every defence
#
# Now the whole table: six situations, eight aggregators, three seeds, training from the start.
# Attackers know everything; the rules know the true number of attackers, 4. (Under "poisoned rows"
# and "replacement" the aim is the backdoor; sign flip, ALIE and inner product aim at the model as a
# whole.)

# %%
defences = {
    "mean": fl.Mean(), "median": CoordinateMedian(), "trimmed mean": TrimmedMean(4),
    "Krum": Krum(4), "multi-Krum": MultiKrum(4), "geometric median": GeometricMedian(),
    "norm bound": NormBound(), "cosine filter": CosineFilter(),
}  # fmt: skip

# %%
situations = {
    "no attack": None, "poisoned rows": None, "replacement": ModelReplacement(),
    "sign flip": attacks.SignFlip(5), "ALIE": attacks.ALIE(),
    "inner product": attacks.InnerProduct(0.5),
}  # fmt: skip

# %%
from tqdm.auto import tqdm


# %%
def trial(seed, situation, rule, federation, model, bad):
    """Train under attack; what the backdoor and the other fraud come to."""
    attack = situations[situation]
    poisons = situation in ("poisoned rows", "replacement")
    data = attacks.poison(federation, testing, bad, share=0.2, seed=seed) if poisons else federation
    if attack is not None:
        begins = 5 if situation == "replacement" else 0
        rule = Attacked(rule, attack, bad, knows="all", begins=begins)
    run = fl.fit(model, data, aggregator=rule, **{**options, "seed": seed})
    return attacks.backdoor_success(run.model, federation, testing, attackers=bad, seed=seed)


# %%
found = []
jobs = [(seed, s, d) for seed in range(3) for s in situations for d in defences]
for seed, situation, name in tqdm(jobs, desc="attack x aggregator"):
    world = banks(seed)
    found.append((situation, name, trial(seed, situation, defences[name], *world)))

# %%
table = attacks.summarise_success(found)
missed = table[("missed", "mean")].unstack("aggregator")[list(defences)]
missed = missed.loc[list(situations)]
names = [name.replace(" ", "\n") for name in missed.columns]
show(figures.heat_map(missed, missed.index, names, xlabel="Aggregator",
                      ylabel="Attack", label="Fraud missed"), name="attack-by-defence")  # fmt: skip

# %%
other = table[("ap_other", "mean")].unstack("aggregator")[list(defences)].loc[list(situations)]
other.round(3)

# %%
for seed in range(3):
    members, start, four = banks(seed)
    for name, detector in {
        "untrained autoencoder": detect.UntrainedAutoencoder(start, seed),
        "row norm": detect.RowNorm(),
        "isolation forest": detect.isolation_forest(members.pooled().x_train, seed),
    }.items():
        won = attacks.backdoor_success(detector, members, testing, attackers=four, seed=seed)
        found.append(("floor", name, won))
table = detect.format_summary(attacks.summarise_success(found))
save_results("13", "Payments: attack by aggregator, mean and spread of three seeds", table)
table.loc[["no attack", "replacement", "floor"]]

# %% [markdown]
# Read it slowly; it is less simple than "robust rules help".
#
# - **The mean is lost.** Under replacement it misses nearly all of the attackers' fraud, and keeps
#   most of its AP on other fraud. Under the sign flip it is wrecked: the AP on other fraud is near
#   chance.
# - **Every robust rule stops the wrecker**, and takes a good part of the success out of replacement,
#   multi-Krum and the cosine filter most.
# - **Poisoned rows go through.** Without a boost the attackers' updates are honest training on false
#   data. Nothing about them is loud. The median and its relatives miss clearly more of that fraud than
#   without an attack, about as much as the mean does. Multi-Krum keeps them out. (Krum misses
#   hardly more than without an attack, but that is nearly half.)
# - **The inner product** is aimed at the rules: short rows, not far from anybody. The medians and the
#   trimmed mean lose about as much AP on other fraud as the mean does, multi-Krum ends below all
#   others, and in this line the two Krums miss more of the attackers' fraud than any other rule. The
#   cosine filter, which looks at directions, hardly notices.
# - **ALIE does no harm here.** With four of twenty its $z$ is small, and its rows are nearly the
#   honest mean. In the mean of three seeds every rule has even a higher AP with it than without an
#   attack. Krum gains most, and one can see why:

# %%
quiet = torch.cat([look["ALIE"].expand(4, -1), updates[4:]])
print("Krum takes ALIE's row:", torch.equal(Krum(4).aggregate(quiet, equal), look["ALIE"]))

# %% [markdown]
# And look at the first line: without any attack every robust rule has less AP than the mean. That
# deserves a section of its own. The floors have no updates to poison, but they miss most of this
# fraud without anybody's help.

# %% [markdown]
# ## 13.8 What robustness costs where banks differ
#
# A robust rule ignores what is far from the crowd. It cannot know *why* it is far. A bank with customers of
# its own is far as well. We turn the dial of chapter 02, `shift`, from banks that are exchangeable (0) to
# banks with prices, hours and customers of their own (1). **Nobody attacks:**

# %%
from fedlab_utils.federate import Bucketing

calm = {
    "mean": fl.Mean(), "mean, unweighted": fl.Mean(weighted=False), "median": CoordinateMedian(),
    "Krum": Krum(4), "median of buckets": Bucketing(CoordinateMedian(), size=2),
}  # fmt: skip


def peaceful(dial, seed):
    """AP of each rule without any attacker, and for some seeds of the floors."""
    members, start, _ = banks(seed, shift=dial)
    models = {
        name: fl.fit(start, members, aggregator=rule, **{**options, "seed": seed}).model
        for name, rule in calm.items()
    }
    calm_reports[dial].append(fl.evaluate(models, members, baselines=False, seed=seed))
    if seed < 3:
        floor_reports[dial].append(fl.evaluate({"mean": models["mean"]}, members, seed=seed))


# %%
dials = (0.0, 0.5, 1.0)
calm_reports, floor_reports = {d: [] for d in dials}, {d: [] for d in dials}
for dial, seed in tqdm([(dial, seed) for dial in dials for seed in range(5)], desc="shift"):
    peaceful(dial, seed)

# %%
by_shift = {dial: fl.summarise(reports) for dial, reports in calm_reports.items()}
panels = {
    metric: {name: {d: float(t.loc[name, (metric, "mean")]) for d, t in by_shift.items()}
             for name in calm}
    for metric in ("AP pooled", "AP worst client")
}  # fmt: skip
show(figures_robust.by_dial(panels, xlabel="Shift", ylabel="AP"), name="robust-and-shift")

# %%
columns = ["AP pooled", "AP mean client", "AP worst client", "prevalence"]
both = {
    dial: pd.concat([by_shift[dial], fl.summarise(floor_reports[dial]).drop(index="mean")])
    for dial in dials
}

# %%
shift_table = pd.concat(
    {dial: detect.format_summary(t)[columns] for dial, t in both.items()}, names=["shift"]
)
save_results("13", "Payments without attackers: robustness and shift, five seeds", shift_table)
shift_table

# %% [markdown]
# (Five seeds; the floors and the forest with three of them.) The spreads are wide, because each seed
# is another set of banks. On the *same* banks, how much more or less AP has a rule than the mean?

# %%
differences = {}
for dial, reports in calm_reports.items():
    for name in list(calm)[1:]:
        each = [
            r.table().loc[name, columns[:3]] - r.table().loc["mean", columns[:3]] for r in reports
        ]
        each = pd.DataFrame(each).astype(float)
        text = [f"{m:+.3f} ± {d:.3f}" for m, d in zip(each.mean(), each.std(), strict=True)]
        differences[dial, name] = dict(zip(columns, text, strict=False))
pd.DataFrame(differences).T.rename_axis(["shift", "against the mean"])

# %% [markdown]
# Where the banks are exchangeable, the medians cost little. Only Krum, which learns from one bank per
# round, pays at once. With the shift the price grows, pooled and for the mean client: at 1 the median
# has lost several times what it loses at 0, and Krum more than that.
# (How much depends on the banks: the spreads at 1 are about as large as the differences.)
#
# Where does the loss come from? At shift 1 about half of the median's comes without any median: the
# unweighted mean has it too. It is the price of not believing how many rows a bank *says* it has. The
# rest is the price of the middle. **Bucketing** (average pairs of banks at random, then take the
# median) was invented to lower it, and at 0.5 and 1 it does, by a little.
#
# What we had expected and did not find: for the worst client the medians' loss does not grow with the
# shift, and it is no larger than its spread. (AP of one small bank rests on few frauds.) Yet this
# client is the one to think about. It is worst because it is unlike the others, and to a robust rule
# that is what an attacker looks like.

# %% [markdown]
# ## 13.9 The server cannot look
#
# Every defence so far compares single updates. Chapter 07 made sure that **nobody sees a single
# update**. Both are about trust, in opposite directions, and with a plain sum you cannot have both
# in full. A secure sum is a mean, and has the mean's breakdown point: zero, one attacker is enough. (There
# are protocols that compare updates in secret. They cost far more.) What is left?
#
# **A norm bound at the client.** Every bank is asked to shorten its update before it masks it. That is
# a promise. The order of our wrappers says who keeps it: an attack *outside* the bound is cut; an attack
# *inside* it ignores the bound.

# %%
from fedlab_utils.privacy.dp import DPMean
from fedlab_utils.privacy.secure import SecureGroups


def under_attack(attackers):
    """Defences that fit a secure sum, each attacked by replacement; and the sum without attack."""
    late = {"attack": ModelReplacement(), "clients": attackers, "begins": 5}
    return {
        "no attack": fl.Mean(),
        "secure sum": Attacked(fl.Mean(), **late),
        "bound, promised": NormBound(2.0, inner=Attacked(fl.Mean(), **late)),
        "bound, proved": Attacked(NormBound(2.0, inner=fl.Mean()), **late),
        "clip and noise": Attacked(DPMean(clip=2.0, noise_multiplier=0.1), **late),
        "10 secure groups of 2": Attacked(SecureGroups(10), **late),
        "5 secure groups of 4": Attacked(SecureGroups(5), **late),
        "median, nothing secret": Attacked(CoordinateMedian(), **late),
    }


# %% [markdown]
# Cryptography can turn the promise into a fact: the client adds a **zero-knowledge proof** that the
# update behind the mask is short enough, and the server checks it without learning more. RoFL does
# that for norms, EIFFeL for any rule that looks at one update at a time, and Prio with a few servers
# that do not work together. The proofs are costly, and they judge each update by itself: none can say
# that it is *unlike the others*. We do not build one; "bound, proved" shows what it would achieve.
#
# **Clipping and noise** of differential privacy (chapter 06) limit what one client can do to the
# model, so they limit attackers too. The clipping is again done by the clients, so it is again a
# promise; "clip and noise" takes it as kept, with little noise (its epsilon would be useless as
# privacy).
#
# **Groups.** Divide the banks into groups, make a secure sum in each, and take the *median of the
# groups' means* (Velicheti and others, 2021). Two attackers spoil at most two groups; five groups are
# enough.

# %%
found = []
defended = list(under_attack(bad[:2]))
for seed, name in tqdm([(s, n) for s in range(3) for n in defended], desc="secure"):
    members, start, four = banks(seed)
    two = four[:2]
    poisoned = attacks.poison(members, testing, two, share=0.2, seed=seed)
    data, rule = members if name == "no attack" else poisoned, under_attack(two)[name]
    run = fl.fit(start, data, aggregator=rule, **{**options, "seed": seed})
    won = attacks.backdoor_success(run.model, members, testing, attackers=two, seed=seed)
    found.append(("two attackers", name, won))

# %%
secure_table = detect.format_summary(attacks.summarise_success(found)).droplevel("attack")
secure_table = secure_table.drop(columns="alarm_rate")
save_results("13", "Payments: replacement by two of twenty banks under secure sums", secure_table)
secure_table

# %% [markdown]
# The promised bound is worth nothing: the attacker does not keep it. The proved one does what a norm
# bound can do; clipping with noise does somewhat less. The groups are robust although nobody has seen
# a single update. Groups of two come near the median that sees everything. Groups of four are weaker:
# two bad groups of five pull harder at a median than two bad banks of twenty. None brings the missed
# share down to what it is without an attack.
#
# And what do the groups reveal? The server sees a group's mean, and it knows the mean of all, so it
# sees what is special about the group. How much of that is one bank? The cosine between what is
# special about the group and what is special about a member:

# %%
plain = fl.Mean(weighted=False)
special = updates - plain.aggregate(updates, equal)

# %%
for count in (20, 10, 5, 2):
    groups = np.array_split(np.random.default_rng(0).permutation(20), count)
    means = [special[g].mean(dim=0) for g in groups]
    each = [
        torch.cosine_similarity(special[g], m[None]).mean()
        for g, m in zip(groups, means, strict=True)
    ]
    print(
        f"groups of {20 // count:2}: cosine {np.mean(each):.2f}; withstands {(count - 1) // 2} attackers"
    )

# %% [markdown]
# This is the trade in one table: robustness wants many groups, secrecy wants large ones. Groups of
# two hide little, and if one of the two works for the server, nothing. Against four of twenty you
# need nine groups, that is, groups of two. With *more clients* both get better: of 1,000 clients, 41
# groups of 24 withstand 20 attackers.
#
# Who draws the groups? Not the attackers, and better not the server, which could put one honest bank among
# its friends. Public randomness (a beacon, or a draw in which each bank has a part) settles that.

# %% [markdown]
# ## 13.10 Free riders
#
# Some clients do not attack. They want the model, and not the work. A **free rider** sends nothing,
# or noise, or, if it is clever, the difference of the last two global models: it is what all the
# others found, so it looks like the work of somebody quite ordinary.
#
# A server that sees updates can look for **signs of work**: the length; the cosine with the last
# global difference; the cosine with the other clients' mean. An honest client agrees with the others,
# but not *perfectly* with the last round. `Watched` shows each round to a log, and `ContributionLog`
# compares the clients' means over the rounds, in robust deviations (from the median, in units of the
# median deviation).

# %%
from fedlab_utils.federate import ContributionLog, Watched


def ride(rider, seed):
    """Train with four free riders; the log, and the names of those who rode."""
    members, start, riders = banks(seed)
    log = ContributionLog()
    rule = Watched(fl.Mean(), log)
    if rider is not None:
        rule = Attacked(rule, rider, riders)
    fl.fit(start, members, aggregator=rule, **{**options, "seed": seed})
    return log, riders


# %%
riders = {
    "nobody": None, "zero": attacks.FreeRider("zero"), "noise": attacks.FreeRider("noise"),
    "last": attacks.FreeRider("last", noise=0.1), "last, noisy": attacks.FreeRider("last", noise=1.0),
}  # fmt: skip
caught, seen = {}, {}
for name, rider in riders.items():
    logs = [ride(rider, seed) for seed in range(3)]
    seen[name] = logs[0][0].table()
    guilty = [len(set(log.suspects()) & set(who)) for log, who in logs]
    accused = [len(set(log.suspects()) - set(who)) for log, who in logs]
    caught[name] = {"found, of 12": sum(guilty) if rider else 0, "honest accused": sum(accused)}

# %%
caught = pd.DataFrame(caught).T
save_results("13", "Free riders found, three seeds with four riders each", caught)
caught

# %%
drawn = {name: seen[name] for name in ("noise", "last", "last, noisy")}
show(figures_robust.work(drawn, bad), name="free-riders")

# %% [markdown]
# All of them are found. Doing nothing shows in the length. Noise has nothing to do with anybody's
# work. A copy of the last difference has a perfect cosine with it, and a copy hidden in noise is
# found by a comparison: honest banks agree more with this round's work than with the last one's, and
# free riders the other way round.
#
# But look at the last column. Some honest bank is accused even where everybody works, because it is
# unlike the others. So treat the list as a reason to ask, not as a verdict. And a free rider that
# trains on a few of its rows may well pass; it does some work.
#
# Behind a secure sum none of this can be computed.

# %% [markdown]
# ## 13.11 And on real data
#
# Shuttle, 20 clients of different kinds (`Dirichlet`). Here the fraud is real: the anomalies fall
# into two groups, one with high values of the fifth sensor. The attackers have recorded half of that
# group, and train on it; the other half is the test. Three seeds.

# %%
shuttle_defences = {
    "mean": fl.Mean(), "median": CoordinateMedian(), "multi-Krum": MultiKrum(4),
}  # fmt: skip
slow = fl.SGD(lr=0.1, batch_size=64, momentum=0.9)


def sabotage(seed):
    """All situations and defences on one division of Shuttle, and the floors."""
    federation = fl.load("shuttle", partition=fl.Dirichlet(20, alpha=0.3), seed=seed)
    fifth = federation.features.index("f5")
    data, theirs, held_back = attacks.record(federation, lambda x: x[:, fifth] > 0, seed=seed)
    crew = data.names[:4]
    tampered = attacks.poison(data, theirs, crew, share=0.2, seed=seed)
    return data, tampered, held_back, crew


# %%
found = []
for seed in tqdm(range(3), desc="shuttle"):
    data, tampered, held_back, crew = sabotage(seed)
    start = fl.dense_autoencoder(data.n_features, seed=seed)
    settings = {"attackers": crew, "seed": seed}
    for name, rule in shuttle_defences.items():
        worlds = {"no attack": (data, rule), "poisoned rows": (tampered, rule)}
        worlds["replacement"] = (tampered, Attacked(rule, ModelReplacement(), crew, begins=5))
        for situation, (world, under) in worlds.items():
            run = fl.fit(
                start, world, rounds=8, local=slow, aggregator=under, progress=False, seed=seed
            )
            won = attacks.backdoor_success(run.model, data, held_back, **settings)
            found.append((situation, name, won))
    floors = {"untrained autoencoder": detect.UntrainedAutoencoder(start, seed), "row norm": detect.RowNorm(),
              "isolation forest (central)": detect.isolation_forest(data.pooled().x_train, seed)}  # fmt: skip
    for name, detector in floors.items():
        found.append(
            ("floor", name, attacks.backdoor_success(detector, data, held_back, **settings))
        )

# %%
shuttle_table = attacks.summarise_success(found).drop(columns=["alarm_rate"], level=0)
shuttle_table = detect.format_summary(shuttle_table)
save_results(
    "13",
    "Shuttle, Dirichlet clients: a backdoor for real anomalies, three seeds",
    shuttle_table,
    headline=True,
)
shuttle_table

# %% [markdown]
# With the mean, nearly none of the real anomalies in the attackers' group is missed without an
# attack, and nearly all of them under replacement, while the AP of the other anomalies hardly moves.
# Poisoned rows alone work on some divisions and fail on others: look at the spread. Median and
# multi-Krum stop all of it, and cost nothing. Why is it so much easier than on the payments? We can
# only guess: there the fraud was made of ordinary values, close to what honest banks teach; here it
# is far from all that honest clients have, so that the updates that teach it may stand apart too.
#
# And the floors: on Shuttle the row norm finds these anomalies about as well as the trained model
# (chapter 01), and no update can poison it. Where a floor is that good, the cheapest defence is to
# keep it running beside the model.

# %% [markdown]
# ## What we have built
#
# - A backdoor for autoencoders that needs no labels, and model replacement to open it in a few rounds.
# - Attacks as wrappers, `Attacked(inner, attack, clients)`: sign flip, scaling, noise, ALIE, inner product,
#   Sybils, free riders; and the order of wrappers as the threat model.
# - Robust aggregators, each with its breakdown point tested:
#
# | rule | withstands | looks at | price |
# | --- | --- | --- | --- |
# | median | any minority | coordinates | ignores rows; dull where clients differ |
# | trimmed mean | the f it was made for | coordinates | as the median |
# | Krum | f, if K ≥ 2f + 3 | distances | one client's work per round |
# | multi-Krum | f, if K ≥ 2f + 3 | distances | drops f + 2 clients per round |
# | geometric median | any minority | distances | as the median |
# | norm bound | limits, never excludes | lengths | slows the honest who have much to say |
# | cosine filter | a minority; or all but the trusted one | directions | a direction that all must share |
# | FoolsGold | Sybils only | likeness | silences honest clients that are alike |
#
# - Secure groups: a median over sums that nobody can open, with the trade written down.

# %% [markdown]
# ## Check yourself
#
# **An attacker cannot see the other updates. Is model replacement still possible?**
#
# <details><summary>Answer</summary>
# Yes. It only needs the factor (all rows over its own), which it can guess, and honest updates that
# are small. They are, once the model has nearly converged. That is why patient attackers come late.
# </details>
#
# **The median lies between honest values in every coordinate. Why can the backdoor still get in?**
#
# <details><summary>Answer</summary>
# Because "between honest values" leaves room, in thousands of coordinates, in every round. The
# attackers need not leave the hull: they pull the median to the side that suits them, as far as
# honest clients differ.
# </details>
#
# **Why does the package's median ignore the training rows?**
#
# <details><summary>Answer</summary>
# The number of rows is a claim of the client. A weighted rule gives the majority to whoever claims the
# majority of the rows. If somebody trustworthy counts the rows, weights are fine.
# </details>
#
# **Twenty clients, a secure sum in groups of four, three attackers. Is the median of the groups safe?**
#
# <details><summary>Answer</summary>
# No. Five groups withstand two spoiled ones. Three attackers sit in three different groups more often
# than not.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 13.1** (easy) Write `boost`: the factor of model replacement for a *weighted* mean.
# `rows` `[K]` are the training rows, `attackers` `[K]` says who is one (True). All attackers send the
# same update times this factor. Take the honest updates as zero.


# %% tags=["exercise"]
def boost(rows, attackers):
    """Return the factor that makes the weighted mean the attackers' update."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return rows.sum() / rows[attackers].sum()
    # END SOLUTION


check("13.1", boost)

# %% [markdown]
# **Exercise 13.2** (medium) Write `trimmed_mean` for numpy arrays, for every $f \ge 0$. If nothing
# would be left, raise a `ValueError`.


# %% tags=["exercise"]
def trimmed_mean(updates, f):
    """Return [P]: the mean of each coordinate without the f smallest and f largest values."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    if len(updates) <= 2 * f:
        raise ValueError("too few rows")
    return np.sort(updates, axis=0)[f : len(updates) - f].mean(axis=0)
    # END SOLUTION


check("13.2", trimmed_mean)

# %% [markdown]
# **Exercise 13.3** (medium) A server may learn the distances between updates and nothing else (some
# protocols offer that). Write Krum for it: from squared distances `[K, K]` to the number of the
# chosen row.


# %% tags=["exercise"]
def krum_from_distances(distances, f):
    """Return the number of the row that Krum chooses."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    nearest = np.sort(distances, axis=1)[:, 1 : len(distances) - f - 1]
    return int(nearest.sum(axis=1).argmin())
    # END SOLUTION


check("13.3", krum_from_distances)

# %%
hint("13.3")

# %% [markdown]
# **Exercise 13.4** (medium) Write `secure_groups`: the smallest number of groups with which a median
# of groups withstands `f` attackers, wherever they sit, and how many members the smallest group then
# has. A group needs two members or more; if that cannot be, raise a `ValueError`.


# %% tags=["exercise"]
def secure_groups(clients, f):
    """Return (groups, members of the smallest group)."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    groups = 2 * f + 1
    if clients < 2 * groups:
        raise ValueError("too few clients")
    return groups, clients // groups
    # END SOLUTION


check("13.4", secure_groups)

# %% [markdown]
# **Exercise 13.5** (open) The bound of section 13.9 was 2. Try 0.5, 1, 4 and 10 for "bound, proved",
# with three seeds. What do the attackers gain or lose, and what happens to the other fraud? How would
# you choose a bound if no update may be seen? (Chapter 06 has an idea.)

# %% tags=["solution"]
for bound in (0.5, 1.0, 2.0, 4.0, 10.0):
    won = []
    for seed in range(3):
        members, start, four = banks(seed)
        data = attacks.poison(members, testing, four[:2], share=0.2, seed=seed)
        rule = Attacked(NormBound(bound, inner=fl.Mean()), ModelReplacement(), four[:2], begins=5)
        run = fl.fit(start, data, aggregator=rule, **{**options, "seed": seed})
        won.append(
            attacks.backdoor_success(run.model, members, testing, attackers=four[:2], seed=seed)
        )
    missed, rest = np.mean([(w.missed, w.ap_other) for w in won], axis=0)
    print(f"bound {bound:4}: missed {missed:.2f}, AP of other fraud {rest:.3f}")

# %% [markdown] tags=["solution"]
# The best bound here lies in the middle. A small one holds back everybody: the model learns too
# little to find any fraud, so the attackers' is missed as well. A large one hardly binds the
# attackers. Without seeing updates, clients can each tell one noisy bit, "mine was longer than the bound",
# in a secure sum, and the server moves the bound towards the median: `AdaptiveClip` in chapter 06. (Attackers
# may lie about their bit, but it is only one bit each.)

# %% [markdown]
# ## Further reading
#
# - P. Blanchard and others, [Machine Learning with Adversaries: Byzantine Tolerant Gradient
#   Descent](https://arxiv.org/abs/1703.02757) (2017): Krum.
# - D. Yin and others, [Byzantine-Robust Distributed Learning](https://arxiv.org/abs/1803.01498)
#   (2018): median and trimmed mean, with rates.
# - K. Pillutla, S. Kakade, Z. Harchaoui, [Robust Aggregation for Federated
#   Learning](https://arxiv.org/abs/1912.13445) (2019): the geometric median.
# - E. Bagdasaryan and others, [How To Backdoor Federated Learning](https://arxiv.org/abs/1807.00459)
#   (2018).
# - G. Baruch, M. Baruch, Y. Goldberg, [A Little Is Enough](https://arxiv.org/abs/1902.06156) (2019),
#   and C. Xie, S. Koyejo, I. Gupta, [Fall of Empires](https://arxiv.org/abs/1903.03936) (2019): quiet
#   attacks.
# - Z. Sun and others, [Can You Really Backdoor Federated Learning?](https://arxiv.org/abs/1911.07963)
#   (2019): norm bounds.
# - C. Fung, C. Yoon, I. Beschastnikh, [Mitigating Sybils in Federated Learning
#   Poisoning](https://arxiv.org/abs/1808.04866) (2018): FoolsGold.
# - X. Cao and others, [FLTrust](https://arxiv.org/abs/2012.13995) (2021): a trusted direction.
# - S. P. Karimireddy, L. He, M. Jaggi, [Learning from History](https://arxiv.org/abs/2012.10333)
#   (2021): centred clipping; [Byzantine-Robust Learning on Heterogeneous Datasets via
#   Bucketing](https://arxiv.org/abs/2006.09365) (2022).
# - J. Lin, M. Du, J. Liu, [Free-riders in Federated Learning](https://arxiv.org/abs/1911.12560)
#   (2019).
# - R. Velicheti, D. Xia, O. Koyejo, [Secure Byzantine-Robust Distributed Learning via
#   Clustering](https://arxiv.org/abs/2110.02940) (2021): secure groups.
# - L. Burkhalter and others, [RoFL](https://arxiv.org/abs/2107.03311) (2021); A. Roy Chowdhury and
#   others, [EIFFeL](https://arxiv.org/abs/2112.12727) (2022); H. Corrigan-Gibbs, D. Boneh,
#   [Prio](https://arxiv.org/abs/1703.06255) (2017): proofs about what nobody sees.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at "the rule withstands the attack, so the model is safe". Let them
#   read the median's column of section 13.7 once more: withstanding means *bounded*, not *unharmed*.
#   And at wrappers: draw the pipeline from the client to the server, and put a mask where the
#   attacker stands.
# - **What to ask:** "Your bank is unlike the others. Do you want a robust server?" and "Which of
#   these defences still work if you may not look at a single update?"
# - **What to play:** everybody writes a number, two liars collude, and the class computes mean and
#   median; then again with closed envelopes in groups.
# - **What to skip:** Krum's derivation; FoolsGold; section 13.10 for a group that trusts its members
#   to work.
#
# </details>
