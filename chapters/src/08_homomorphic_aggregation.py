# %% [markdown]
# # 08 · Homomorphic aggregation
# *Can a server average what it cannot read?*
#
# {{badges}}
#
# You will
#
# - **write** Paillier encryption in a few lines, and **check** it against two libraries;
# - **pack** many signed numbers into one large integer, with room for the sum;
# - **run** a round with three roles, key holder, client and server, that exchange only bytes;
# - **choose** the parameters of CKKS, and **measure** their precision and their bytes;
# - **check** in its bytes that the server holds no secret key, and **say** who does;
# - **decrypt** with a key that is shared among five banks;
# - **attack** what is left visible, and **compare** plain, masked, encrypted and noisy averaging.
#
# You need: chapter 03 (updates, weighted mean, `fl.fit`). Chapter 07 (masks, Shamir's shares) and
# chapter 06 (differential privacy) help with the last sections. Mathematics: powers modulo $n$.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"] extras="privacy"
# The build writes this cell.

# %% [markdown]
# ## 8.1 A lock that can be added
#
# In chapter 07 the banks hid their updates behind masks that cancel in the sum. That needs a
# conversation: keys for every pair, and help for those who vanish. Here is another way. Each bank
# locks its numbers with the same public key, once, and sends them. The server adds *locked*
# numbers:
#
# $$ \mathrm{Enc}(a) \oplus \mathrm{Enc}(b) = \mathrm{Enc}(a + b). $$
#
# An encryption with this property is **additively homomorphic**. The best known one is
# Paillier's of 1999. Its public key is a product of two secret primes:

# %%
import math

import numpy as np
import torch

import fedlab_utils as fl
from fedlab_utils.course import check, figures_he, hint, save_results, show, show_error

p, q = 293, 433  # secret, and far too small
n = p * q  # public
n

# %% [markdown]
# A ciphertext is a number modulo $n^2$. To encrypt $m$ with a random $r$:
#
# $$ c = (1 + n)^m \cdot r^n \bmod n^2 $$


# %%
def encrypt(m, r):
    return pow(1 + n, m, n * n) * pow(r, n, n * n) % (n * n)


c = encrypt(42, r=1234)
c

# %% [markdown]
# Two facts make it work. By the binomial theorem $(1 + n)^m = 1 + m n$ modulo $n^2$: all other
# terms contain $n^2$. So the message stands in the open, in front of $n$. And $r^n$ hides it; but
# raised to $\lambda = \mathrm{lcm}(p - 1, q - 1)$ it becomes 1, whatever $r$ was. Only who knows
# the primes knows $\lambda$.

# %%
print((1 + n) ** 42 % n**2 == 1 + 42 * n)
lam = math.lcm(p - 1, q - 1)
print(pow(1234, n * lam, n * n))

# %% [markdown]
# So decryption takes $c^\lambda = 1 + m \lambda n$, reads off $m \lambda$, and divides by
# $\lambda$:


# %%
def decrypt(c):
    return (pow(c, lam, n * n) - 1) // n * pow(lam, -1, n) % n


decrypt(c)

# %% [markdown]
# Why the random $r$? Without it everybody could read the message. And with one fixed $r$, equal
# messages would give equal ciphertexts, so the server could compare and guess. With a fresh $r$ the
# same number never looks the same:

# %%
print("without r:", (encrypt(42, r=1) - 1) // n)
print("with r:   ", encrypt(42, r=1234), encrypt(42, r=4321), encrypt(42, r=777))

# %% [markdown]
# Now the addition. What must the server do with two ciphertexts?


# %%
def add(a, b):
    together = "???"
    return together % (n * n)


with show_error(TypeError):
    add(encrypt(40, r=5), encrypt(2, r=6))

# %% [markdown]
# Look at the formula: exponents add up when powers are *multiplied*.
# $(1+n)^a r^n \cdot (1+n)^b s^n = (1+n)^{a+b} (rs)^n$.


# %%
def add(a, b):
    return a * b % (n * n)


print(decrypt(add(encrypt(40, r=5), encrypt(2, r=6))))

# %% [markdown]
# Adding $w$ times is a power, so the server can also multiply by a number *it knows*, such as the
# weight of a bank. It cannot multiply two encrypted numbers, and a mean needs no more than this:

# %%
print(decrypt(pow(encrypt(6, r=11), 7, n * n)))

# %% [markdown]
# The package has this textbook version with real key generation, and `phe` is a Python library for
# it. With the same primes and the same $r$, all three give the same ciphertext:

# %%
import phe

from fedlab_utils.privacy.he.textbook import PublicKey, SecretKey

theirs = phe.PaillierPublicKey(n)
print(c == PublicKey(n).encrypt(42, r=1234) == theirs.raw_encrypt(42, r_value=1234))
print(decrypt(c) == SecretKey(p, q).decrypt(c))

# %% [markdown]
# How safe is it? At most as safe as it is hard to find the primes. (That there is no other way to read
# a ciphertext is an assumption of its own, *composite residuosity*.) Ours are found in no time. In use,
# $n$ has 2048 bits or more:

# %%
next(divisor for divisor in range(3, n, 2) if n % divisor == 0)

# %% [markdown]
# ## 8.2 Many numbers in one integer
#
# An update consists of thousands of small real numbers with signs, and Paillier encrypts one large
# whole number, not negative. Encrypting each parameter by itself works, but each would be
# blown up from 4 bytes to 512. So we **pack**. First, a number becomes a whole number, a **code**:
# round it to a multiple of $2^{-f}$, and add an offset so that no code is negative.

# %%
limit, fraction_bits = 8, 20
offset = limit * 2**fraction_bits


def code(x):
    return round(x * 2**fraction_bits) + offset


code(0.1), code(-0.1), code(-8)

# %% [markdown]
# Then codes are set side by side, each in a **slot** of bits, like digits of a number. Three
# numbers, in slots that are just wide enough for one code of a number below 8:

# %%
width = (2 * offset - 1).bit_length()


def pack(numbers):
    integer = 0
    for x in numbers:
        integer = integer << width | code(x)
    return integer


def unpack(integer, terms=1):
    slots = [integer >> width * i & (1 << width) - 1 for i in (2, 1, 0)]
    return [round((slot - terms * offset) / 2**fraction_bits, 3) for slot in slots]


print(width, "bits a slot:", unpack(pack([0.1, -0.1, 7.5])))

# %% [markdown]
# Adding two such integers adds all slots at once, and a sum of two terms has two offsets to take
# off. Or does it?

# %%
total = pack([0.1, -0.1, 7.5]) + pack([0.2, 0.3, 7.0])
print(unpack(total, terms=2))

# %% [markdown]
# We wanted 0.3, 0.2 and 14.5. The sums were too wide for their slots: a one was **carried** into
# the neighbour. Nothing complained! That is the bug to be afraid of. The remedy is **headroom**:
# make each slot wide enough for the largest code times the sum of *all* weights.

# %%
from fedlab_utils.privacy.he import Packing

packing = Packing(limit=8, fraction_bits=4, total_weight=10, plaintext_bits=2026)
banks = {
    "bank 1": np.array([0.5, -0.5, 7.5]),
    "bank 2": np.array([7.0, 0.25, 7.0]),
}
terms = {name: packing.pack(packing.encode(x, name))[0] for name, x in banks.items()}
terms["sum"] = sum(terms.values())
terms = {name: value >> packing.slot_bits * (packing.slots - 3) for name, value in terms.items()}
show(figures_he.packed_sum(packing, terms), name="packed-sum")

# %% [markdown]
# (The picture has few fraction bits, so that you can see single ones.) The left of each slot is
# empty until the sum needs it. What does not fit is refused before it is encrypted, under the
# client's name, and is never wrapped or clipped in silence:

# %%
from fedlab_utils.privacy.he import RangeError

with show_error(RangeError):
    packing.encode(np.array([0.5, -9.0, 0.0]), "bank 3")

# %% [markdown]
# With slots as wide as the package makes them for two terms, our own functions work too, and agree:

# %%
roomy = Packing(limit, fraction_bits, total_weight=2, plaintext_bits=78)
width = roomy.slot_bits
print(width, "bits a slot:", unpack(pack([0.1, -0.1, 7.5]) + pack([0.2, 0.3, 7.0]), terms=2))
print(roomy.pack(roomy.encode(np.array([0.1, -0.1, 7.5]), "us")) == [pack([0.1, -0.1, 7.5])])

# %% [markdown]
# ## 8.3 A round with three roles
#
# Now with real keys, and the ten banks. They have trained for one round; row $k$ of `updates` is
# the update of bank $k$, as in chapter 03.

# %%
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
model = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=0)
weights = fl.flatten(model)
local = fl.SGD(lr=0.3, epochs=1, batch_size=64, momentum=0.9)

# %%
from fedlab_utils.federate import RowStore, train_stacked

store = RowStore([client.x_train for client in federation], model)
updates, _ = train_stacked(model, weights, store, np.arange(10), local, 0, 0)
rows = torch.tensor(federation.sizes, dtype=torch.float32)
updates.shape

# %% [markdown]
# Three roles take part, and they share nothing but bytes:
#
# - the **key holder** makes the key pair, publishes the public half, and decrypts *sums*;
# - a **client** encodes, packs and encrypts, with the public key;
# - the **server** multiplies by the weights and adds, with the public key.
#
# The library is `pypaillier`. We measured it against `phe`, each encrypting one integer under a
# key of 2048 bits, and against the textbook version:

# %%
from time import perf_counter

import paillier

from fedlab_utils.privacy.he import FixedPoint, PaillierClient, PaillierKeyHolder, PaillierServer

begin = perf_counter()
keys = PaillierKeyHolder(bits=2048)
print(f"making the key took {perf_counter() - begin:.1f} s")


# %%
def milliseconds(encrypt_one, repeat):
    begin = perf_counter()
    for _ in range(repeat):
        encrypt_one(2**1000)
    return 1000 * (perf_counter() - begin) / repeat


modulus = int.from_bytes(keys.public, "big")
fast = paillier.PublicKey.from_n(keys.public)
print(f"textbook:   {milliseconds(PublicKey(modulus).encrypt, 3):6.1f} ms")
print(f"phe:        {milliseconds(phe.PaillierPublicKey(modulus).raw_encrypt, 3):6.1f} ms")
print(f"pypaillier: {milliseconds(lambda m: paillier.encrypt_integers(fast, [m]), 50):6.1f} ms")

# %% [markdown]
# `pypaillier` does its arithmetic in GMP, and its random exponent is short, which rests on one
# more assumption than Paillier's own scheme (see Further reading). `phe` runs on Python's integers
# unless `gmpy2` is installed. We work with the fast one and keep `phe` as a judge in the tests.
#
# Before a round the server tells everybody the **plan**: round, size, weights. From the weights
# follows the headroom.

# %%
from fedlab_utils.privacy.he import Plan

plan = Plan(0, len(weights), dict(zip(federation.names, federation.sizes.tolist(), strict=True)))
encoding = FixedPoint(limit=8, fraction_bits=20)
slots = encoding.packing(keys.public, plan)
print(f"{slots.slot_bits} bits a slot, {slots.slots} parameters in one ciphertext")

# %%
messages = {}
for name, update in zip(federation.names, updates.numpy(), strict=True):
    client = PaillierClient(name, keys.public, encoding)
    messages[name] = client.encrypt(update, plan)
print(f"{len(messages['bank 3']):,} bytes; plain float32 would be {4 * len(weights):,}")

# %% [markdown]
# A message is a header that anybody may read, and the ciphertexts:

# %%
print(messages["bank 3"][9:320].decode().partition(', "lengths"')[0])
show(figures_he.what_the_server_sees(updates[2], messages["bank 3"][-20_000:], client="bank 3"),
     name="what-the-server-sees")  # fmt: skip

# %% [markdown]
# Left, what a plain server would get; right, what ours gets. The server takes the messages, adds,
# and returns one encrypted sum. The key holder opens it:

# %%
server = PaillierServer(keys.public, plan, encoding)
for name, message in messages.items():
    server.receive(name, message)
encrypted_sum = server.aggregate()
mean = keys.decrypt(encrypted_sum, plan, encoding)

# %%
plain_mean = fl.Mean().aggregate(updates.double(), rows).numpy()
error = np.abs(mean - plain_mean).max()
print(f"largest difference from the plain mean: {error:.1e}")
print(f"half a step of the fixed point:         {2.0**-21:.1e}")

# %% [markdown]
# The only error is the rounding to a multiple of $2^{-20}$. The sum of the codes itself is exact,
# and so a test can demand equality, not closeness. If a bank stays away, the server just adds the
# others, and the header of the sum says whose weights are in it; no rescue as in chapter 07 is
# needed.

# %% [markdown]
# ## 8.4 CKKS: encrypted vectors of real numbers
#
# Paillier is a lock for one large integer, and we had to build the vector ourselves. **CKKS**
# (2017) is made for vectors of real numbers. It stands on another problem than factoring (noisy
# linear equations over polynomials), which no quantum computer is known to solve. Its price: it
# computes *approximately*. The library is TenSEAL. A **context** holds parameters and keys:

# %%
import tenseal as ts

context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 60])
context.global_scale = 2**40
vector = ts.ckks_vector(context, [0.1, -0.2, 0.3])
[f"{x:.9f}" for x in (vector + vector).decrypt()]

# %% [markdown]
# There are three choices to make, and tutorials seldom say why theirs are as they are:
#
# - **degree** $N$: a ciphertext is two polynomials with $N$ coefficients, and has $N/2$ **slots**. We cut
#   a long vector into pieces of $N/2$. A piece costs the same full or nearly empty.
# - **moduli**: sizes in bits of some primes. Their sum is limited by $N$: more bits with the same
#   $N$ are *less* secure. The last one serves the keys only and does not travel with a ciphertext.
#   Each multiplication uses up one of the others, and one must be left at the end: the number of
#   multiplications in a row is the **depth**.
# - **scale**: numbers are multiplied by it and rounded. More bits are more precision, and less room
#   for large numbers below the first prime.
#
# The context above has a depth of one. The second multiplication has no prime left to use up:

# %%
scaled = vector * 0.5
with show_error(ValueError):
    scaled * 0.5

# %% [markdown]
# What depth does a weighted mean need? A sum needs none. One scaling, by the share $n_k / n$ of
# each bank, needs one, if the *server* does it. But each bank knows its share, and may scale its
# own update in the clear, for nothing. So there are two designs, and the package has parameters
# for each:

# %%
from fedlab_utils.privacy.he import SUM, SUM_AND_SCALE

print("clients scale, server adds:", SUM, "depth", SUM.depth)
print("server scales and adds:    ", SUM_AND_SCALE, "depth", SUM_AND_SCALE.depth)

# %% [markdown]
# **Room.** What happens to a number that is too large? TenSEAL refuses to encode it. But a *sum*
# of numbers that all fit may be too large, and then nobody complains:

# %%
tight = ts.context(ts.SCHEME_TYPE.CKKS, SUM.degree, coeff_mod_bit_sizes=list(SUM.moduli))
tight.global_scale = 2**SUM.scale_bits
large = ts.ckks_vector(tight, [4000.0] * SUM.slots)
print(f"4000 + 4000 + 4000 = {(large + large + large).decrypt()[0]:.1f}")
print(f"the package's limit: {SUM.limit:g}")

# %% [markdown]
# It wrapped around, as in section 8.2, and the sign changed. Our clients send shares of a mean,
# which add up to one, so the sum stays below the largest number of all; the client checks that
# each is a factor of two below the edge:

# %%
from fedlab_utils.privacy.he import CKKSClient, CKKSKeyHolder, CKKSMean, CKKSServer

ckks = CKKSKeyHolder(SUM)
with show_error(RangeError):
    CKKSClient("bank 3", ckks.public).encrypt(np.full(len(weights), 1e4), plan)

# %% [markdown]
# **Precision and bytes.** We measure them together, for the two designs, for a context that many
# tutorials use, and for others. The vector fills its slots, so the sizes are the best that each
# can do:

# %%
from fedlab_utils.privacy.he import CKKSParameters, compare_costs

settings = {
    "SUM": SUM,
    "SUM_AND_SCALE": SUM_AND_SCALE,
    "8192, 60-40-60": CKKSParameters(8192, (60, 40, 60), 40),
    "8192, 42-34-42": CKKSParameters(8192, (42, 34, 42), 34),
    "4096, 40-21-40": CKKSParameters(4096, (40, 21, 40), 21),
    "4096, 40-40": CKKSParameters(4096, (40, 40), 30),
}
named = {name: CKKSMean(parameters) for name, parameters in settings.items()}
precision = compare_costs(named, size=8192, clients=3)

# %%
precision.insert(0, "depth", [parameters.depth for parameters in settings.values()])
precision["limit"] = [parameters.limit for parameters in settings.values()]
shown = {"largest error": "{:.0e}", "bytes up": "{:,}", "bytes down": "{:,}", "limit": "{:,.0f}"}
precision.drop(columns="seconds").style.format(shown, precision=1)

# %%
points = {name: (row["times plain"], row["largest error"]) for name, row in precision.iterrows()}
show(figures_he.size_and_error(points, budget=12), name="ckks-size-and-error")

# %% [markdown]
# The usual context is very precise, and too large for our budget of twelve times plain. `SUM` is
# as precise with about half of the bytes: without the scaling it needs no middle prime, and half
# the degree is secure enough. If the server must scale, `SUM_AND_SCALE` stays in the budget, with
# fewer digits. A scale of 21 bits, which is common too, leaves so few digits that the error can be
# seen in an update.
#
# The server adds, and divides by a prime *near* $2^{32}$ after its scaling; the library reads the
# result as if it had been $2^{32}$ itself. That is a small systematic error, and known beforehand,
# so the package's key holder corrects it:

# %%
print(f"correction: 1 - {1 - SUM_AND_SCALE.correction:.1e}")

# %% [markdown]
# Could the ciphertexts be smaller? In symmetric encryption one of the two polynomials is random
# and can be sent as the seed it came from, which halves the size. TenSEAL has the encryption but
# sends the polynomial whole:

# %%
for kind in (ts.ENCRYPTION_TYPE.ASYMMETRIC, ts.ENCRYPTION_TYPE.SYMMETRIC):
    trial = ts.context(ts.SCHEME_TYPE.CKKS, 4096, -1, list(SUM.moduli), kind)
    trial.global_scale = 2**SUM.scale_bits
    size = len(ts.ckks_vector(trial, [0.1] * SUM.slots).serialize())
    print(f"{kind.name:10} {size:,} bytes for {SUM.slots:,} numbers")

# %% [markdown]
# ## 8.5 The server holds no secret
#
# A TenSEAL context may contain the secret key, and nothing in its name says so. Whoever sends
# `context` instead of its public part has given everything away. What is in the bytes?

# %%
whole = context.serialize(save_secret_key=True)
public = context.serialize(save_secret_key=False)
print("with the secret key:   ", ts.context_from(whole).is_private())
print("what a server may have:", ts.context_from(public).is_private())

# %% [markdown]
# Do not believe a flag alone; look at the bytes. We serialise the secret key by itself, cut it into
# windows of 16 bytes, and look for some of them:

# %%
nothing_else = {"save_galois_keys": False, "save_relin_keys": False}
only = context.serialize(save_public_key=False, save_secret_key=True, **nothing_else)
secret = only[1000:]  # the first bytes are the parameters, which are public
windows = [secret[i : i + 16] for i in range(0, len(secret) - 16, 400)]
for name, data in {"whole": whole, "public": public}.items():
    print(f"{name:6}: {sum(window in data for window in windows)} of {len(windows)} windows found")

# %% [markdown]
# The package's roles go one step further: a server refuses a context that could decrypt.

# %%
from fedlab_utils.errors import FedlabError
from fedlab_utils.privacy.he.messages import pack as pack_message

print("our server can decrypt:", CKKSServer(ckks.public, plan).holds_secret_key)
usual = {"degree": 8192, "moduli": [60, 40, 60], "scale_bits": 40}
careless = pack_message({"kind": "key", "scheme": "ckks", "encoding": usual}, [whole])
with show_error(FedlabError):
    CKKSServer(careless, plan)

# %% [markdown]
# And the ciphertext at the server, without a secret key:

# %%
at_server = ts.ckks_vector_from(ts.context_from(public), vector.serialize())
with show_error(ValueError):
    at_server.decrypt()

# %% [markdown]
# ## 8.6 In `fl.fit`
#
# Everything between clients and server works on the update matrix, so encryption is an aggregator
# like another: `PaillierMean` and `CKKSMean`. `fit` plays all roles, through bytes, and counts
# them.

# %%
from fedlab_utils.privacy.he import PaillierMean

aggregators = {
    "federated, plain": fl.Mean(),
    "federated, Paillier": PaillierMean(encoding, keys=keys),
    "federated, CKKS": CKKSMean(keys=ckks),
}


def train(federation, model, aggregator, seed, **options):
    options = {"rounds": 5, "local": local, **options}
    return fl.fit(model, federation, aggregator=aggregator, seed=seed, progress=False, **options)


# %%
reports, gaps, runs = [], {name: [] for name in aggregators}, []
for seed in range(3):
    banks = fl.load("payments", clients=10, shift=0.6, seed=seed)
    start = fl.dense_autoencoder(banks.n_features, hidden=46, code=8, seed=seed)
    runs.append({name: train(banks, start, a, seed) for name, a in aggregators.items()})
    models = {name: run.model for name, run in runs[-1].items()}
    plain = fl.flatten(models["federated, plain"])
    for name, trained in models.items():
        gaps[name].append(float((fl.flatten(trained) - plain).abs().max()))
    models["local"] = fl.fit_local(start, banks, rounds=5, local=local, seed=seed)
    models["central"] = train(banks.pooled_federation(), start, None, seed).model
    reports.append(fl.evaluate(models, banks, seed=seed))

# %%
from fedlab_utils.detect import format_summary

for name, values in gaps.items():
    print(f"{name:20} weights differ from plain by at most {max(values):.0e}")
quality = format_summary(fl.summarise(reports))
save_results("08", "Payments, plain and encrypted: mean and spread of three seeds", quality)
quality

# %% [markdown]
# The three federated rows agree to every digit shown: after five rounds the weights of the
# encrypted runs differ from the plain ones by the small amounts printed above, which is rounding
# and ciphertext noise. Encryption changes *who can see*, not *what is learned*.
#
# Compare them with local training: after so few rounds, federated training is *behind* it in the
# pooled list and for the mean bank, with or without encryption. Chapter 03 trains longer, and there
# it gets ahead. Five rounds are enough to see that a lock costs no quality, and not more.
#
# A Paillier run gives the same bits when you repeat it, since the sum of codes is exact. CKKS
# draws its noise from the system, so two runs agree to its error, not to the bit.

# %% [markdown]
# ## 8.7 What it costs
#
# One round of ten clients with the model above. "Masks" is the secure aggregation of chapter 07.
# Seconds are for the whole round, all ten clients, server and decryption, one after another on
# this machine.

# %%
from fedlab_utils.privacy.secure import SecureMean

methods = {
    "plain": fl.Mean(),
    "masks (chapter 07)": SecureMean(),
    "Paillier": PaillierMean(encoding, keys=keys),
    "CKKS, clients scale": CKKSMean(keys=ckks),
    "CKKS, server scales": CKKSMean(SUM_AND_SCALE),
}
costs = compare_costs(methods, size=len(weights), clients=10)
costs["largest error"] = costs["largest error"].map("{:.0e}".format)
save_results("08", "One round of ten clients: bytes of one client, seconds, error", costs)
costs.style.format({"bytes up": "{:,}", "bytes down": "{:,}"}, precision=2)

# %% [markdown]
# Paillier, packed, sends the least of the encrypted ones and works the longest; CKKS is the other
# way round. The model does not fill CKKS's last piece, so its upload is larger than in section
# 8.4. How does that go with the size of the model?

# %%
from fedlab_utils.federate.aggregators import RoundContext

sizes = [100, 300, 1000, 2048, 4096, 10_000]
pair, two = RoundContext(0, 0, ("a", "b"), 2), torch.tensor([700.0, 1300.0])


def bytes_for_one(aggregator, size):
    done = aggregator.aggregate_round(torch.zeros(2, size), two, aggregator.start(size), pair)
    return done.bytes_up / 2 / size


curves = {n: [bytes_for_one(m, s) for s in sizes] for n, m in methods.items() if n != "plain"}
curves["plain"] = [4.0] * len(sizes)
show(figures_he.bytes_per_parameter(sizes, curves, budget=12), name="bytes-per-parameter")

# %% [markdown]
# A small model wastes most of a CKKS ciphertext, and pays for a header. From some thousands of
# parameters on, the design in which clients scale stays below twelve times plain, when its pieces
# are well filled. Masks cost four bytes a parameter, and a start-up for the keys that grows with
# the number of clients (here only two).
#
# | | masks (07) | Paillier | CKKS |
# |---|---|---|---|
# | a client vanishes in the middle | shares must be brought together | nothing to do | nothing to do |
# | messages of a client in a round | several | one | one |
# | the server learns | the sum | nothing, or the sum if it is told | as Paillier |
# | the result is | exact integers | exact integers | approximate |
# | rests on | X25519, a cipher | composite residues | learning with errors (also against quantum computers) |

# %% [markdown]
# ## 8.8 Who holds the key?
#
# So far "the key holder" was a class. In the world it is somebody, and that is the question to ask
# of every product that says "homomorphic encryption":
#
# | the secret key is with | the server sees | if a client helps the server |
# |---|---|---|
# | the server | everything: the encryption is decoration | |
# | every client (usual, and what our aggregators assume) | ciphertexts | every update of every client |
# | a service apart | ciphertexts, and what the service tells it | nothing more; but the service with the server sees everything |
# | shared: $t$ of $l$ clients needed | ciphertexts, and agreed sums | nothing more, until $t$ clients help |
#
# The second row deserves a demonstration. The server takes a single bank's message, calls it a
# sum, and one dishonest client decrypts it:

# %%
single = PaillierServer(keys.public, plan, encoding)
single.receive("bank 3", messages["bank 3"])
stolen = keys.decrypt(single.aggregate(), plan, encoding)
print(f"bank 3's own update, to {np.abs(stolen - updates[2].numpy()).max():.0e}")

# %% [markdown]
# No header helps: the ciphertext does not show how many were added, and a server that cheats
# writes what it likes. Within the "usual" row the server must be honest about *what* it sends for
# decryption, and no client may help it. Nor does encryption stop a client from sending nonsense:
# the server cannot see that either.
#
# **A key that nobody has.** Split it. In chapter 07 a secret became the value at 0 of a random
# polynomial, and each holder got one point. Here the secret is the exponent $d$ of decryption, and
# the banks never bring it back together: each raises the ciphertext to the power of *its own
# share*, and Lagrange's formula works in the exponent (Damgård and Jurik, after Shoup):
#
# $$ \prod_{i \in S} \left(c^{\,s_i}\right)^{\lambda_i} = c^{\sum_i \lambda_i s_i} = c^{\,d} = 1 + m n \pmod{n^2} $$
#
# A dealer makes a small key (512 bits, for the demonstration) for five banks, of which three are
# needed:

# %%
from fedlab_utils.privacy.he import CiphertextError, combine, deal

holders = [f"bank {i}" for i in range(1, 6)]
threshold_key, shares = deal(512, holders, threshold=3)

# %% [markdown]
# Everybody encrypts under the public part as before. Two of the banks' codes are added, packed:

# %%
public_key = threshold_key.public
five = Packing(limit=8, fraction_bits=20, total_weight=2, plaintext_bits=511)
(one,) = five.pack(five.encode(updates[0, :5].numpy(), "bank 1"))
(other,) = five.pack(five.encode(updates[1, :5].numpy(), "bank 2"))
total = public_key.add(public_key.encrypt(one), public_key.encrypt(other))

# %%
parts = [share.partial(total) for share in shares]
opened = combine(threshold_key, total, [parts[0], parts[2], parts[4]])
print("mean of two:", five.decode(five.unpack([opened], 5), weight=2).round(5))
print("should be:  ", updates[:2, :5].mean(dim=0).numpy().round(5))

# %% [markdown]
# Any three do. Two are refused; and a bank that sends a wrong part is named, because each part
# carries a proof that the dealt share was used (without showing it):

# %%
from dataclasses import replace

with show_error(CiphertextError):
    combine(threshold_key, total, parts[:2])
forged = replace(parts[1], value=parts[1].value * 4 % public_key.square)
with show_error(CiphertextError):
    combine(threshold_key, total, [parts[0], forged, parts[2]])

# %% [markdown]
# Now the trick from above needs three dishonest banks. What remains: the dealer knew the key and
# must forget it (protocols without a dealer exist, and are long), and the holders should ask
# *what* they decrypt. Our version is for reading: Python's integers, small keys. For CKKS there
# are threshold variants too, in OpenFHE and Lattigo; TenSEAL has none.
#
# **CKKS results must stay with the key holders.** A decrypted CKKS value contains the noise of its
# ciphertext. Who has the ciphertext *and* the exact decrypted value can solve for the secret key
# (Li and Micciancio, 2021). A server has the ciphertext. So with the key at the clients, the mean
# must not be sent back to the server or published as it is. Add noise far above the error first
# (rounding alone is no proof), or use Paillier, whose result is exact.

# %% [markdown]
# ## 8.9 What goes wrong is refused, by name
#
# A ciphertext looks like noise, right or wrong. If a mistake is not caught before the sum, it
# spoils the model and points at nobody. Each of these is one that happens:


# %%
def send(message, name="bank 3"):
    CKKSServer(ckks.public, plan).receive(name, message)


right = CKKSClient("bank 3", ckks.public).encrypt(updates[2].numpy(), plan)
with show_error(CiphertextError):  # the connection broke
    send(right[:-1000])
with show_error(CiphertextError):  # a key from last week
    send(CKKSClient("bank 3", CKKSKeyHolder(SUM).public).encrypt(updates[2].numpy(), plan))
with show_error(CiphertextError):  # sent by another client
    send(right, "bank 4")
with show_error(CiphertextError):  # a message of another round, recorded and sent again
    CKKSServer(ckks.public, replace(plan, round=1)).receive("bank 3", right)

# %%
with show_error(CiphertextError):  # another fixed point: a mixed scale
    other = PaillierClient("bank 3", keys.public, FixedPoint(limit=8, fraction_bits=16))
    PaillierServer(keys.public, plan, encoding).receive("bank 3", other.encrypt(updates[2], plan))
with show_error(RangeError):  # diverged at the client: nothing is sent
    diverged = updates[2].numpy() * 1e6
    PaillierClient("bank 3", keys.public, encoding).encrypt(diverged, plan)

# %% [markdown]
# And if a client lies in its header, using another key under the right name? The sum then decrypts
# to numbers that no update can have, and the key holder refuses it; but whose fault it was, nobody
# knows. Encryption does not replace checking who may send.

# %% [markdown]
# ## 8.10 The attack, before and after
#
# What is all this good for? The attack is **gradient inversion**: from an update, compute the rows
# that made it. It works best on few rows, so let every bank take a single step on a single
# payment. First against the plain server, which holds bank 3's update:

# %%
from fedlab_utils.attacks import invert_update, reconstruction_success

step = fl.SGD(lr=0.3, epochs=1, batch_size=None)
public_rows = federation.pooled().x_calibration  # payments that an attacker may know anyway


def updates_on(count, local=step):
    """Rows [10 count, d] and update matrix when each bank trains on its first `count` rows."""
    few = [client.x_train[:count] for client in federation]
    trained, _ = local.train("stacked", model, weights, RowStore(few, model), np.arange(10), 0, 0)
    return np.concatenate(few), trained


# %%
def attack(update, true_rows):
    """Share of the rows that the attacker recovers; its error beside that of the best guess."""
    found = invert_update(model, update, local=step, rows=len(true_rows), restarts=1, steps=10)
    success = reconstruction_success(true_rows, found.rows, reference=public_rows)
    guess = min(success.rmse_mean, success.rmse_reference)
    print(f"recovered {success.recovered:.0%}; error {success.rmse:.3f}, best guess {guess:.3f}")
    return success.recovered


true_rows, single_updates = updates_on(1)
_ = attack(single_updates[2], true_rows[2:3])

# %% [markdown]
# The payment, feature by feature. Now the server of this chapter. It holds a ciphertext; to attack
# it at all, we read its bytes as if they were numbers:

# %%
one_each = Plan(0, len(weights), dict.fromkeys(federation.names, 1))
sealed = {
    name: PaillierClient(name, keys.public, encoding).encrypt(update, one_each)
    for name, update in zip(federation.names, single_updates.numpy(), strict=True)
}


def as_numbers(data):
    return np.frombuffer(data, np.uint8)[-len(weights) :] - 127.5


_ = attack(as_numbers(sealed["bank 3"]), true_rows[2:3])

# %% [markdown]
# Not a single payment, and an error about that of a guess without any update. Now the third view:
# **whoever holds the key sees the sum.** All ten banks do, by design:

# %%
adder = PaillierServer(keys.public, one_each, encoding)
for name, message in sealed.items():
    adder.receive(name, message)
opened_mean = keys.decrypt(adder.aggregate(), one_each, encoding)
_ = attack(opened_mean, true_rows)

# %% [markdown]
# Read this line twice. The encryption was perfect, and yet the attack on the *result* finds all
# ten payments: a sum over few rows determines them. What the key holders do not learn is *whose*
# payment each was. And in a federation of two, each member subtracts its own update from the sum,
# and has the other's. Here is a sum over more rows, eight for each bank:

# %%
more_rows, more_updates = updates_on(8)
_ = attack(more_updates.mean(dim=0), more_rows)

# %% [markdown]
# This attack finds none of them. But its error is somewhat below guessing: the sum is not silent.
# In a real round it is a sum over thousands of rows and many steps, and tells less of each. That
# is an observation about one attack, not a guarantee. Encryption, like masking, decides who sees
# the *parts*. What the *sum* gives away is a question for differential privacy (chapter 06), and
# both can be had together: noise first, then the lock.

# %% [markdown]
# ## 8.11 And on real data
#
# Four hospitals, as in chapter 02: real owners of patients' data, who might well be forbidden to
# share more than ciphertexts. The model is small, so Paillier is the cheaper lock here:

# %%
gentle = fl.SGD(lr=0.02, momentum=0.9, batch_size=16)
locks = {"plain": fl.Mean(), "Paillier": PaillierMean(encoding, keys=keys), "CKKS": CKKSMean()}
found = []
for seed in range(3):
    hospitals = fl.load("heart", seed=seed)
    start = fl.dense_autoencoder(hospitals.n_features, seed=seed)
    heart_runs = {
        f"federated, {name}": train(hospitals, start, lock, seed, rounds=10, local=gentle)
        for name, lock in locks.items()
    }
    models = {name: run.model for name, run in heart_runs.items()}
    models["local"] = fl.fit_local(start, hospitals, rounds=10, local=gentle, seed=seed)
    whole_data = hospitals.pooled_federation()
    models["central"] = train(whole_data, start, None, seed, rounds=10, local=gentle).model
    found.append(fl.evaluate(models, hospitals, seed=seed))

# %%
heart = format_summary(fl.summarise(found))
save_results("08", "Heart disease in four hospitals, plain and encrypted, three seeds", heart)
for name, run in heart_runs.items():
    each = run.history.bytes_up[0] / 4
    print(f"{name:20} {each:8,.0f} bytes up for each hospital and round")
heart

# %% [markdown]
# The three federated rows are the same: the lock changes nothing that is learned. (What is learned
# is little here, as chapter 02 found: compare the row norm.) A ciphertext of CKKS is far too large
# for so small a model.

# %% [markdown]
# ## 8.12 Three chapters in one table
#
# Plain averaging, differential privacy (06), masks (07) and encryption (08), on the same banks and
# with the same number of rounds. For differential privacy we take DP-SGD at each bank: first
# epsilon, for a single payment over all rounds, then the noise:

# %%
from fedlab_utils.federate.dpsgd import DPSGD
from fedlab_utils.privacy import dp

epsilon, delta, rate, steps = 8.0, 1e-5, 0.04, 60
noise = dp.noise_for_epsilon(epsilon, delta, rate, 5 * steps)
private = DPSGD(1.0, clip=0.5, noise_multiplier=noise, sample_rate=rate, steps=steps, momentum=0.9)
print(f"noise multiplier {noise:.2f}")

# %%
from fedlab_utils.detect import average_precision

ap = {}
for seed, run in enumerate(runs):
    banks = fl.load("payments", clients=10, shift=0.6, seed=seed)
    start = fl.dense_autoencoder(banks.n_features, hidden=46, code=8, seed=seed)
    run["DP-SGD (06)"] = train(banks, start, None, seed, local=private)
    run["masks (07)"] = train(banks, start, SecureMean(), seed)
    everybody = banks.pooled()
    for name, result in run.items():
        error = fl.reconstruction_error(result.model, everybody.x_test)
        ap.setdefault(name, []).append(average_precision(everybody.y_test, error))

# %% [markdown]
# Then the attack, twice: on what the server gets from bank 3, and on the result of the round. For
# the masks we listen at the server of chapter 07; its third batch of messages are the uploads.
# DP-SGD takes its step with the same noise as in training.

# %%
from fedlab_utils.privacy.secure import FixedPoint as RingCode
from fedlab_utils.privacy.secure import Identity, encode_weighted, invite, run_round

heard, ring = [], RingCode(32, 12)
identities = [Identity(name) for name in federation.names]
vectors = [
    encode_weighted(update, 1.0, ring, 10, name)
    for update, name in zip(single_updates.numpy(), federation.names, strict=True)
]
setup = invite(identities, len(vectors[0]), round_=0)
_ = run_round(identities, setup, vectors, watch=heard.append)
ckks_message = CKKSClient("bank 3", ckks.public).encrypt(single_updates[2].numpy(), plan)

# %%
_, noisy = updates_on(1, replace(private, sample_rate=1.0, steps=1))
mean_of_all = single_updates.mean(dim=0)
views = {
    "federated, plain": (single_updates[2], mean_of_all),
    "DP-SGD (06)": (noisy[2], noisy.mean(dim=0)),
    "masks (07)": (as_numbers(heard[22]), mean_of_all),
    "federated, Paillier": (as_numbers(sealed["bank 3"]), opened_mean),
    "federated, CKKS": (as_numbers(ckks_message), mean_of_all),
}
found = {name: (attack(a, true_rows[2:3]), attack(b, true_rows)) for name, (a, b) in views.items()}

# %%
import pandas as pd

who = {
    "federated, plain": "server: updates, sum; banks: sum",
    "DP-SGD (06)": "server: noisy updates, sum; banks: noisy sum",
    "masks (07)": "server and banks: sum",
    "federated, Paillier": "server: nothing; banks (keys): sum",
    "federated, CKKS": "server: nothing; banks (keys): sum",
}
last = {name: runs[-1][name].history for name in who}
final = pd.DataFrame(
    {
        "AP": {n: f"{np.mean(ap[n]):.3f} ± {np.std(ap[n], ddof=1):.3f}" for n in who},
        "rows found, at server": {name: f"{found[name][0]:.0%}" for name in who},
        "rows found, in result": {name: f"{found[name][1]:.0%}" for name in who},
        "bytes up": {name: h.bytes_up[0] // 10 for name, h in last.items()},
        "seconds": {name: np.median(h.seconds) for name, h in last.items()},
        "epsilon": {name: f"{epsilon:g}" if "DP" in name else "none" for name in who},
        "who sees what": who,
    }
)
save_results("08", "Plain, noisy, masked, encrypted", final, headline=True)
final.style.format({"bytes up": "{:,}"}, precision=2)

# %% [markdown]
# AP is the mean and spread of three seeds in the pooled list; chance, floors and the isolation
# forest for the same banks and rounds are in the table of section 8.6. Bytes are what one bank
# sends in a round, seconds are the median round of this run, training included, all roles on this
# machine.
#
# Read it by columns. **AP:** locks and masks do not change what is learned; noise does. **At the
# server:** plain updates give the payment away; masks, locks and noise do not. **In the result:**
# only noise helps. **Epsilon:** it is for one payment at one bank, over all rounds, and leaves out
# the scaler (chapter 06 includes it); a lock has none, since it promises nothing about the result.
# **Who sees what:** with keys at the banks the server learns nothing of the updates (it knows who takes
# part, and the rows of each, from the plan), and has no model either: the banks do its last step.
#
# So they are not rivals. Masks or encryption say *who* sees the parts; differential privacy says
# *how much* the whole gives away. The next step is to put one inside the other: DP-SGD at the
# banks of this table can be locked as well, with no other change than the aggregator.

# %% [markdown]
# ## What we have built
#
# - Paillier in four lines, equal to two libraries; packing with headroom, in which overflow raises.
# - Three roles that exchange bytes, for Paillier and for CKKS, with errors that name the client.
# - Parameters of CKKS chosen by depth, room, precision and bytes, all measured.
# - A server in whose bytes we found no secret key, and a key that no single bank has.
# - `PaillierMean` and `CKKSMean` for `fl.fit`: the model of plain FedAvg.
# - One table of what plain, noisy, masked and encrypted averaging give and cost.

# %% [markdown]
# ## Check yourself
#
# **The server multiplies ciphertexts to add plaintexts. Why can it not compute the product of two
# updates?**
#
# <details><summary>Answer</summary>
# In Paillier messages sit in exponents: multiplying adds them, a power with a known number multiplies.
# There is no operation that multiplies two unknown exponents. CKKS has one; it costs a prime of the
# modulus each time.
# </details>
#
# **Two banks send codes that fill their slots completely, and the server adds them. What happens?**
#
# <details><summary>Answer</summary>
# The sum needs one bit more than the slot has, and carries into the neighbour, which is then wrong
# without any error. Headroom for the sum of all weights prevents it.
# </details>
#
# **Why does `SUM` need fewer bytes than a context in which the server scales?**
#
# <details><summary>Answer</summary>
# Scaling is a multiplication and uses up one prime. Without it a ciphertext needs one prime only. The
# clients scale in the clear, which costs nothing.
# </details>
#
# **A vendor says: "The server only ever sees ciphertexts." What do you ask?**
#
# <details><summary>Answer</summary>
# Who holds the secret key? What happens if one of them works with the server? Who sees the sum, and what
# is done against what the sum gives away? With CKKS: does the server get decrypted results back?
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 08.1** (easy) Write the server of section 8.1: the ciphertext of the weighted sum of
# some plaintexts, from their ciphertexts and the public modulus `n`.


# %% tags=["exercise"]
def weighted_sum(ciphertexts, weights, n):
    """Return a Paillier ciphertext of the weighted sum of the plaintexts."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    total = 1
    for c, w in zip(ciphertexts, weights, strict=True):
        total = total * pow(c, w, n * n) % (n * n)
    return total
    # END SOLUTION


check("08.1", weighted_sum)

# %% [markdown]
# **Exercise 08.2** (medium) How many bits must a slot have? Numbers lie in `[-limit, limit]`, are
# rounded to `fraction_bits` bits after the point and shifted by the offset `limit *
# 2**fraction_bits`; `weights` are the weights of all clients. The largest possible sum must fit,
# and no bit should be wasted.


# %% tags=["exercise"]
def slot_bits(limit, fraction_bits, weights):
    """Return the bits of a slot that holds any weighted sum of codes."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return (2 * limit * 2**fraction_bits * sum(weights)).bit_length()
    # END SOLUTION


check("08.2", slot_bits)

# %% [markdown]
# **Exercise 08.3** (medium) Cut an integer into `count` slots of `width` bits, the highest first.


# %% tags=["exercise"]
def split_slots(integer, width, count):
    """Return the `count` slots of `width` bits, the highest first."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return [integer >> (width * i) & ((1 << width) - 1) for i in reversed(range(count))]
    # END SOLUTION


check("08.3", split_slots)

# %% [markdown]
# **Exercise 08.4** (hard) The weights $\lambda_i$ of section 8.8. A polynomial $f$ of degree below
# the number of points is known at the points in `numbers`; then $f(0) = \sum_i \lambda_i f(i)$.
# The $\lambda_i$ are fractions, and exponents must be whole, so return them multiplied by
# `holders`! (factorial), in the order of `numbers`.


# %% tags=["exercise"]
def lagrange(numbers, holders):
    """Return the whole-number Lagrange coefficients at 0, times holders!."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    weights = []
    for i in numbers:
        others = [j for j in numbers if j != i]
        top = math.factorial(holders) * math.prod(others)
        weights.append(top // math.prod(j - i for j in others))
    return weights
    # END SOLUTION


check("08.4", lagrange)

# %%
hint("08.4")

# %% [markdown]
# **Exercise 08.5** (open) How few bits does the model need? Run `train` of section 8.6 with
# `PaillierMean(FixedPoint(limit=8, fraction_bits=f), keys=keys)` for several `f`, and compare bytes
# and held-back loss with the plain run. Where does it begin to hurt? Guess before you look.

# %% tags=["solution"]
held_back = federation.pooled().x_calibration
for bits in (2, 4, 8, 20):
    rough = PaillierMean(FixedPoint(limit=8, fraction_bits=bits), keys=keys)
    run = train(federation, model, rough, 0, rounds=2)
    loss = fl.reconstruction_error(run.model, held_back).mean()
    print(f"{bits:2} bits: {run.history.bytes_up[0] // 10:7,} bytes each, loss {loss:.4f}")
run = train(federation, model, fl.Mean(), 0, rounds=2)
print(f"plain:   loss {fl.reconstruction_error(run.model, held_back).mean():.4f}")

# %% [markdown] tags=["solution"]
# A few bits after the point are enough, because rounding errors of ten banks partly cancel and
# the next round corrects what is left. With too few, small changes are rounded to zero, and whole
# layers stop learning. Fewer bits make narrower slots, so more parameters fit into a ciphertext.

# %% [markdown]
# ## Further reading
#
# - P. Paillier, [Public-Key Cryptosystems Based on Composite Degree Residuosity
#   Classes](https://doi.org/10.1007/3-540-48910-X_16) (1999).
# - I. Damgård, M. Jurik, [A Generalisation, a Simplification and Some Applications of Paillier's
#   Probabilistic Public-Key System](https://doi.org/10.1007/3-540-44586-2_9) (2001): the threshold version of
#   section 8.8; with J. Nielsen, [the fast encryption](https://doi.org/10.1007/s10207-010-0119-9) that
#   `pypaillier` uses.
# - J. H. Cheon, A. Kim, M. Kim, Y. Song, [Homomorphic Encryption for Arithmetic of Approximate
#   Numbers](https://eprint.iacr.org/2016/421) (2017): CKKS.
# - B. Li, D. Micciancio, [On the Security of Homomorphic Encryption on Approximate
#   Numbers](https://eprint.iacr.org/2020/1533) (2021): why CKKS results must not be published.
# - [Homomorphic Encryption Standard](https://homomorphicencryption.org/standard/) (2018): which
#   moduli are safe with which degree.
# - C. Zhang and others, [BatchCrypt](https://www.usenix.org/conference/atc20/presentation/zhang-chengliang)
#   (2020): packing and quantisation for federated learning.
# - [TenSEAL](https://github.com/OpenMined/TenSEAL), [pypaillier](https://veryviolet.github.io/paillier/),
#   [phe](https://python-paillier.readthedocs.io/).

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** multiplication of ciphertexts means addition of messages. Let them do
#   section 8.1 with $p = 5$, $q = 7$ on paper. In section 8.4, "modulus", "prime" and "level" are
#   the same budget seen three times; draw it as a stack of coins of which each multiplication takes one.
# - **What to ask:** "The server cannot read anything. Is the data protected, then?" (The sum; the key; a
#   client who helps.) "Why not encrypt with the server's own key?"
# - **What to skip:** the threshold scheme for a group without number theory: show the table of
#   section 8.8 and the two refused decryptions. The byte windows of section 8.5 can be homework.
#
# </details>
