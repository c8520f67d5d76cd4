# %% [markdown]
# # 07 · Secure multi-party aggregation
# *How can a server add up vectors that it cannot see?*
#
# {{badges}}
#
# You will
#
# - **write** numbers with a point as integers in a ring, and **see** rounding and overflow;
# - **share** a secret among banks so that all of them together know it and no other group does;
# - **mask** updates with keys agreed in pairs, such that the masks cancel in the sum;
# - **recover** the sum when banks vanish, with Shamir's sharing;
# - **run** the full protocol in `fl.fit`, and **send** it replayed and forged messages;
# - **attack** what the server sees, and **state** what is protected, and what is not;
# - **measure** the cost, beside two other libraries.
#
# You need: chapter 03 (update matrix, weighted mean, `fl.fit`). Arithmetic modulo a number is
# explained where it is used.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"] extras="privacy"
# The build writes this cell.

# %% [markdown]
# ## 7.1 What the server sees today
#
# In a round of FedAvg the rows stay at the banks, and the server gets one update from each. Is an
# update harmless? Let ten banks each take one step on two rows, which is what many systems do at
# their smallest:

# %%
import numpy as np
import torch

import fedlab_utils as fl
from fedlab_utils.attacks import invert_update, reconstruction_success
from fedlab_utils.course import check, figures_secure, hint, save_results, show, show_error
from fedlab_utils.federate import RowStore, train_stacked

# %%
torch.set_num_threads(1)
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
model = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=0)
weights = fl.flatten(model)
one_step = fl.SGD(lr=0.3, epochs=1, batch_size=None)


def updates_on(rows):
    """The update of each bank after one step on its first rows; and these rows."""
    batches = [client.x_train[:rows] for client in federation]
    store = RowStore(batches, model)
    updates, _ = train_stacked(model, weights, store, np.arange(10), one_step, 0, 0)
    return updates, batches


updates, batches = updates_on(rows=2)
updates.shape

# %% [markdown]
# The server knows the model that it sent. It looks for rows that would have caused bank 3's update
# (this is the gradient inversion of chapter 06; here, too, we only use it):

# %%
found = invert_update(model, updates[2], local=one_step, rows=2)
plain = reconstruction_success(batches[2], found.rows)
print("true:     ", batches[2][0, :6].round(3))
print("recovered:", found.rows[plain.pairs[0], :6].round(3))
print(f"error, relative to the row's length: {plain.error:.0e}")

# %% [markdown]
# Two payments, all features, digit by digit. The rows did leave the bank, in another form. With more
# rows and more steps the attack gets harder, but "harder" is no guarantee.
#
# The server does not need single updates. It needs their **sum**. This chapter lets it have the
# sum, and nothing else.

# %% [markdown]
# ## 7.2 Numbers in a ring
#
# The trick will be to add random numbers that cancel. Cancel *exactly*: with floating-point numbers
# $(a + r) - r$ is not always $a$. So we go to integers modulo $2^{32}$, where addition wraps around
# like a clock, and every element is as good a mask as any other. numpy's `uint32` is this ring.
#
# A number $x$ becomes the integer $\mathrm{round}(x \cdot 2^f)$, with $f$ **fraction bits**; the
# upper half of the ring stands for the negative numbers.


# %%
def encode(x, f=16):
    return np.rint(np.asarray(x) * 2**f).astype(np.int64).astype(np.uint32)


def decode(ring, f=16):
    return ring.view(np.int32) / 2**f


numbers = np.array([0.5, -1.25, np.pi])
encode(numbers)

# %%
print("back:          ", decode(encode(numbers)))
print("rounding error:", np.abs(decode(encode(numbers)) - numbers), " half a step:", 2.0**-17)
print("sum in ring:   ", decode(encode(numbers) + encode([1, 1, 1])))

# %% [markdown]
# What does not fit, wraps around. Nobody tells you:

# %%
big = encode([20_000.0])
print("20,000 + 20,000 =", decode(big + big)[0])

# %% [markdown]
# Some libraries prevent this by *clipping* each number to a fixed range first, which is as silent.
# The package refuses instead. It knows how many clients will be added up, and keeps room for the sum
# (**headroom**): each of $K$ clients may send at most $(2^{31} - 1) / K$ in absolute value.

# %%
from fedlab_utils.privacy.secure import FixedPoint, FixedPointOverflow

fixed = FixedPoint(bits=32, fraction_bits=16)
print("as ours:", np.array_equal(fixed.encode(numbers), encode(numbers)))
with show_error(FixedPointOverflow):
    fixed.encode([20_000.0], clients=2, who="bank 3")

# %% [markdown]
# More fraction bits mean finer steps and less room. For ten clients:

# %%
import pandas as pd

formats = [FixedPoint(b, f) for b, f in [(32, 8), (32, 12), (32, 16), (32, 24), (64, 24), (64, 40)]]
pd.DataFrame(
    [[x.bits, x.fraction_bits, x.step, x.room(clients=10)] for x in formats],
    columns=["bits", "fraction bits", "step", "largest value of each of 10"],
).style.format({"step": "{:.1e}", "largest value of each of 10": "{:,.1f}"}).hide()

# %% [markdown]
# For a weighted mean a bank sends *rows times update*, and its rows as one more number. Only the two
# sums are needed. Since the product is rounded, not the update, few fraction bits are enough:

# %%
from fedlab_utils.privacy.secure import decode_weighted, encode_weighted

rows = federation.sizes
coarse = FixedPoint(32, fraction_bits=12)
vectors = [
    encode_weighted(u, n, coarse, clients=10, who=name)
    for u, n, name in zip(updates.numpy(), rows, federation.names, strict=True)
]
mean, total_rows = decode_weighted(sum(vectors), coarse)
wanted = np.average(updates.numpy().astype(float), axis=0, weights=rows)
print(f"rows in all: {total_rows}, largest error of the mean: {np.abs(mean - wanted).max():.0e}")

# %% [markdown]
# ## 7.3 Additive sharing
#
# Now the first way to add in secret. A bank splits its vector into three **shares**: two are random,
# and the last one is what is missing to the sum.

# %%
rng = np.random.default_rng(0)


def share(secret, parties):
    """Shares [parties, P] that add up to the secret [P]."""
    noise = rng.integers(0, 2**32, size=(parties - 1, len(secret)), dtype=np.uint32)
    last = secret - "???"
    return np.vstack([noise, last])


with show_error(TypeError):
    share(encode([0.5]), parties=3)

# %% [markdown]
# The hole is the sum of the noise, in the ring:


# %%
def share(secret, parties):
    """Shares [parties, P] that add up to the secret [P]."""
    noise = rng.integers(0, 2**32, size=(parties - 1, len(secret)), dtype=np.uint32)
    last = secret - noise.sum(axis=0, dtype=np.uint32)
    return np.vstack([noise, last])


shares = share(encode(numbers), parties=3)
print(shares)
print("sum:", decode(shares.sum(axis=0, dtype=np.uint32)))

# %% [markdown]
# Any two of the three rows are noise: whatever the secret is, some third row fits. That is security
# without any assumption about computers; only the random numbers must be good. (`default_rng` is
# not; it is here so that you see what we see. The package uses a cryptographic generator.)
#
# Sums of shares are shares of the sum. So three banks share out among themselves; each adds what
# it holds, and tells only that:

# %%
secrets = [encode([x]) for x in (1.5, -0.25, 2.0)]
dealt = np.stack([share(s, parties=3) for s in secrets])[:, :, 0]  # [from, to]
told = dealt.sum(axis=0, dtype=np.uint32)
print("bank k gets column k:\n", dealt)
print("each tells the sum of its column:", told)
print("sum of what was told:", decode(told.sum(keepdims=True, dtype=np.uint32))[0])

# %%
from fedlab_utils.privacy.secure import additive

theirs = additive.share(encode(numbers), parties=3)
print("the package's shares add up:", np.array_equal(additive.combine(theirs), encode(numbers)))

# %% [markdown]
# This is **secure multi-party computation** in its simplest form. MPyC is a library for it which
# can also multiply and compare. Three processes on this machine, each of which reads its own vector
# only, find the same sum:

# %%
from fedlab_utils.privacy.secure.rivals import mpyc_sum

three = [fixed.encode(u) for u in updates.numpy()[:3]]
mpyc = mpyc_sum([fixed.integers(v) for v in three])
print("MPyC's sum is ours:", np.array_equal(mpyc.total, fixed.integers(sum(three))))
print(f"{mpyc.processes} processes, {mpyc.bytes_sent / 1e3:.0f} kB between them")

# %% [markdown]
# Two things are wrong with it for us. Every bank sends a vector of full length to every other one.
# And if a single bank vanishes, its column is lost, and so is the sum.

# %% [markdown]
# ## 7.4 Masks that cancel
#
# Instead of exchanging long random vectors, two banks can agree on a short **key**, and stretch it
# to a long mask with a cipher. One adds the mask, the other subtracts it.
#
# How do two banks agree on a key, when all they say passes through the server? Each draws a secret
# key and shows the public one. From the own secret and the other's public key both compute the same
# number, and the server, which has only the public ones, cannot (Diffie and Hellman; here X25519).

# %%
from fedlab_utils.privacy.secure import KeyPair

bank_1, bank_2 = KeyPair(), KeyPair()
print("the same key:", bank_1.agree(bank_2.public, b"mask") == bank_2.agree(bank_1.public, b"mask"))
print("public key of bank 1:", len(bank_1.public), "bytes")

# %%
from fedlab_utils.privacy.secure.prg import stream

key = bank_1.agree(bank_2.public, b"mask")
print("32 bytes become a mask of any length:", stream(key, 4, np.dtype("uint32")))

# %% [markdown]
# Bank $u$ sends its vector $x_u$ with the masks of all its pairs. The bank with the lower number adds:
#
# $$ y_u = x_u + \sum_{v > u} m_{uv} - \sum_{v < u} m_{uv} $$


# %%
pairs = [KeyPair() for _ in federation]


def pair_mask(u, v, secret=None):
    """The mask of two banks; `secret` is the key pair of u, or one that somebody found."""
    own = secret or pairs[u]
    return stream(own.agree(pairs[v].public, b"mask"), len(vectors[0]), np.dtype("uint32"))


def masked(u):
    """What bank u sends."""
    y = vectors[u].copy()
    for v in range(len(pairs)):
        if v != u:
            y = y + pair_mask(u, v) if u < v else y - pair_mask(u, v)
    return y


# %%
uploads = [masked(u) for u in range(10)]
print("exact sum:", np.array_equal(sum(uploads), sum(vectors)))

# %% [markdown]
# In the sum every mask stands twice, with both signs. And each upload alone? Left, the numbers of
# bank 3's update in the ring: small positive ones at the left end, small negative ones at the right.
# Right, what it sends:

# %%
show(figures_secure.seen_and_sent(vectors[2], uploads[2]), name="masked-upload")

# %% [markdown]
# ## 7.5 When a bank vanishes
#
# Phones run out of battery, and banks have outages. Say bank 3 has agreed on keys, and then never
# sends its vector. The others' masks with bank 3 stay in the sum:

# %%
others = [u for u in range(10) if u != 2]
arrived = sum(uploads[u] for u in others)
without_3 = sum(vectors[u] for u in others)
print("sum now:  ", coarse.decode(arrived[:4]))
print("should be:", coarse.decode(without_3[:4]))

# %% [markdown]
# Someone must give the server bank 3's masks, that is, its secret key. But nobody may have
# it beforehand. So bank 3 **shares** its key in advance, in a way that any seven of ten holders can
# rebuild it, and six cannot: **Shamir's sharing**. The secret is the value at zero of a random
# polynomial, modulo a prime $p$; a share is its value at another point. Seven points fix a polynomial
# of degree six; with six points every value at zero is still possible.

# %%
p = 2**31 - 1  # a prime


def shamir_share(secret, threshold, holders):
    """One point of a random polynomial for each holder: {x: value at x}."""
    coefficients = [secret, *(int(c) for c in rng.integers(0, p, threshold - 1))]
    return {x: sum(c * x**i for i, c in enumerate(coefficients)) % p for x in range(1, holders + 1)}


points = shamir_share(secret=1234, threshold=3, holders=5)
points

# %% [markdown]
# To rebuild, Lagrange's formula for the value at zero: each share counts with a weight that depends
# on the points only,
#
# $$ f(0) = \sum_i y_i \prod_{j \ne i} \frac{x_j}{x_j - x_i} \pmod p. $$
#
# Dividing modulo a prime is multiplying by the inverse, `pow(number, -1, p)`.


# %%
def shamir_join(shares):
    """The value at zero of the polynomial through all given shares {x: y}."""
    secret = 0
    for x, y in shares.items():
        weight = 1
        for other in shares:
            if other != x:
                weight = weight * other * pow(other - x, -1, p) % p
        secret += weight * y
    return secret % p


three_of_them = {x: points[x] for x in (5, 1, 3)}
print("three shares:", shamir_join(three_of_them))
print("two shares:  ", shamir_join({x: points[x] for x in (5, 1)}))

# %% [markdown]
# The package does the same modulo the smallest prime above $2^{256}$, so that a share can hold a
# 32-byte key:

# %%
from fedlab_utils.privacy.secure import shamir

ours = shamir.join(points, 3, prime=p)
print("package on our shares:", ours, "  ours on the package's:", end=" ")
theirs = shamir.split(1234, 3, [1, 2, 3], prime=p)
print(shamir_join(theirs))

# %% [markdown]
# Now bank 3's secret key is among the ten. It vanishes, seven of the others give their share to the
# server, and the sum comes out:

# %%
held = shamir.split_key(pairs[2].secret, threshold=7, points=range(1, 11))
given = {x: held[x] for x in (1, 2, 4, 5, 6, 7, 8)}
rebuilt = KeyPair(shamir.join_key(given, threshold=7))

masks_of_3 = sum(pair_mask(2, u, rebuilt) if u < 2 else -pair_mask(2, u, rebuilt) for u in others)
print("exact sum of the nine:", np.array_equal(arrived - masks_of_3, without_3))

# %% [markdown]
# **And now the trap.** Bank 3 had not vanished. It was slow, and its upload arrives a second later.
# The server has the upload, and by now it has the key too:

# %%
print("the server reads bank 3's vector:", np.array_equal(uploads[2] + masks_of_3, vectors[2]))

# %% [markdown]
# The help for the vanished is a weapon. A dishonest server would simply *say* that bank 3 vanished.
# The repair (Bonawitz and others, 2017): every bank adds a second mask, its **self-mask**, from a
# seed of its own, and shares out the seed as well. At the end the server gets, for each bank,
#
# - the seed, **if** the vector arrived: the self-mask must come off, the pair masks cancel;
# - the pair key, **if not**: the pair masks must come off, and there is no self-mask to remove.
#
# **Never both.** Each bank gives one share of one of the two, once per round.

# %% [markdown]
# ## 7.6 The whole protocol
#
# | step | each bank sends | the server sends to each bank |
# |---|---|---|
# | keys | two public keys, signed | the keys of the others |
# | shares | shares of its two secrets, sealed for each other bank | the shares sealed for this bank |
# | upload | the masked vector | the list of those whose vector arrived |
# | consent | its signature under this list | the others' signatures |
# | reveal | one share for each bank: of the seed, or of the pair key | |
#
# Why two public keys? One is for masks, one for sealing. The mask key of a bank may be rebuilt by
# the server; what was sealed for that bank must stay closed. Why signatures? Since the server passes
# on the public keys, it could pass on its own instead. Each bank has a long-lived signing key that
# all others know (a *public-key infrastructure*; who sets it up is outside the protocol). And the
# signed list makes sure that a server does not tell different banks different stories.

# %%
from fedlab_utils.privacy.secure import Client, Identity, Server, invite, run_round

banks = [Identity(name) for name in federation.names]
setup = invite(banks, length=len(vectors[0]), round_=1)
print(f"threshold: {setup.threshold} of {setup.holders}")

# %%
messages = {}


def watch(data):
    """Note the size of each message that the server gets; the first byte is its kind."""
    messages.setdefault(data[0], []).append(len(data))


drop = {"bank 3": "upload", "bank 8": "reveal"}
outcome = run_round(banks, setup, vectors, drop=drop, watch=watch)
print("in the sum:", outcome.survivors)
print("exact:", np.array_equal(outcome.total, without_3))

# %% [markdown]
# Bank 3 vanished before its upload, and is not in the sum. Bank 8 vanished later, before it revealed
# anything, and is.
# The bytes, per bank:

# %%
names = ["keys", "shares", "upload", "consent", "reveal"]
for name, sizes in zip(names, messages.values(), strict=True):
    print(f"{name:8}{len(sizes):3} banks, {np.mean(sizes):8,.0f} bytes each")
print(f"a plain float32 update: {4 * len(weights):,} bytes")

# %% [markdown]
# If too many vanish, there is no sum, and there must not be half a one:

# %%
from fedlab_utils.privacy.secure import ProtocolError, TooFewClients

drop = dict.fromkeys(federation.names[:4], "upload")
with show_error(TooFewClients):
    run_round(banks, invite(banks, len(vectors[0]), round_=2), vectors, drop=drop)

# %% [markdown]
# Client and server are state machines: each knows which message it waits for, and answers once. We
# play three banks by hand, and misbehave.

# %%
crew = banks[:3]
setup = invite(crew, length=2, round_=3)
small = [np.array([k, 10 * k], np.uint32) for k in (1, 2, 3)]
clients = [Client(identity, setup, vector) for identity, vector in zip(crew, small, strict=True)]
server = Server(setup)


def refused(who, data):
    """Hand over a message that must be refused, and print by which error."""
    try:
        who.receive(data)
    except ProtocolError as error:
        print(f"{type(error).__name__}: {error}")


# %%
hello = [client.start() for client in clients]
forged = hello[1][:-1] + bytes([hello[1][-1] ^ 128])  # one bit of the signature
wrong_round = hello[1][:1] + (2).to_bytes(4, "little") + hello[1][5:]
for data in (forged, wrong_round, hello[1][:50]):
    refused(server, data)

# %%
for data in hello:
    server.receive(data)
refused(server, hello[0])  # once more
rosters = server.advance()
refused(server, hello[0])  # and once more, later
refused(clients[0], rosters[2])  # meant for another bank

# %% [markdown]
# The last one matters: it holds bank 1's own keys, as if they were somebody else's. Refused messages
# change nothing, and the round goes on. Until the server lies:

# %%
from fedlab_utils.privacy.secure.messages import Survivors

boxes = [client.receive(rosters[i]) for i, client in enumerate(clients, start=1)]
for data in boxes:
    server.receive(data)
inboxes = server.advance()
masked_vectors = [client.receive(inboxes[i]) for i, client in enumerate(clients, start=1)]
lie = Survivors(round=3, sender=0, survivors=frozenset({1, 2})).to_bytes()
refused(clients[2], lie)  # bank 3 knows that it has sent its vector
refused(clients[0], lie)  # and two survivors are too few here

# %% [markdown]
# And never both secrets: a bank that has signed one list of survivors does not sign another.

# %%
for data in masked_vectors:
    server.receive(data)
honest = server.advance()
consents = [client.receive(honest[i]) for i, client in enumerate(clients, start=1)]
refused(clients[0], lie)
for data in consents:
    server.receive(data)
agreements = server.advance()
for i, client in enumerate(clients, start=1):
    server.receive(client.receive(agreements[i]))
server.advance()
print("sum:", server.total)

# %% [markdown]
# ## 7.7 In `fit`
#
# `SecureMean` is an aggregator like `fl.Mean`. In every round it plays the whole protocol, message by
# message, as bytes. The data and the model are those of chapter 03.

# %%
from fedlab_utils.privacy.secure import RandomDrop, SecureMean

local = fl.SGD(lr=0.3, epochs=1, batch_size=64, momentum=0.9)
options = {"rounds": 3, "local": local, "progress": False}
run_plain = fl.fit(model, federation, **options)
run_secure = fl.fit(model, federation, aggregator=SecureMean(), **options)
gap = (fl.flatten(run_plain.model) - fl.flatten(run_secure.model)).abs().max()
print(f"largest difference of the weights after three rounds: {gap:.0e}")

# %%
for name, run in {"plain": run_plain, "secure": run_secure}.items():
    up, down = run.history.bytes_up[0], run.history.bytes_down[0]
    print(f"{name:7} {up / 1e3:7.1f} kB up, {down / 1e3:7.1f} kB down in a round")

# %% [markdown]
# And for the whole training, with three seeds? We add a run in which each bank vanishes in each round
# with some probability. For that run we lower the threshold to six of ten:

# %%
from fedlab_utils.detect import format_summary

unreliable = SecureMean(threshold=6, drop=RandomDrop(before=0.05, after=0.05))


def compare(federation, seed, rounds, local, secure, **shape):
    """Train with and without secure aggregation, and the usual company; evaluate."""
    start = fl.dense_autoencoder(federation.n_features, seed=seed, **shape)
    options = {"rounds": rounds, "local": local, "seed": seed, "progress": False}
    models = {
        "federated": fl.fit(start, federation, **options).model,
        **{
            name: fl.fit(start, federation, aggregator=aggregator, **options).model
            for name, aggregator in secure.items()
        },
        "local": fl.fit_local(start, federation, rounds=rounds, local=local, seed=seed),
        "central": fl.fit(start, federation.pooled_federation(), **options).model,
    }
    return fl.evaluate(models, federation, seed=seed)


# %%
variants = {"secure": SecureMean(), "secure, banks vanish": unreliable}
reports = []
for seed in range(3):
    payments = fl.load("payments", clients=10, shift=0.6, seed=seed)
    reports.append(compare(payments, seed, 20, local, variants, hidden=46, code=8))
table = format_summary(fl.summarise(reports))
save_results("07", "Payments with secure aggregation: mean and spread of three seeds", table)
table

# %% [markdown]
# *Federated* and *secure* are the same to the last digit shown: the masks cancel exactly, and what
# rounding leaves is too small to matter. Banks that vanish cost a little of the sum, not of its
# secrecy. (The lower threshold does cost something, if the server lies: section 7.8.)

# %% [markdown]
# ## 7.8 The attack again, and what is still visible
#
# The server of section 7.1 now gets a masked vector. It is honest but curious: it reads it as an
# update, and attacks:

# %%
seen = coarse.decode(uploads[2][:-1])
guess = invert_update(model, seen, local=one_step, rows=2, restarts=1, steps=5)
behind_mask = reconstruction_success(batches[2], guess.rows)
print(f"error: {behind_mask.error:.2f} (1 is the error of guessing the mean row)")

# %% [markdown]
# Nothing is left of the rows. (We cut the attack short; more effort does not help it against noise.)
# That agrees with theory: without the keys, the upload is as good as
# uniform noise. A statistical test looks for any deviation in its bytes (a small p-value, below
# 0.001, would be suspicious). Keys are new in every run, so this p-value is too:

# %%
from scipy.stats import chisquare

for name, vector in {"encoded": vectors[2], "masked": uploads[2]}.items():
    counts = np.bincount(vector.view(np.uint8), minlength=256)
    print(f"{name:8} p-value {chisquare(counts).pvalue:.2g}")

# %% [markdown]
# **But the server still gets the sum.** What if it attacks the sum? We let it: ten banks with two rows
# each, then with eight rows each. The sum is over all these rows.

# %%
errors = {"bank 3's update": plain.errors, "masked": behind_mask.errors}
for rows_each, effort in ((2, {}), (8, {"restarts": 1, "steps": 10})):
    each, true = updates_on(rows_each)
    n = 10 * rows_each
    guess = invert_update(model, each.mean(dim=0), local=one_step, rows=n, **effort)
    result = reconstruction_success(np.concatenate(true), guess.rows)
    errors[f"sum over {n} rows"] = result.errors
show(figures_secure.attacked(errors), name="attacked-sum")

# %% [markdown]
# From the sum over a few rows the server recovers **all of them**: it does not learn whose they are,
# but it has them. Over eighty rows, with the little effort we allow here, it finds none; but with more
# steps its guesses come nearer, so this is a matter of effort and not of proof. Secure aggregation
# hides *who said what*; it does not make the sum harmless. For that the sum needs noise: chapter 06.
# The two fit together: the banks add the noise in parts before they mask, so that even the server
# never sees the sum without it.

# %%
from fedlab_utils.privacy.dp import DistributedDP

noisy = DistributedDP(
    clip=0.5, noise_multiplier=1.0, fewest=10, resolution=2.0**12,
    inner=SecureMean(weighted=False, fraction_bits=12),
)  # fmt: skip
run = fl.fit(model, federation, aggregator=noisy, **options)
print(
    f"epsilon after each round: {[round(r.epsilon, 1) for r in run.history]}, delta {noisy.delta}"
)

# %% [markdown]
# So, plainly:
#
# - **Who is protected, from whom?** Each bank's update (the whole vector, and its number of rows), in
#   every single round, from a curious server, even if up to $t - 1$ other banks work with it. With the
#   default threshold, above two thirds, this also holds for a server that lies, as long as fewer than
#   a third of the banks work for it. (With six of ten it may have one helper.) Requirements: the public
#   signing keys are right, and the cipher and X25519 are not broken.
# - **What is visible?** To the server: the sum, the total of rows, who takes part, who vanishes and
#   when. To the banks: the new model, which is the sum again.
# - **From whom not?** If all banks but one work together, they subtract their own vectors from the
#   sum. A sum of two hides nothing from the other one.
# - **Over many rounds** every round's sum is visible. If bank 3 misses one round and little else
#   changes, the difference of two sums is mostly bank 3.
# - **What it makes harder:** nobody can look at a single update any more, so nobody can see that one
#   is poisoned (chapter 13). A bank can also break a round, by false shares for example; then the
#   round ends with an error, and no sum.

# %% [markdown]
# ## 7.9 What it costs
#
# Each bank talks to every other one, so the work grows with the square of the number of clients.
# Bell and others (2020) noticed that each client needs only some **neighbours**, in number about the
# logarithm of all clients: `SecureMean(neighbours=20)`. (That version of ours is for a server that
# is curious and follows the protocol: in a sparse graph signatures of the neighbours alone do not
# prove that all clients were told the same.)
#
# We add random vectors, a tenth of the clients vanishes before the upload, and one core does the
# work of everybody. For more, run `python -m fedlab_utils.privacy.secure.bench`.

# %%
from fedlab_utils.privacy.secure import bench

sizes = bench.sweep(clients=[10, 25, 50], parameters=[1_000, 10_000, 100_000], neighbours=12)
costs = pd.DataFrame(sizes)
costs[costs["parameters"] == 100_000].round(2)

# %%
show(figures_secure.cost(sizes), name="secure-aggregation-cost")

# %% [markdown]
# With many clients the time goes into keys and signatures, so it hardly depends on the parameters
# until there are very many of them. The bytes are the other way round: a masked parameter takes four
# bytes, like a plain one, and the keys and shares come on top, which matters for short vectors only.
# In a real federation the clients work side by side, and "ms per client" is what each of them pays.
#
# Last, the comparison: one weighted mean of five of our banks, by everybody. Flower has a protocol of the
# same family, SecAgg+; we run its server and its clients in this process.

# %%
from fedlab_utils.privacy.secure.rivals import flower_mean

five, five_rows = updates_on(rows=64)[0].numpy()[:5], rows[:5]
exact = np.average(five.astype(float), axis=0, weights=five_rows)
rounds = {}


def note(name, mean, up, seconds):
    """Keep one line of the comparison."""
    deviation = np.abs(np.asarray(mean) - exact).max() / np.abs(exact).max()
    rounds[name] = {"kB up": up / 1e3, "seconds": seconds, "deviation": deviation}


# %%
import importlib.metadata
import importlib.util
import time

began = time.perf_counter()
plain_mean = fl.Mean().aggregate(torch.from_numpy(five), torch.tensor(five_rows))
note("plain mean", plain_mean, 5 * 4 * len(weights), time.perf_counter() - began)

vectors = [encode_weighted(u, n, coarse, 5) for u, n in zip(five, five_rows, strict=True)]
outcome = run_round(banks[:5], invite(banks[:5], len(vectors[0]), round_=4), vectors)
note("secure mean", decode_weighted(outcome.total, coarse)[0], outcome.bytes_up,
     outcome.client_seconds + outcome.server_seconds)  # fmt: skip

# %%
mpyc = mpyc_sum([coarse.integers(v) for v in vectors])
mean, _ = decode_weighted(mpyc.total.astype(np.uint32), coarse)
note("MPyC, five processes", mean, mpyc.bytes_sent, mpyc.seconds)
has_flower = importlib.util.find_spec("flwr") is not None
if has_flower:
    flower = flower_mean(five, five_rows)
    note("Flower SecAgg+", flower.mean, flower.bytes_up, flower.seconds)
else:
    print('Flower is not installed: pip install "flwr>=1.41"')

# %%
comparison = pd.DataFrame(rounds).T
save_results("07", "One weighted mean of five banks", comparison.round(6))
comparison.style.format({"kB up": "{:,.0f}", "seconds": "{:.3f}", "deviation": "{:.0e}"})

# %% [markdown]
# All find the same mean. MPyC is a general tool: every party sends shares of the whole vector to every
# other one, and it could multiply them too. Flower's deviation comes from its quantisation: numbers
# are clipped to a fixed range (±8 unless you say otherwise) and rounded at random. In its favour: it
# is part of a complete system that runs on real networks. If you use it, choose the range with care.
#
# And look at the generator. A mask is only as good as what draws it. Here are two different keys of 32
# bytes, and the masks that each library makes of them:

# %%
one_key = bytes(range(32))
other_key = one_key[4:8] + one_key[:4] + one_key[8:]  # two groups of four bytes change places
masks = [stream(key, 1000, np.dtype("uint32")) for key in (one_key, other_key)]
print("ours, the same mask:  ", np.array_equal(*masks))
if has_flower:
    from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen

    masks = [pseudo_rand_gen(key, 2**32, [(1000,)])[0] for key in (one_key, other_key)]
    version = importlib.metadata.version("flwr")
    print(f"Flower {version}, the same mask:", np.array_equal(*masks))

# %% [markdown]
# The version of Flower used here folds the key to 32 bits and seeds NumPy's Mersenne Twister with them.
# All $2^{32}$ seeds can be tried on one machine, and a Mersenne Twister is no cipher. Versions
# change: run the cell with yours.

# %% [markdown]
# ## 7.10 And on real data
#
# Four hospitals with heart patients (chapter 02). One of them, Switzerland, has very few rows to
# train on. Its update is the one to worry about:

# %%
hospitals = fl.load("heart", seed=0)
dict(zip(hospitals.names, hospitals.sizes.tolist(), strict=True))

# %%
swiss = hospitals["Switzerland"].x_train
heart_model = fl.dense_autoencoder(hospitals.n_features, hidden=32, code=6, seed=0)
store = RowStore([client.x_train for client in hospitals], heart_model)
heart_weights = fl.flatten(heart_model)
heart_updates, _ = train_stacked(heart_model, heart_weights, store, np.arange(4), one_step, 0, 0)
position = hospitals.names.index("Switzerland")
found = invert_update(heart_model, heart_updates[position], local=one_step, rows=len(swiss))
patients = reconstruction_success(swiss, found.rows)
print(f"patients recovered: {patients.recovered:.0%}, relative error {patients.error:.0e}")

# %% [markdown]
# One step on all of its rows, and the server has every Swiss patient. With `SecureMean` it gets the sum
# over all four hospitals instead. And the detector?

# %%
gentle = fl.SGD(lr=0.02, momentum=0.9, batch_size=16)
reports = []
for seed in range(3):
    hospitals = fl.load("heart", seed=seed)
    reports.append(compare(hospitals, seed, 30, gentle, {"secure": SecureMean()}))
table = format_summary(fl.summarise(reports))
save_results("07", "Heart disease in four hospitals: mean and spread of three seeds", table)
table

# %% [markdown]
# Again the same as without masks, digit by digit. What chapter 02 found about the floors holds here
# too: secrecy does not make a model better.

# %% [markdown]
# ## What we have built
#
# - Fixed-point numbers in a ring, with an error where others wrap around or clip.
# - Additive sharing, and Shamir's sharing, in a few lines each.
# - Masks from keys agreed in pairs, which cancel in the sum.
# - The protocol of Bonawitz and others: clients may vanish at any step, the sum is exact or there is
#   none, and the server never gets both secrets of anybody.
# - `SecureMean`, which brings it into `fl.fit` at the same quality, and for large models at nearly the
#   same bytes.
# - An attack that reads updates, cannot read masked ones, and can still read small sums.

# %% [markdown]
# ## Check yourself
#
# **Why integers modulo $2^{32}$, and not floating-point numbers with large random masks?**
#
# <details><summary>Answer</summary>
# Masks must cancel exactly, and floating-point additions round. And there is no uniform distribution
# over all real numbers: a masked value would still say something about the number behind. In the
# ring each masked value is equally likely, whatever the number is.
# </details>
#
# **Why does each bank need two masks?**
#
# <details><summary>Answer</summary>
# With pair masks alone, the key that helps when a bank vanishes also opens its upload if that arrives
# late, or if the server only pretends that it vanished. The self-mask stays on then.
# </details>
#
# **Why must the threshold be more than half of the banks?**
#
# <details><summary>Answer</summary>
# Otherwise a lying server could tell one half that bank 3 is there, and get its seed, and the other
# half that it is not, and get its pair key. With more than half, the two groups would have to
# overlap, and an honest bank answers once only. (If some banks help the server, the threshold must be
# higher still: section 7.8.)
# </details>
#
# **The server cannot see any update. Is the trained model private now?**
#
# <details><summary>Answer</summary>
# No. The model is made of sums, and sums can give away rows, as in section 7.8. Masks protect the
# way there; noise protects the result.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 07.1** (easy) Write `headroom`: the largest absolute value that each of `clients` clients
# may send, if numbers have `fraction_bits` binary places in a ring of $2^{32}$ elements, and the sum
# must not wrap around in either direction.


# %% tags=["exercise"]
def headroom(clients, fraction_bits):
    """Return the largest value (a float) of each client."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return (2**31 - 1) // clients / 2**fraction_bits
    # END SOLUTION


check("07.1", headroom)

# %% [markdown]
# **Exercise 07.2** (medium) Write `mask_vector`: what bank `me` sends. `masks` maps the number of each
# other bank to the mask of the pair, a `uint32` vector. The bank with the lower number adds.


# %% tags=["exercise"]
def mask_vector(vector, me, masks):
    """Return the masked vector [P] (uint32); leave `vector` as it is."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    masked = vector.copy()
    for peer, mask in masks.items():
        masked = masked + mask if me < peer else masked - mask
    return masked
    # END SOLUTION


check("07.2", mask_vector)

# %% [markdown]
# **Exercise 07.3** (hard) Write `what_to_reveal`: a bank holds shares of both secrets of everybody
# who sent shares. Given the set of `holders` it has shares of and the set of `survivors`, return two
# sets: those whose seed share it reveals, and those whose pair-key share. If a request cannot be
# honest, because fewer than `threshold` have survived or a survivor has sent no shares, raise a
# `ValueError`.


# %% tags=["exercise"]
def what_to_reveal(holders, survivors, threshold):
    """Return (seeds, pair_keys): two sets of banks."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    if len(survivors) < threshold or not survivors <= holders:
        raise ValueError("this request cannot be honest")
    return holders & survivors, holders - survivors
    # END SOLUTION


check("07.3", what_to_reveal)

# %%
hint("07.3")

# %% [markdown]
# **Exercise 07.4** (open) Section 7.8 warns of differences over rounds. Try it: let all ten banks train
# in one round, and nine in the next (`drop={"bank 3": "upload"}`), both from the same weights and with
# the same seed, so that the other banks send the same again. What does the server get when it
# subtracts the two weighted sums? And when the seed differs, so that the others' updates change a
# little? Write down a guess first.

# %% tags=["solution"]
from fedlab_utils.federate import RoundContext

full_store = RowStore([client.x_train for client in federation], model)
everyone, sizes_ = np.arange(10), torch.tensor(rows, dtype=torch.float32)


def weighted_sum(seed, drop):
    """What the server gets from a round: sum of rows times update [P]."""
    each, _ = train_stacked(model, weights, full_store, everyone, local, seed, 0)
    context = RoundContext(seed=seed, round=0, clients=federation.names, population=10)
    mean = SecureMean(drop=drop).aggregate_round(each, sizes_, {}, context).update
    stayed = sum(n for n, name in zip(rows, federation.names, strict=True) if name not in drop)
    return mean * stayed, each


# %% tags=["solution"]
with_all, each = weighted_sum(seed=0, drop={})
for seed in (0, 1):
    without, _ = weighted_sum(seed, drop={"bank 3": "upload"})
    guess = (with_all - without) / rows[2]
    similarity = torch.cosine_similarity(guess, each[2], dim=0)
    print(f"second round with seed {seed}: cosine with bank 3's update {similarity:.3f}")

# %% [markdown] tags=["solution"]
# With the same updates of the others the difference *is* bank 3's update, though no protocol message
# was ever opened. Already another order of the rows hides a good part of it. The defence is again noise
# in the sum, or to make sure that groups differ by many banks or by none.

# %% [markdown]
# ## Further reading
#
# - K. Bonawitz and others, [Practical Secure Aggregation for Privacy-Preserving Machine
#   Learning](https://doi.org/10.1145/3133956.3133982) (2017;
#   [open version](https://eprint.iacr.org/2017/281)): the protocol, and its proofs.
# - J. H. Bell and others, [Secure Single-Server Aggregation with (Poly)Logarithmic
#   Overhead](https://eprint.iacr.org/2020/704) (2020): neighbours.
# - A. Shamir, [How to share a secret](https://doi.org/10.1145/359168.359176) (1979): two pages, worth it.
# - D. Pasquini and others, [Eluding Secure Aggregation in Federated Learning via Model
#   Inconsistency](https://arxiv.org/abs/2111.07380) (2022): a server that sends different models.
# - P. Kairouz and others, [The Distributed Discrete Gaussian Mechanism for Federated Learning with
#   Secure Aggregation](https://arxiv.org/abs/2102.06387) (2021): noise in parts.
# - [MPyC](https://github.com/lschoe/mpyc), and [Flower's
#   SecAgg+](https://flower.ai/docs/framework/how-to-use-built-in-mods.html).

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at the negative numbers in the ring; draw a clock with sixteen hours,
#   and let them add 3 and 15. Then at "who holds what" in section 7.6: play it with paper slips,
#   one student per bank, and send one of them out of the room.
# - **What to ask:** "The server says that you vanished. What do you lose if you believe it?" and "Which
#   of these messages could a server invent?"
# - **What to skip:** Lagrange's formula for a group that trusts you on it; section 7.9.
#
# </details>
