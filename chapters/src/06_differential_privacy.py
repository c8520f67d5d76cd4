# %% [markdown]
# # 06 · Differential privacy
# *What does a model tell about a single payment, or a whole bank, and how do you put a number on it?*
#
# {{badges}}
#
# You will
#
# - **attack** a model and find out which rows it was trained on;
# - **derive** how much noise hides one row in a sum, and **bound** the sensitivity by clipping;
# - **account** for thousands of noisy steps, with an accountant that you write yourself;
# - **train** with DP-SGD, each client on its own rows, in the order epsilon, noise, training, statement;
# - **measure** what privacy costs, beside the success of the same attack;
# - **distinguish** the protection of a record from that of a whole client, and the places where
#   noise can be added.
#
# You need: chapters 01 to 03 (average precision, floors, federated averaging, the update matrix
# and the gradient by hand).
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"] extras="privacy"
# The build writes this cell.

# %% [markdown]
# ## 6.1 A model that remembers
#
# In chapter 03 rows stayed at their bank, and weights left it. Is that enough? Take a small bank with
# a hundred payments, which trains for long. An attacker gets the model, and some payments about
# which he would like to know: *was this one in the training data?*
#
# That is **membership inference**. The attacker here trains models of the same kind himself (shadow
# models), on payments that he has, those in question among them, and learns how the loss of a row
# differs with and without it. We judge him like a detector, by how many members he finds at one false
# alarm in a hundred.

# %%
import numpy as np
import pandas as pd
import torch

import fedlab_utils as fl
from fedlab_utils.attacks.membership import membership_inference
from fedlab_utils.attacks.trainers import demo_setting
from fedlab_utils.course import check, figures, figures_dp, hint, save_results, show, show_error
from fedlab_utils.privacy import dp

torch.set_num_threads(1)

# %%
small_bank = demo_setting()  # 100 of 400 payments, the usual model, 100 epochs
before = membership_inference(small_bank.train_many, small_bank.pool, members=small_bank.members)
before.to_frame()[["AUC", "TPR at 1% FPR"]].round(3)

# %% [markdown]
# The last attack is the strongest. Most of the members are found with hardly a false alarm, from a
# model alone! The payments never left the bank, but the model carries them out.
#
# Could we not just look whether this attack works, and be calm if it does not? A better attack
# may come tomorrow. We want a promise that holds for **every** attack. That is differential privacy.

# %% [markdown]
# ## 6.2 One sum, one payment
#
# Begin with the smallest release that there is: a bank tells how many of its payments were made at
# night. One payment changes the count by at most 1: this is the **sensitivity**. If the bank adds
# normal noise of standard deviation $\sigma$, then what comes out with and without your payment are
# two bell curves, one sensitivity apart. **Noise multiplier** is $z$ = noise / sensitivity.

# %%
show(figures_dp.two_bells(noise_multiplier=1.5, epsilons=[1, 2]), name="06_two_bells")

# %% [markdown]
# Whoever sees the output 0.5 learns nothing about you: both curves have the same height there. Far to
# the right, "with" is more plausible. The ratio of the two heights says how much is learned. A release
# $M$ is $(\varepsilon, \delta)$-**differentially private** if for all data $D$ and $D'$ that differ by
# one member, and for every set $S$ of outputs,
#
# $$ P[M(D) \in S] \le e^{\varepsilon}\, P[M(D') \in S] + \delta. $$
#
# $\varepsilon$ limits the ratio: this is the band in the right half. The line leaves the band, because
# a normal distribution has tails; $\delta$ pays for these tails. For the normal distribution the
# smallest $\delta$ is known exactly:
#
# $$ \delta = \Phi\!\left(\tfrac{1}{2z} - \varepsilon z\right)
#    - e^{\varepsilon}\, \Phi\!\left(-\tfrac{1}{2z} - \varepsilon z\right) $$

# %%
from scipy.stats import norm as normal


def delta_of(z, epsilon):
    """The delta of one Gaussian sum with noise multiplier z."""
    return normal.cdf(1 / (2 * z) - epsilon * z) - np.exp(epsilon) * normal.cdf(
        -1 / (2 * z) - epsilon * z
    )


# %%
for z in (0.5, 1.5, 4.0):
    same = np.isclose(delta_of(z, 1.0), dp.gaussian_delta(z, 1.0))
    print(
        f"noise multiplier {z}: delta = {delta_of(z, 1.0):.2g} at epsilon 1; as the package: {same}"
    )

# %% [markdown]
# Read it the other way round: **first choose epsilon, then solve for the noise.** $\delta$ is the
# probability that the promise leaves out, so it must be far below 1 / (number of members). What does
# the promise mean for an attacker with one false alarm in a hundred? His true alarms are bounded:

# %%
rows = []
for epsilon in (0.1, 1.0, 2.0, 8.0):
    rows.append(
        {
            "epsilon": epsilon,
            "noise multiplier": dp.gaussian_noise(epsilon, delta=1e-5),
            "finds at most": dp.attack_bound(epsilon, 1e-5, false_positive_rate=0.01),
        }
    )
pd.DataFrame(rows).round(3)

# %% [markdown]
# With $\varepsilon = 0.1$ no attack in the world is much better than guessing. With $\varepsilon = 8$
# the bound allows nearly everything. That does not mean that an attack exists; it means that this
# epsilon alone *proves* nothing against this attacker. Keep this table in mind when somebody calls 8
# "strong".

# %% [markdown]
# ## 6.3 Sensitivity and clipping
#
# A gradient is not a count. One strange payment can have a gradient of any length, so a sum of
# gradients has no sensitivity at all. The cure is to **clip**: shorten every vector to a norm of
# at most $C$.
#
# $$ \bar g = g \cdot \min\left(1, \frac{C}{\lVert g \rVert}\right) $$


# %%
def clip(vectors, bound):
    """Shorten the rows of `vectors` [n, P] to a norm of at most `bound`."""
    factor = bound / vectors.norm(dim=1, keepdim=True)
    return vectors * factor.clamp(max=1.0)


# %%
draw = torch.Generator().manual_seed(0)
gradients = torch.randn(200, 50, generator=draw) / 50**0.5
print("as the package:", np.allclose(clip(gradients, 0.9), dp.clip_rows(gradients, 0.9)[0]))


# %%
def private_sum(vectors, bound, noise_multiplier, seed=0):
    """The sum [P] of clipped rows, with noise that hides any one of them."""
    sensitivity = "???"
    noise = torch.randn(vectors.shape[1], generator=torch.Generator().manual_seed(seed))
    return clip(vectors, bound).sum(dim=0) + noise_multiplier * sensitivity * noise


with show_error(TypeError):
    private_sum(gradients, 1.0, noise_multiplier=2.0)

# %% [markdown]
# The hole is the question: by how much can the sum move if one row is added or removed? After
# clipping, by a vector of norm at most $C$.


# %%
def private_sum(vectors, bound, noise_multiplier, seed=0):
    """The sum [P] of clipped rows, with noise that hides any one of them."""
    sensitivity = bound
    noise = torch.randn(vectors.shape[1], generator=torch.Generator().manual_seed(seed))
    return clip(vectors, bound).sum(dim=0) + noise_multiplier * sensitivity * noise


# %%
strange = torch.cat([gradients, torch.full((1, 50), 1e6)])
for name, release in (
    ("plain sum", lambda v: v.sum(dim=0)),
    ("clipped", lambda v: private_sum(v, 1.0, 2.0)),
):
    moved = (release(strange) - release(gradients)).norm()
    print(f"{name}: one strange row moves it by {moved:.3g}")

# %% [markdown]
# Two traps are hidden in this cell. The *mean* would divide by the number of rows, and that number
# is different with and without you; so one divides by a fixed, expected number. And "differ by one
# member" was *adding or removing* it. If neighbours are data sets in which one member is *replaced*,
# the sum can move by $2C$. An epsilon without its neighbours is half a statement.

# %% [markdown]
# ## 6.4 Many sums: the account
#
# Training releases thousands of sums, one a step. If each costs $\varepsilon$, do $T$ of them cost
# $T\varepsilon$ (and $T\delta$)? That is true, and wasteful: noise of different steps rarely conspires.
# A better book is kept with the **Rényi divergence** of some order $\alpha > 1$ between the outputs
# without the member ($Q$) and with it ($P$):
#
# $$ D_\alpha = \frac{1}{\alpha - 1} \log \mathbb{E}_{x \sim Q}
#    \left[ \left( \frac{P(x)}{Q(x)} \right)^{\alpha} \right] $$
#
# It simply **adds up** over steps, and turns back into $\varepsilon$ at the end. And there is a second
# gain: if a step uses each row only with probability $q$, then the member is not even there most of
# the time, and $P = (1-q)\,\mathcal N(0, z^2) + q\,\mathcal N(1, z^2)$. Here it is, integral and all:


# %%
def divergence(order, z, rate):
    """The Rényi divergence of one sum over a sample at this rate."""
    x = np.arange(-12 * z, order + 12 * z, z / 100)
    without = np.exp(-(x**2) / (2 * z**2))
    ratio = 1 - rate + rate * np.exp((2 * x - 1) / (2 * z**2))
    return np.log((without * ratio**order).sum() / without.sum()) / (order - 1)


# %%
from fedlab_utils.privacy.dp.accounting import ORDERS

ours = [divergence(order, 1.2, 0.02) for order in ORDERS[:100]]
print("as the package:", np.allclose(ours, dp.rdp(1.2, 0.02)[:100], rtol=1e-6))

# %% [markdown]
# From a divergence at order $\alpha$ follows an $\varepsilon$. Every order gives a valid one, so we take
# the smallest:
#
# $$ \varepsilon = \min_\alpha \left( T D_\alpha + \log\frac{\alpha - 1}{\alpha}
#    - \frac{\log \delta + \log \alpha}{\alpha - 1} \right) $$


# %%
def epsilon_of(z, rate, steps, delta):
    """The epsilon of all steps together."""
    a = np.array(ORDERS[:100])
    total = steps * np.array([divergence(order, z, rate) for order in a])
    return (total + np.log1p(-1 / a) - np.log(delta * a) / (a - 1)).min()


# %%
release = dp.Release(noise_multiplier=1.2, rate=0.02, steps=1000)
print(
    f"ours {epsilon_of(1.2, 0.02, 1000, 1e-5):.4f}, package {dp.epsilon_spent(release, 1e-5):.4f}"
)

# %% [markdown]
# An accountant with a bug is worse than none, so we ask two others. Google's `dp-accounting` has the
# same method, and a sharper one that follows the whole distribution of the privacy loss (PLD):

# %%
from dp_accounting import dp_event
from dp_accounting.rdp import RdpAccountant

theirs = RdpAccountant()
theirs.compose(dp_event.PoissonSampledDpEvent(0.02, dp_event.GaussianDpEvent(1.2)), 1000)
print(f"dp-accounting, RDP: {theirs.get_epsilon(1e-5):.4f}")
print(f"dp-accounting, PLD: {dp.epsilon_spent(release, 1e-5, accountant='pld'):.4f}")

# %%
steps = [1, 10, 100, 1000, 10000]
one = dp.epsilon_spent(dp.Release(1.2), 1e-5)
ways = {"sum of the steps' epsilons": [one * t for t in steps]}
ways["Rényi"] = [dp.epsilon_spent(dp.Release(1.2, 1.0, t), 1e-5) for t in steps]
ways["Rényi, samples of 2%"] = [dp.epsilon_spent(dp.Release(1.2, 0.02, t), 1e-5) for t in steps]
show(
    figures_dp.budgets({name: (steps, values) for name, values in ways.items()}), name="06_account"
)

# %% [markdown]
# The same noise, counted in three ways, and the axes are logarithmic. Nothing about the training has
# changed between the curves, only the quality of the book-keeping, and the sampling.
#
# Now the question that you have in practice: *I can spend $\varepsilon$; how much noise do I need?*
# More noise is always cheaper, so bisect:


# %%
def noise_for(epsilon, delta, rate, steps):
    """The smallest noise multiplier that is enough, by bisection."""
    low, high = 0.3, 50.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        too_expensive = dp.epsilon_spent(dp.Release(middle, rate, steps), delta) > epsilon
        low, high = (middle, high) if too_expensive else (low, middle)
    return high


# %%
print(
    f"ours {noise_for(2.0, 1e-5, 0.02, 1000):.3f}, package {dp.noise_for_epsilon(2.0, 1e-5, 0.02, 1000):.3f}"
)

# %% [markdown]
# ## 6.5 DP-SGD: every row is clipped
#
# A step of **DP-SGD** is a private sum of gradients. Every row takes part by its own coin; each
# row's gradient is clipped; noise is added to the sum; the sum is divided by the *expected* number
# of rows. So we need the gradient of every single row, and its norm:

# %%
from torch.func import functional_call, grad, vmap

model = fl.dense_autoencoder(23, hidden=24, code=8, seed=0)
x = torch.from_numpy(small_bank.pool[:64])
parameters = {name: p.detach() for name, p in model.named_parameters()}


# %%
def loss_of_row(parameters, row):
    return (functional_call(model, parameters, (row,)) - row).square().mean()


of_rows = vmap(grad(loss_of_row), in_dims=(None, 0))(parameters, x)
matrix = torch.cat([g.flatten(1) for g in of_rows.values()], dim=1)
print(
    "one gradient per row:", tuple(matrix.shape), " norms:", matrix.norm(dim=1)[:4].numpy().round(3)
)

# %% [markdown]
# That works for any model, but it makes a matrix with as many rows as the batch, only to add them
# up. For dense layers there is a beautiful shortcut. In chapter 03 the gradient of a layer was
# $\delta^\top h$, with the layer's input $h$ and its back-propagated $\delta$. For a *single* row that is
# an outer product, and the norm of an outer product is the product of the norms:
#
# $$ \left\lVert \delta_i \otimes [h_i, 1] \right\rVert^2
#    = \lVert \delta_i \rVert^2 \left( \lVert h_i \rVert^2 + 1 \right) $$
#
# So all norms come from numbers that are there anyway, and no row's gradient is ever made.

# %%
inputs, outputs, h = [], [], x
for module in [*model.encoder, *model.decoder]:
    if isinstance(module, torch.nn.Linear):
        inputs.append(h)
        h = module(h)
        outputs.append(h)
    else:
        h = module(h)
deltas = torch.autograd.grad((h - x).square().mean(dim=1).sum(), outputs)
squares = [(d**2).sum(1) * ((h**2).sum(1) + 1) for d, h in zip(deltas, inputs, strict=True)]
norms = sum(squares).sqrt()
print("the same norms:", np.allclose(norms.detach(), matrix.norm(dim=1), rtol=1e-4))

# %% [markdown]
# Then scale each row of $\delta$ by its clipping factor, and one product per layer gives the sum of
# the clipped gradients: the stacked engine of chapter 03 does that for all clients at once.
# `DPSGD` is the solver. Here is one step of it, without noise, against the sum of our matrix:

# %%
from fedlab_utils.federate import RowStore
from fedlab_utils.federate.dpsgd import DPSGD

silent = DPSGD(lr=1.0, clip=0.2, noise_multiplier=0.0, sample_rate=1.0, steps=1)
store, weights = RowStore([x.numpy()], model), fl.flatten(model)
update, _ = silent.train("stacked", model, weights, store, np.array([0]), seed=0, round_=0)
print("the same step:", np.allclose(update[0], -clip(matrix, 0.2).sum(dim=0) / 64, atol=1e-6))

# %% [markdown]
# Opacus is PyTorch's library for this. It clips the same way, so we let it do the same work as a
# check, and as a race. (It builds the gradient of every row, and one model at a time.)

# %%
from fedlab_utils.privacy.dp import bench

race = pd.DataFrame(bench.measure(clients=10, repeats=1)).set_index("contestant")
race[["times Opacus", "largest deviation"]].round(6)

# %% [markdown]
# The deviation is what the weights differ by after eight steps without noise, as a share of the largest
# change of a weight (Opacus adds a millionth to every norm). The ratios are from one run on the machine
# that built this page.

# %% [markdown]
# ## 6.6 First epsilon, then the noise, then the training, then the statement
#
# Now for the ten banks. They are larger here than in the other chapters, because privacy is paid for
# in rows: the noise hides *one* row, whatever the number of the others, so with more of them it
# weighs less.
#
# Also the preparation looks at the data. The federated scaler is made of sums, and so is the
# federated threshold. We buy both from the same budget, with noise. Bounds must not come from the
# data; ours come from what the features mean (a sine lies between -1 and 1, the logarithm of an
# amount between 0 and 10).

# %%
raw = fl.load("payments", clients=10, customers=150, shift=0.6, seed=0, scaler=None)
around_zero = {"online": 1, "weekend": 1, "amount_vs_past": 6, "distance_vs_past": 6}
wide = [around_zero.get(n, 1 if "_sin" in n or "_cos" in n else None) for n in raw.features]
low = np.array([0 if w is None else -w for w in wide])
high = np.array([10 if w is None else w for w in wide])
scaler, scaler_release = dp.private_scaler([c.x_train for c in raw], low, high, noise_multiplier=4)
plain = fl.load("payments", clients=10, customers=150, shift=0.6, seed=0)

# %%
from dataclasses import replace

federation = replace(raw, clients=[client.scaled(scaler) for client in raw])
difference = np.abs(federation.pooled().x_train - plain.pooled().x_train).mean()
print(f"rows by bank: {federation.sizes}")
print(f"the private scaler moves a value by {difference:.4f} on average")
print(f"its epsilon alone: {dp.epsilon_spent(scaler_release, 1e-5):.3f}")

# %% [markdown]
# **First epsilon.** We allow $\varepsilon = 8$ at $\delta = 10^{-5}$ for everything. **Then the
# noise**, for all steps of all rounds at once, minus what the scaler has spent:

# %%
rate, steps, rounds, delta = 0.04, 60, 10, 1e-5


def solver(epsilon, also=()):
    """DP-SGD whose noise is solved for; an infinite epsilon clips without noise."""
    noise = 0.0
    if np.isfinite(epsilon):
        noise = dp.noise_for_epsilon(epsilon, delta, rate, steps * rounds, also=also)
    return DPSGD(1.0, clip=0.5, noise_multiplier=noise, sample_rate=rate, steps=steps, momentum=0.9)


private = solver(8.0, also=[scaler_release])
print(f"noise multiplier: {private.noise_multiplier:.4f}")
print(f"without a scaler: {solver(8.0).noise_multiplier:.4f}")

# %% [markdown]
# The scaler alone costs a visible epsilon, and next to the training hardly anything: divergences add
# up, not epsilons.
#
# **Then the training**, in the `fit` of chapter 03:

# %%
options = {"rounds": rounds, "seed": 0, "progress": False}
run = fl.fit(model, federation, local=private, **options)
show(figures.curves({"epsilon 8": run.history.loss}, ylabel="Training loss"))

# %% [markdown]
# **The threshold** comes from noisy counts of calibration rows (chapter 02). A calibration row is not a
# training row, so it pays for the threshold only. **Then the statement:**

# %%
from fedlab_utils.detect.histogram import ScoreHistogram, score_edges

edges = score_edges(0.01, 100, per_decade=10)  # few bins: each one has its own noise
scores = [fl.reconstruction_error(run.model, client.x_calibration) for client in federation]
counts = [ScoreHistogram.of(s, edges) for s in scores]
threshold, threshold_release = dp.private_threshold(counts, alarm_rate=0.01, noise_multiplier=1.0)
alarms = np.mean(np.concatenate(scores) > threshold)
print(f"threshold {threshold:.3f}: {alarms:.2%} of the calibration rows are above it")

# %%
print(private.statement(federation.sizes, rounds, delta, also=[scaler_release, threshold_release]))

# %% [markdown]
# Read it line by line; a number without these lines is no guarantee. Look at what is *not* included,
# too: we chose the rate and the clip norm after some trials. Trials are releases, and a real bank
# would have to make them on public data, or pay for them.

# %% [markdown]
# ## 6.7 What it costs
#
# Three seeds, with new banks each; the same training with less and less noise; no noise but clipping;
# and plain SGD. Epsilon counts the training alone here; the scaler is the usual one, without noise.
# Floors and the isolation forest are beside them, as always.

# %%
reports = []
for seed in range(3):
    banks = fl.load("payments", clients=10, customers=150, shift=0.6, seed=seed)
    start = fl.dense_autoencoder(23, hidden=24, code=8, seed=seed)
    options = {"rounds": rounds, "seed": seed, "progress": False}
    models = {
        "federated, SGD": fl.fit(start, banks, local=fl.SGD(0.3, 1, 64, 0.9), **options).model
    }
    for epsilon in (2.0, 8.0, np.inf):
        name = f"DP-SGD, epsilon {figures_dp.name_of(epsilon)}"
        models[name] = fl.fit(start, banks, local=solver(epsilon), **options).model
    reports.append(fl.evaluate(models, banks, seed=seed))

# %%
from fedlab_utils.detect import format_summary

summary = fl.summarise(reports)
table = format_summary(summary)
save_results("06", "Payments: detection with record-level privacy", table, headline=True)
table

# %% [markdown]
# From below: epsilon 2 leaves the average precision not far above the floor. Epsilon 8 is well above
# it, and still loses nearly half of what plain SGD finds. The last step, from "no noise" to SGD, is the
# price of clipping (and of other steps and batches), and it is small. Look at AUC as well: with epsilon
# 8 it is that of SGD. The list as a whole is still in order; what noise destroys first is its top,
# where rare frauds must be told from rare normal payments.
#
# Nothing here is a law. With more rows at each bank, the same epsilon costs less (section 6.6 says
# why); with fewer, more. Compute the curve for *your* data before you promise an epsilon.

# %% [markdown]
# ## 6.8 The attack again
#
# Back to the small bank of section 6.1, whose model was an open book. The same attack, on the same
# rows; only the solver is another one. For a hundred rows $\delta$ is 0.001.


# %%
def small_bank_with(epsilon):
    """DP-SGD for many small banks at once, as the attack wants it."""
    rate, steps = 0.16, 600
    z = 0.0 if np.isinf(epsilon) else dp.noise_for_epsilon(epsilon, 1e-3, rate, steps)
    local = DPSGD(0.3, clip=0.5, noise_multiplier=z, sample_rate=rate, steps=steps, momentum=0.9)
    start = fl.flatten(small_bank.model)

    def train_many(parts, seed):
        store, everyone = RowStore(list(parts), small_bank.model), np.arange(len(parts))
        updates, _ = local.train("stacked", small_bank.model, start, store, everyone, seed, 0)
        return [fl.unflatten(start + update, small_bank.model) for update in updates]

    return train_many


# %%
after = {
    epsilon: membership_inference(
        small_bank_with(epsilon), small_bank.pool, members=small_bank.members
    ).attacks["LiRA online"]
    for epsilon in (8.0, 50.0, np.inf)
}
# %%
rows = {"SGD": before.attacks["LiRA online"]} | {
    f"DP-SGD, epsilon {figures_dp.name_of(e)}": result for e, result in after.items()
}
attack = pd.DataFrame(
    {
        name: {
            "attack's AUC": r.auc.mean(),
            "members found": r.tpr(0.01).mean(),
            "spread": r.tpr(0.01).std(ddof=1),
        }
        for name, r in rows.items()
    }
).T.round(3)
save_results("06", "Membership inference on a small bank", attack.rename_axis("training"))
attack

# %%
utility = {
    e: [r.table().loc[f"DP-SGD, epsilon {figures_dp.name_of(e)}", "AP pooled"] for r in reports]
    for e in (2.0, 8.0, np.inf)
}
means = summary["AP pooled"]["mean"]
levels = {"SGD": means["federated, SGD"], "untrained (floor)": means["untrained autoencoder"]}
found = {e: result.tpr(0.01) for e, result in after.items()}
show(figures_dp.utility_and_attack(utility, found, levels), name="06_utility_and_attack")

# %% [markdown]
# On the left what the ten banks lose, on the right what the small bank wins. Clipping alone does
# *nothing* against the attack. Noise all but ends it, at epsilon 50 already, where the bound of section
# 6.2 promises nothing: the bound is about the cleverest attack on the most exposed row, this attack is
# one attack on usual rows. Report both; neither replaces the other.
#
# And what is the small bank's private model worth?

# %%
from fedlab_utils.detect import average_precision

payments = fl.load("payments", seed=0).pooled()
parts = [small_bank.pool[first : first + 100] for first in (0, 100, 200)]
trainers = {"untrained": lambda parts, seed: [small_bank.model] * 3, "SGD": small_bank.train_many}
trainers["DP-SGD, epsilon 50"] = small_bank_with(50.0)
for name, train in trainers.items():
    errors = [fl.reconstruction_error(m, payments.x_test) for m in train(parts, 0)]
    aps = [average_precision(payments.y_test, e) for e in errors]
    print(f"{name}: average precision {np.mean(aps):.3f} ± {np.std(aps, ddof=1):.3f}")

# %% [markdown]
# It is no detector any more. A hundred rows cannot be hidden and learned from at the same time; this bank
# needs the others. That is what federation with privacy is for.
#
# The other attack of this part is the server's: from *one* update, recover the rows (gradient
# inversion). A client with five rows takes one step on them:

# %%
from fedlab_utils.attacks import invert_update, reconstruction_success

secret = small_bank.pool[:5]
store, weights = RowStore([secret], small_bank.model), fl.flatten(small_bank.model)
one_step = fl.SGD(lr=0.1, epochs=1, batch_size=None)
z = dp.gaussian_noise(epsilon=8.0, delta=1e-3)
hidden = DPSGD(lr=0.1, clip=0.5, noise_multiplier=z, sample_rate=1.0, steps=1)
for name, local in (("SGD", one_step), ("DP-SGD, epsilon 8", hidden)):
    update, _ = local.train("stacked", small_bank.model, weights, store, np.array([0]), 0, 0)
    guess = invert_update(small_bank.model, update[0], local=one_step, rows=5)
    success = reconstruction_success(secret, guess.rows)
    print(
        f"{name}: {success.recovered:.0%} of the rows recovered, relative error {success.error:.2f}"
    )

# %% [markdown]
# ## 6.9 Another unit: a whole client
#
# DP-SGD hides a *record*. Your records are not one: a customer has many payments, and a bank has
# thousands. Here is one private sum, whose noise was chosen for $\varepsilon = 1$ and one record. In
# the worst case the records of one person all push in the same direction, so for a person with $k$
# records the sensitivity is $k$ times as large, and the noise multiplier $z / k$:

# %%
z = dp.gaussian_noise(epsilon=1.0, delta=1e-5)
units = {
    "one payment": 1,
    "a customer with 10": 10,
    "a customer with 50": 50,
    "a bank with 2,000": 2000,
}
pd.Series(
    {who: dp.gaussian_epsilon(z / k, 1e-5) for who, k in units.items()}, name="epsilon"
).round(1)

# %% [markdown]
# The same release, the same noise. "epsilon = 1" was true, for a payment. If a *client* is a
# person, as on phones, the unit should be the client: whether it took part at all, with all of its
# rows. Then not gradients of rows are clipped but **updates of clients**, the rows of the update
# matrix. `DPMean` is the aggregator: clip, add with equal weights, noise, divide by the expected count.

# %%
from fedlab_utils.federate import Poisson, RoundContext

branches = fl.load("payments", partition=fl.IID(500), seed=0)
start = fl.dense_autoencoder(23, hidden=24, code=8, seed=0)
store, everyone = RowStore([c.x_train for c in branches], start), np.arange(500)
local = fl.SGD(lr=0.3, epochs=4, batch_size=16, momentum=0.9)
updates, _ = local.train("stacked", start, fl.flatten(start), store, everyone, 0, 0)
# %%
context = RoundContext(seed=0, round=0, clients=branches.names, population=500)
quiet = dp.DPMean(clip=1.0, noise_multiplier=0.0)
ours = private_sum(updates, 1.0, noise_multiplier=0.0) / 500
theirs = quiet.aggregate_round(updates, torch.ones(500), {}, context).update
print("as the package, without noise:", np.allclose(ours, theirs, atol=1e-6))

# %% [markdown]
# These are 500 branches of about 65 payments each. Why not our ten banks? Because the noise must hide
# a whole bank among ten. Compare what is hidden with what is left, in one round with $z = 1$:

# %%
norms = updates.norm(dim=1)
bound, parameters = float(norms.median()), updates.shape[1]
signal = clip(updates, bound).mean(dim=0).norm()
# %%
for clients in (10, 100, 500, 10000):
    noise = bound * parameters**0.5 / clients
    print(
        f"{clients:6} clients: the noise is {noise / signal:6.3f} times as long as the mean update"
    )

# %% [markdown]
# With ten clients the update drowns at any epsilon that protects anybody. Client-level privacy needs
# hundreds of clients, better thousands.
#
# Which clip norm? Too small, and updates are cut; too large, and the noise is larger than it need be.
# Norms shrink during training, and looking at them costs privacy too. **Adaptive clipping** pays for
# it: every client adds one bit, "mine was short enough", and the server moves the norm until the noisy
# share of these bits is one half.

# %%
paths = {}
for first in (0.05, 8.0):
    moving = dp.DPMean(first, noise_multiplier=1.0, adaptive=dp.AdaptiveClip(quantile=0.5))
    state, paths[f"from {first}"] = moving.start(parameters), []
    for round_ in range(60):
        state = moving.aggregate_round(
            updates, torch.ones(500), state, replace(context, round=round_)
        ).state
        paths[f"from {first}"].append(float(state["clip"]))
paths["median of the norms"] = [bound] * 60
show(figures.curves(paths, ylabel="Clip norm"))

# %% [markdown]
# Does a framework that others rely on do the same? TensorFlow Federated (chapter 05) has an aggregator
# for it, `DifferentiallyPrivateFactory`. It gets the same updates, clip norm and noise multiplier. Without noise
# the two means must be equal; with noise, only the deviation can be compared, since each draws its own.

# %%
from fedlab_utils.runtimes import tff

if tff.status().ready:
    fifty, few = updates[:50], replace(context, clients=branches.names[:50], population=50)
    compared = {}
    for z in (0.0, 1.0):
        one = dp.DPMean(1.0, z).aggregate_round(fifty, torch.ones(50), {}, few).update.numpy()
        compared[z] = one, tff.private_means(fifty, clip=1.0, noise_multiplier=z)[0]
    tff.stop_shared_kernel()
    print("without noise, largest difference:", f"{np.abs(np.subtract(*compared[0.0])).max():.0e}")
    noise = [mean - compared[0.0][0] for mean in compared[1.0]]
    print("deviation of the noise: ours {:.4f}, TFF's {:.4f}".format(*map(np.std, noise)))
    print(f"expected, clip / clients: {1 / 50:.4f}")
else:
    print("This comparison needs TFF's environment.", tff.status())

# %% [markdown]
# Now the training. Each branch takes part in a round by its own coin (`Poisson`), and that amplifies
# privacy as sampling of rows did. The history keeps the account:

# %%
rate, rounds, delta = 0.2, 60, 1e-4


def train_branches(data, epsilon, seed):
    """DP-FedAvg; an infinite epsilon clips without noise."""
    z = 0.0 if np.isinf(epsilon) else dp.noise_for_epsilon(epsilon, delta, rate, rounds)
    start = fl.dense_autoencoder(23, hidden=24, code=8, seed=seed)
    mean = dp.DPMean(clip=1.0, noise_multiplier=z, rate=rate, delta=delta)
    options = {"rounds": rounds, "clients_per_round": Poisson(rate), "seed": seed}
    return fl.fit(start, data, local=local, aggregator=mean, progress=False, **options), mean


# %%
run, mean = train_branches(branches, 8.0, seed=0)
run.history.to_frame()[["clients", "loss", "epsilon"]].iloc[[0, 1, 29, 59]].round(3)

# %%
print(mean.statement(rounds))

# %%
by_client = []
for seed in range(3):
    data = fl.load("payments", partition=fl.IID(500), seed=seed)
    models = {
        f"DP-FedAvg, epsilon {figures_dp.name_of(e)}": train_branches(data, e, seed)[0].model
        for e in (2.0, 8.0, np.inf)
    }
    by_client.append(fl.evaluate(models, data.pooled_federation(), seed=seed))
client_table = format_summary(fl.summarise(by_client))[["AP pooled", "AUC pooled", "prevalence"]]
save_results("06", "Payments, 500 branches: detection with client-level privacy", client_table)
client_table

# %% [markdown]
# The same epsilon protects more here than in section 6.7, a whole branch instead of a payment (if with
# a larger $\delta$, $10^{-4}$), and it costs less: five hundred clients are enough for the noise to be
# small. With epsilon 2 most of the average precision is still there; with 8 it is within the spread of
# "no noise". The two tables are not a fair race, since data and model updates differ; they show that
# the *number of units* decides.
#
# (On average a branch has less than one fraud to find, which makes no worst client, so the branches
# are pooled for this table.)

# %% [markdown]
# ## 6.10 Who adds the noise?
#
# So far the *server* added the noise of `DPMean`: whoever sees the models is held off, but the server
# itself sees every update. Two other places are possible.
#
# - **Local:** each client adds enough noise for itself (`LocalDP`). Nobody need be trusted. But $K$
#   noises add up, to $\sqrt K$ times as much; and the sensitivity is $2C$, since an update is *replaced*.
# - **Distributed:** each client adds a $K$-th part of the variance (`DistributedDP`), and only the
#   *sum* has enough noise. If a secure sum (chapter 07) shows the server nothing but the sum, this is
#   as good as a trusted server. A secure sum adds whole numbers, so updates are rounded, and the
#   noise is whole, too: differences of Poisson numbers (**Skellam**), whose sum is Skellam again.

# %%
ways = {
    "server": dp.DPMean(clip=1.0, noise_multiplier=2.0),
    "distributed": dp.DistributedDP(clip=1.0, noise_multiplier=2.0, fewest=500),
    "local": dp.LocalDP(clip=1.0, noise_multiplier=2.0),
}
wanted = clip(updates, 1.0).mean(dim=0)
for name, aggregator in ways.items():
    result = aggregator.aggregate_round(updates, torch.ones(500), {}, context)
    error = (result.update - wanted).norm() / wanted.norm()
    print(f"{name:11}: epsilon {result.epsilon:.2f}, error of the mean {error:.2f} of its length")

# %%
counts = [10, 100, 1000, 10000]
noise = {
    "local": {k: 2 * 2.0 / k**0.5 for k in counts},
    "server, or distributed": {k: 2.0 / k for k in counts},
}
show(figures_dp.noise_on_the_sum(noise), name="06_who_adds_noise")

# %% [markdown]
# Local noise falls with $\sqrt K$ only, and at 500 clients there is more noise than update. The limits
# of distributed noise are others. It counts on `fewest` honest clients: who drops out takes its share
# of the noise along, and who lies about it cannot be seen. Fewer clients than planned are refused:

# %%
from fedlab_utils.errors import FedlabError

with show_error(FedlabError):
    fewer = replace(context, clients=branches.names[:499])
    ways["distributed"].aggregate_round(updates[:499], torch.ones(499), {}, fewer)

# %% [markdown]
# ## 6.11 The fine print
#
# - **Where the numbers come from.** Until here the noise was drawn from a seed, so that you see the
#   same page as we do. Whoever knows the seed subtracts the noise. In earnest use the operating
#   system's generator: `DPSGD(..., noise=dp.SystemNoise())`, and the same for the aggregators.
# - **Floats are not real numbers.** Which floats can come out depends on what went in, and textbook
#   noise has been undone that way (Mironov 2012). `SystemNoise` makes this harder; whole numbers, as
#   in `DistributedDP`, avoid it.
# - **A draw of a fixed size is no coin.** The account is for `Poisson`. `fit` tells `DPMean` how the
#   clients were drawn, and `DPMean` refuses a fixed number in every round, or another rate.
# - **Others do it, too.** A test of this course runs the aggregators of TensorFlow Federated (chapter
#   05) on the same updates: same clipped mean, same amount of noise, same path of the adaptive clip.
# - **The history's losses** are for the simulation. Do not publish them.

# %%
earnest = replace(private, noise=dp.SystemNoise())
twice = [
    earnest.train("stacked", start, fl.flatten(start), store, everyone[:1], 0, 0)[0]
    for _ in range(2)
]
print("same seed, same noise:", torch.equal(*twice))

# %% [markdown]
# ## 6.12 And on real data
#
# The shuttle data of chapter 03: ten clients that know few modes each, about 22,000 training rows in
# all. Three seeds, record level, $\varepsilon = 1$.

# %%
z = dp.noise_for_epsilon(1.0, 1e-5, rate=0.05, steps=200)
reports = []
for seed in range(3):
    shuttle = fl.load("shuttle", partition=fl.Dirichlet(10, alpha=0.3), seed=seed)
    start = fl.dense_autoencoder(shuttle.n_features, seed=seed)
    options = {"rounds": 5, "seed": seed, "progress": False}
    private = DPSGD(0.3, clip=1.0, noise_multiplier=z, sample_rate=0.05, steps=40, momentum=0.9)
    models = {
        "federated, SGD": fl.fit(start, shuttle, local=fl.SGD(0.1, 1, 64, 0.9), **options).model,
        "DP-SGD, epsilon 1": fl.fit(start, shuttle, local=private, **options).model,
    }
    reports.append(fl.evaluate(models, shuttle, seed=seed))
table = format_summary(fl.summarise(reports))
save_results("06", "Shuttle: detection with record-level privacy", table)
table

# %% [markdown]
# Privacy at epsilon 1 looks free here. Do not be taken in: in the pooled AP the floor is as good, and
# the isolation forest is ahead of all, so there was nothing to lose. The worst client tells more. There
# learning helps, private training keeps part of the gain, and its spread says how unsure that part is.
# A privacy claim on data without a gap between floor and model is worth nothing, whatever the epsilon.

# %% [markdown]
# ## What we have built
#
# - The Gaussian mechanism, clipping, and an accountant that agrees with two others.
# - DP-SGD in the stacked engine: exact norms without making a single row's gradient.
# - A private scaler and a private threshold, and a statement that says what is included.
# - Client-level privacy with adaptive clipping; local and distributed noise.
# - The price of each, beside what the same attack finds.

# %% [markdown]
# ## Check yourself
#
# **Why is the sum divided by the expected number of rows, not by the true one?**
#
# <details><summary>Answer</summary>
# The true number is different with and without you, so it tells something about you. With a fixed
# divisor only the sum does, and its sensitivity is the clip norm.
# </details>
#
# **A step's sample happens to be empty. May the step be left out?**
#
# <details><summary>Answer</summary>
# No. That nobody was there would be visible: an attacker would know that you were not in this
# sample. The step adds its noise as always.
# </details>
#
# **You train ten models with epsilon 1 each, to choose the best. What is the epsilon of the best?**
#
# <details><summary>Answer</summary>
# Up to that of ten releases: the choice has looked at all of them. Account for all ten, choose on
# public data, or use a private selection.
# </details>
#
# **Each bank trains with DP-SGD at epsilon 2, on its own rows. What is the epsilon of ten banks?**
#
# <details><summary>Answer</summary>
# Still 2, for a record: it lies at one bank only. The other banks' releases depend on it only through
# the models that they were sent, and these are paid for already.
# Somebody with accounts at two banks has records at both, and these do add up.
# </details>
#
# **The attack fails. Is the model private?**
#
# <details><summary>Answer</summary>
# This attack fails, on these rows. A guarantee bounds all attacks; an attack only shows a lower bound.
# That is why both belong in a report.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 06.1** (easy) Write `clipped_sum`: the sum of rows, each shortened to a norm of at most
# `clip`. One more row, however long, must not move it by more than that.


# %% tags=["exercise"]
def clipped_sum(vectors, clip):
    """Return the sum [P] of the rows of `vectors` [n, P], each shortened to at most `clip`."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    norms = vectors.norm(dim=1, keepdim=True)
    return (vectors * (clip / norms.clamp_min(1e-12)).clamp(max=1.0)).sum(dim=0)
    # END SOLUTION


check("06.1", clipped_sum)

# %% [markdown]
# **Exercise 06.2** (medium) Without sampling the divergence of a Gaussian sum is
# $D_\alpha = \alpha / (2 z^2)$, and an older way back to epsilon is
# $\varepsilon = T D_\alpha + \log(1/\delta) / (\alpha - 1)$. Write `epsilon_of_sums`, which takes the best
# of the given orders.


# %% tags=["exercise"]
def epsilon_of_sums(noise_multiplier, steps, delta, orders):
    """Return the epsilon of `steps` Gaussian sums without sampling, by the best of `orders`."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    orders = np.asarray(orders, dtype=float)
    divergence = steps * orders / (2 * noise_multiplier**2)
    return (divergence + np.log(1 / delta) / (orders - 1)).min()
    # END SOLUTION


check("06.2", epsilon_of_sums)

# %% [markdown]
# **Exercise 06.3** (hard) Write `row_norms`: the norm of each row's gradient of one dense layer, weight
# and bias together, without making these gradients.


# %% tags=["exercise"]
def row_norms(delta, h):
    """Return the norms [B]; delta [B, out] belongs to the layer's output, h [B, in] is its input."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return (delta.square().sum(dim=1) * (h.square().sum(dim=1) + 1)).sqrt()
    # END SOLUTION


check("06.3", row_norms)

# %%
hint("06.3")

# %% [markdown]
# **Exercise 06.4** (easy) One private sum has the noise multiplier $z$ for a record. The noise stays as
# it is. What is the noise multiplier of the same sum for a person of $k$ records, in the worst case?


# %% tags=["exercise"]
def noise_for_a_person(noise_multiplier, records):
    """Return the noise multiplier with which a person of that many records is protected."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return noise_multiplier / records
    # END SOLUTION


check("06.4", noise_for_a_person)

# %% [markdown]
# **Exercise 06.5** (open) At a fixed epsilon and a fixed number of steps, does a higher sampling rate
# help or harm? It needs more noise, but it also divides the noise by more rows. Compute noise
# multiplier / rate for several rates before you train anything.

# %% tags=["solution"]
for q in (0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
    z = dp.noise_for_epsilon(8.0, 1e-5, rate=q, steps=800)
    print(f"rate {q:5}: noise multiplier {z:6.2f}, noise on the mean gradient ~ {z / q:6.1f}")

# %% [markdown] tags=["solution"]
# The noise on the mean falls with the rate, fast at first and then hardly any more. Larger samples are
# always better for privacy at a fixed number of *steps*; their price is computing time.

# %% [markdown]
# ## Further reading
#
# - C. Dwork and A. Roth, [The Algorithmic Foundations of Differential
#   Privacy](https://www.cis.upenn.edu/~aaroth/Papers/privacybook.pdf) (2014): the book.
# - M. Abadi and others, [Deep Learning with Differential Privacy](https://arxiv.org/abs/1607.00133)
#   (2016): DP-SGD.
# - I. Mironov, K. Talwar and L. Zhang, [Rényi Differential Privacy of the Sampled Gaussian
#   Mechanism](https://arxiv.org/abs/1908.10530) (2019): the account of section 6.4.
# - B. McMahan and others, [Learning Differentially Private Recurrent Language
#   Models](https://arxiv.org/abs/1710.06963) (2018), and G. Andrew and others, [Differentially Private
#   Learning with Adaptive Clipping](https://arxiv.org/abs/1905.03871) (2021): client level.
# - N. Agarwal, P. Kairouz and Z. Liu, [The Skellam Mechanism](https://arxiv.org/abs/2110.04995) (2021).
# - N. Carlini and others, [Membership Inference Attacks From First
#   Principles](https://arxiv.org/abs/2112.03570) (2022): the attack of section 6.1.
# - N. Ponomareva and others, [How to DP-fy ML](https://arxiv.org/abs/2303.00654) (2023): practice, and
#   what a statement should say.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** delta ("the probability that everything leaks" is a bad picture; it is
#   the part of the mass outside the band that $e^\varepsilon$ does not cover), and the unit. Ask of
#   every epsilon: *of what?*
# - **What to ask:** "Our bank has epsilon 0.1 per day. For how long?" and "Who would have to
#   collude so that distributed noise is too small?"
# - **What to skip:** the derivation of delta and the Rényi integral, for a group without calculus: the
#   figures of sections 6.2 and 6.4 carry the idea. Section 6.10 can wait until after chapter 07.
#
# </details>
