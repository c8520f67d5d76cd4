# %% [markdown]
# # 05 · TensorFlow Federated
# *What does a framework add in which the type of every value says where it lives, and when do you want it?*
#
# {{badges}}
#
# You will
#
# - **read** and **write** federated types: what lies at the clients, what at the server;
# - **build** a federated mean and a federated histogram by hand;
# - **train** a Keras autoencoder with `tff.learning`, **evaluate** it, and **change** its server
#   optimiser;
# - **treat** learning as a state machine: save it, branch it, take it up again;
# - **replace** the mean by aggregators that clip or sum securely, and **see** what they hide;
# - **prove** that TensorFlow Federated ends at the weights of `fl.fit`;
# - **choose** a framework by measured numbers.
#
# You need: chapters 02 (federated threshold) and 03 (FedAvg). A little TensorFlow helps; what is
# used is explained.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 5.1 A framework in an environment of its own
#
# TensorFlow Federated (TFF) is Google's framework for federated computation. Its release 0.87
# wants Python 3.11 and a numpy, a JAX and a TensorFlow of 2023. Nothing else in this course can live
# with these, and on Colab Python is newer. So TFF gets an environment of its own, made once by
#
#     python -m fedlab_utils.runtimes.tff install
#
# (in a notebook: an exclamation mark before it). It needs Linux on x86-64, some minutes and 2.2 GB of
# disk. Do we have it?

# %%
from fedlab_utils.runtimes import tff as tff_runtime

found = tff_runtime.status()
print(found.state, {key: found.stamp.get(key) for key in ("tff", "python", "megabytes")})

# %% [markdown]
# The extension gives us cells that begin with `%%tff`. They run in that environment, in a Python
# process that lives as long as this notebook. Their outputs, errors and interrupts behave as in any
# cell; `%tff_restart` begins afresh.

# %%
# %load_ext fedlab_utils.runtimes.tff

# %%
# %%tff
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

tf.get_logger().setLevel("CRITICAL")  # TFF's own code causes warnings that are none of our doing
print(f"TFF {tff.__version__}, TensorFlow {tf.__version__}, numpy {np.__version__}")

# %% [markdown]
# (These seconds are TFF's import.) The cells above and below share nothing with `%%tff` cells but
# what is named: `--in` copies variables there, `--out` copies them back. Numbers, strings and arrays
# cross, in files without pickle, so that neither side can run code in the other by a value.

# %%
import numpy as np
import torch

import fedlab_utils as fl
from fedlab_utils.course import check, figures, hint, save_results, show
from fedlab_utils.data.files import dataset_path

torch.set_num_threads(1)
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
rows = {client.name: client.x_train for client in federation}

# %%
# %%tff --in rows --out shapes
shapes = {name: list(values.shape) for name, values in rows.items()}

# %%
{name: shapes[name] for name in list(shapes)[:3]}

# %% [markdown]
# ## 5.2 Types say where a value lives
#
# In TFF every value has a **type**, and the type includes its **placement**: at the clients or at
# the server. Here are three: a number at each client; a number at the server; a vector of three
# numbers at each client. Braces say "one at each client, possibly different".

# %%
# %%tff
for dtype, place in [(np.float32, tff.CLIENTS), (np.float32, tff.SERVER)]:
    print(tff.FederatedType(dtype, place))
print(tff.FederatedType((np.float32, (3,)), tff.CLIENTS))

# %% [markdown]
# A **federated computation** maps such values. The mean of a number at each client is a number at
# the server, and the type says so. An arrow leads from argument to result:

# %%
# %%tff
at_clients = tff.FederatedType(np.float32, tff.CLIENTS)


@tff.federated_computation(at_clients)
def mean_of_clients(value):
    return tff.federated_mean(value)


print(mean_of_clients.type_signature)

# %% [markdown]
# This is not Python that runs line by line: the function was called once, to record what it does.
# TFF keeps the record, checks its types, and can run it elsewhere: here in a local C++ process that
# plays all clients, in other places on phones. The list has one entry per client:

# %%
# %%tff
mean_of_clients([1.0, 2.0, 6.0])

# %% [markdown]
# What is the use of such types? Mistakes that would leak data or make no sense are found before
# anything runs. You cannot average what is already at the server:


# %%
# %%tff --fails TypeError
@tff.federated_computation(tff.FederatedType(np.float32, tff.SERVER))
def nonsense(value):
    return tff.federated_mean(value)


# %% [markdown]
# And no operator just copies one client's value to the server. All ways from the clients to the server
# are aggregations: sum, mean, minimum, maximum and their relatives. That is the framework's view of
# privacy, written into its language. (It is a view, not a proof: the sum over one client is that
# client's value. Types say where a value lives, not how much it tells.)

# %% [markdown]
# ## 5.3 A federated mean by hand
#
# FedAvg weighs clients by their rows. A mean over all payments of all banks needs two sums: of the
# rows and of their values. What does a bank compute? That is ordinary TensorFlow, with a type of
# its own and no placement: `float32[?]` is a vector of unknown length.

# %%
# %%tff
vector = tff.TensorType(np.float32, [None])


@tff.tensorflow.computation(vector)
def total_and_count(values):
    return tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32)


print(total_and_count.type_signature)

# %% [markdown]
# Now the federated part: `federated_map` computes at the clients, `federated_sum` brings the sums to
# the server, and a last `federated_map`, on values at the server, computes there. Something is
# missing:

# %%
# %%tff --fails TypeError
divide = tff.tensorflow.computation(lambda a, b: a / b, (np.float32, np.float32))


@tff.federated_computation(tff.FederatedType(vector, tff.CLIENTS))
def mean_by_hand(values):
    at_server = "???"  # something made of tff.federated_map(total_and_count, values)
    return tff.federated_map(divide, at_server)


# %% [markdown]
# The pair of numbers lies at the clients; what we divide must lie at the server:


# %%
# %%tff
@tff.federated_computation(tff.FederatedType(vector, tff.CLIENTS))
def mean_by_hand(values):
    pair = tff.federated_map(total_and_count, values)
    at_server = tff.federated_sum(pair)
    return tff.federated_map(divide, at_server)


print(mean_by_hand.type_signature)

# %% [markdown]
# We try it on the banks' raw amounts (logarithms; not yet standardised):

# %%
raw = fl.load("payments", clients=10, shift=0.6, seed=0, scaler=None)
column = raw.features.index("amount")
amounts = [client.x_train[:, column] for client in raw]

# %%
# %%tff --in amounts --out theirs
theirs = mean_by_hand(amounts)

# %%
pooled = np.concatenate(amounts).mean(dtype=np.float64)
print("as the pooled mean:", np.allclose(theirs, pooled, rtol=1e-5))
print("mean of the banks' means is another number:", np.mean([a.mean() for a in amounts]) - pooled)

# %% [markdown]
# ## 5.4 A federated histogram by hand
#
# Chapter 02 set one threshold for all banks from the sum of their histograms of scores. In TFF this is
# the same pattern with a longer vector. The edges are public; the server has them and
# **broadcasts** them. Look at the type of the argument: one value at the server, one at each client.

# %%
# %%tff
scores_type, edges_type = (tff.TensorType(np.float64, [None]) for _ in range(2))


@tff.tensorflow.computation(scores_type, edges_type)
def count(scores, edges):
    bins = tf.searchsorted(edges, scores, side="left")
    counts = tf.math.bincount(bins, minlength=602)
    return tf.reshape(counts, [602])  # the type must know the length: it is to be summed


print(count.type_signature)


# %%
# %%tff
@tff.federated_computation(
    tff.FederatedType(scores_type, tff.CLIENTS), tff.FederatedType(edges_type, tff.SERVER)
)
def histogram(scores, edges):
    return tff.federated_sum(tff.federated_map(count, (scores, tff.federated_broadcast(edges))))


print(histogram.type_signature)

# %% [markdown]
# Scores need a model. We train one with our engine; soon TFF will train it.

# %%
from fedlab_utils.detect import ScoreHistogram, score_edges

local = fl.SGD(lr=0.3, epochs=1, batch_size=64, momentum=0.9)
model = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=0)
ours = fl.fit(model, federation, rounds=5, local=local, progress=False)
scores = [
    fl.reconstruction_error(ours.model, client.x_calibration).astype(np.float64)
    for client in federation
]
edges = score_edges()

# %%
# %%tff --in scores edges --out counts
counts = histogram(scores, edges)

# %%
summed = fl.federated_threshold([ScoreHistogram.from_vector(counts, edges)], alarm_rate=0.01)
ours_02 = fl.federated_threshold([ScoreHistogram.of(s, edges) for s in scores], alarm_rate=0.01)
print(f"threshold from TFF's sum: {summed:.4f}; as chapter 02 computes it: {summed == ours_02}")

# %% [markdown]
# ## 5.5 FedAvg with `tff.learning`
#
# Nobody writes FedAvg by hand in TFF: `tff.learning` builds the computations from a Keras model and
# optimisers. Four banks are enough to see how. Each client's data is a `tf.data.Dataset`: it knows how
# to shuffle and to batch, so the local epochs are part of the data, not of the algorithm.

# %%
few = ["bank 3", "bank 5", "bank 8", "bank 10"]
four_banks = federation.only(few)
four = [client.x_train for client in four_banks]
held_back = [client.x_calibration for client in four_banks]


# %%
# %%tff --in four held_back
def dataset(x, epochs=1):
    pairs = tf.data.Dataset.from_tensor_slices((x, x))  # an autoencoder's target is its input
    return pairs.shuffle(len(x), seed=0).repeat(epochs).batch(64)


train = [dataset(x) for x in four]
print(train[0].element_spec)

# %% [markdown]
# The model is a function that makes one: TFF calls it inside its own graph, and a model that was made
# outside would belong to another. The input specification is what the types will say.


# %%
# %%tff
def keras_autoencoder():
    layers = tf.keras.layers
    widths = [(46, "tanh"), (8, None), (46, "tanh"), (23, None)]
    first = layers.InputLayer(input_shape=(23,))
    return tf.keras.Sequential([first, *(layers.Dense(n, activation=a) for n, a in widths)])


def model_fn():
    loss = tf.keras.losses.MeanSquaredError()
    spec = train[0].element_spec
    return tff.learning.models.from_keras_model(keras_autoencoder(), loss=loss, input_spec=spec)


# %%
# %%tff
optimizers = tff.learning.optimizers


def fed_avg(server=None, aggregator=None):
    return tff.learning.algorithms.build_weighted_fed_avg(
        model_fn,
        client_optimizer_fn=optimizers.build_sgdm(0.3, momentum=0.9),
        server_optimizer_fn=server or optimizers.build_sgdm(1.0),
        model_aggregator=aggregator,
    )


process = fed_avg()

# %% [markdown]
# What came out is a **learning process** with two computations, `initialize` and `next`. Their
# types tell the whole story of FedAvg: who has what, what is an argument, what is a result.

# %%
# %%tff
print(process.initialize.type_signature.result.formatted_representation())

# %%
# %%tff
print("data:", process.next.type_signature.parameter["client_data"])
print("metrics:", process.next.type_signature.result["metrics"].formatted_representation())

# %% [markdown]
# The state lies at the server: weights, learning rates, and the memory of the aggregator (here none).
# The data lie at the clients, and **no part of the result does**: what comes back is state and metrics
# at the server.
#
# `initialize` draws new weights each time it is called. We want the same in every run, and the same as
# our engine starts from, so we hand over ours. Keras keeps a layer as [in, out], torch as [out, in]:

# %%
layers = [np.ascontiguousarray(p.detach().numpy().T) for p in model.parameters()]

# %%
# %%tff --in layers
first_weights = tff.learning.models.ModelWeights(tuple(layers), ())
start = process.set_model_weights(process.initialize(), first_weights)

# %% [markdown]
# Rounds are now a loop:

# %%
# %%tff --out losses
state, losses, states = start, [], []
for _ in range(6):
    states.append(state)
    output = process.next(state, train)
    state = output.state
    losses.append(output.metrics["client_work"]["train"]["loss"])
print(output.metrics["client_work"])

# %%
show(figures.curves({"four banks, TFF": losses}, ylabel="Training loss"))

# %% [markdown]
# Compare the metrics with `run.history` of chapter 03: there is no loss by client, no list of names.
# TFF's coordinator gets sums over clients. To find the one bank that diverges, as we did there, you
# would have to leave its rules. That is a price, and it is meant.

# %% [markdown]
# ## 5.6 Learning as a state machine
#
# `next` is a function in the mathematical sense: no hidden counter, no weights that change under your
# hands. Old state and data in, new state out. The old one is still good. So we can repeat a
# round to the same bits:


# %%
# %%tff
def weights_of(state):
    return process.get_model_weights(state).trainable


def same(one, other):
    return all(map(np.array_equal, weights_of(one), weights_of(other)))


print("the last round again:", same(process.next(states[-1], train).state, state))
print("the round before is another state:", not same(states[-1], state))

# %% [markdown]
# Nothing else than the state must be saved. It is a tree of arrays; flat, it crosses to our side, and
# we write it to a file. (TFF has `tff.program.FileProgramStateManager` for the same purpose.)

# %%
# %%tff --out leaves
leaves = tf.nest.flatten(state)

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    file = Path(folder) / "state.npz"
    np.savez(file, *leaves)
    with np.load(file) as saved:
        restored = [saved[name] for name in saved.files]
print(f"{len(restored)} arrays")

# %%
# %%tff --in restored
back = tf.nest.pack_sequence_as(process.initialize(), restored)
one, other = (process.next(s, train).state for s in (state, back))
print("goes on as if nothing had happened:", same(one, other))

# %% [markdown]
# ## 5.7 The same weights as ours
#
# Is TFF's FedAvg our FedAvg? Three things must be the same: start, order of rows, and arithmetic.
#
# - **Start.** Weights that you set inside `model_fn` are lost. The way in is that of section 5.5,
#   `process.set_model_weights`, with each layer transposed.
# - **Order.** TFF does not care how a dataset is ordered, so we feed it batches in the order of our
#   `batch_order`, round by round, instead of letting it shuffle.
# - **Arithmetic.** Mean squared error, SGD with momentum that starts at zero in each round, and a mean
#   weighted by rows mean the same here and there.
#
# `fit_tff` does that: it has the arguments and the result of `fl.fit`. All ten banks, with momentum
# and ragged batches:

# %%
theirs = tff_runtime.fit_tff(model, federation, rounds=5, local=local)
difference = (fl.flatten(theirs.model) - fl.flatten(ours.model)).abs().max()
print(f"largest difference of {len(fl.flatten(model))} weights: {difference:.0e}")

# %% [markdown]
# And round by round, on the recorded run of the article of 2020 (chapter 03). The chain is closed:
# PySyft 0.2, our loop, our stacked engine and TFF compute the same.

# %%
recorded = np.load(dataset_path("article", "article_pysyft029_seed0.npz"))
none = np.empty((0, 20), np.float32)
article = fl.Federation(
    "article",
    tuple(
        fl.Client(n, recorded[f"data.{n}"], none, none, np.empty(0, bool), np.empty(0, str))
        for n in ("alice", "bob", "charlie")
    ),
    tuple(f"x{i}" for i in range(20)),
)
shape = fl.DenseAutoencoder((20, 10, 5), "relu")
init = np.concatenate([recorded[f"init.{name}"].ravel() for name in shape.state_dict()])
start = fl.unflatten(torch.from_numpy(init), shape)

# %%
from itertools import islice

import pandas as pd

options = {"local": fl.SGD(0.01, epochs=5, batch_size=None), "aggregator": fl.Mean(weighted=False)}
gaps = []
for number, done in enumerate(islice(tff_runtime.tff_rounds(start, article, **options), 5), 1):
    run = fl.fit(start, article, rounds=number, progress=False, **options)
    old = np.concatenate([recorded[f"round{number}.{n}"].ravel() for n in shape.state_dict()])
    gap = {"to PySyft 0.2": old, "to fl.fit": fl.flatten(run.model).numpy()}
    gaps.append({name: np.abs(done.weights.numpy() - other).max() for name, other in gap.items()})
pd.DataFrame(gaps, index=pd.RangeIndex(1, 6, name="round")).style.format("{:.0e}")

# %% [markdown]
# ## 5.8 Evaluation without moving the rows
#
# `build_fed_eval` makes a process that computes a model's metrics at the clients and sums them. Its
# result type has no placement at the clients either. We evaluate the first and the last state on rows
# that were held back:

# %%
# %%tff --out evaluated
evaluation = tff.learning.algorithms.build_fed_eval(model_fn)
test = [dataset(x) for x in held_back]
evaluated = []
for one in (states[0], state):
    ready = evaluation.set_model_weights(evaluation.initialize(), process.get_model_weights(one))
    metrics = evaluation.next(ready, test).metrics
    evaluated.append(metrics["client_work"]["eval"]["current_round_metrics"]["loss"])

# %%
print("held-back loss before and after: {:.3f}, {:.3f}".format(*evaluated))

# %% [markdown]
# A loss is a mean over rows, so it can be summed. Average precision cannot: it ranks all rows against
# each other. For that the weights come back here, and each bank scores its own test rows, with the
# floors beside it. This is a single seed and few rounds, for one purpose: TFF's model and ours are
# the same detector.

# %%
models = {"TFF": theirs.model, "fl.fit": ours.model}
report = fl.evaluate(models, federation, seed=0)
report.table()

# %% [markdown]
# ## 5.9 Another server optimiser
#
# The server treats the mean update as a gradient. Plain SGD with rate 1 is FedAvg; momentum or Adam
# at the server (FedAvgM, FedAdam) are one argument away. Six rounds of Adam, from the same start:

# %%
# %%tff --out curves
other = fed_avg(optimizers.build_adam(0.01))
s, curves = other.set_model_weights(other.initialize(), first_weights), {"FedAvg": losses}
curves["FedAdam"] = []
for _ in range(6):
    output = other.next(s, train)
    s = output.state
    curves["FedAdam"].append(output.metrics["client_work"]["train"]["loss"])

# %%
show(figures.curves(curves, ylabel="Training loss"))

# %%
print({name: round(float(values[-1]), 3) for name, values in curves.items()})

# %% [markdown]
# Do not read a ranking into one run of six rounds: each server optimiser wants a rate of its own, and
# chapter 09 gives all of them the same budget for tuning.

# %% [markdown]
# ## 5.10 Other aggregators
#
# The mean believes everybody. An **aggregator** in TFF is a process too: a type for its state, and
# `next` from values at the clients to one at the server. Aggregators wrap each other, as ours do. This
# one clips every client's vector to a length of at most 1, then takes the mean:

# %%
# %%tff
clipped_mean = tff.aggregators.clipping_factory(1.0, tff.aggregators.UnweightedMeanFactory())
clip = clipped_mean.create(tff.TensorType(np.float32, [2]))
print(clip.next.type_signature.parameter["value"], "->", clip.next.type_signature.result["result"])

# %%
# %%tff --out clipped
far = [np.array(v, np.float32) for v in ([0.3, 0.4], [3, 4], [-30, -40])]
output = clip.next(clip.initialize(), far)
clipped = output.result
print(clipped, output.measurements["clipped_count"], "were clipped")

# %%
vectors = np.array([[0.3, 0.4], [3, 4], [-30, -40]])
norms = np.linalg.norm(vectors, axis=1, keepdims=True)
print("by hand:", np.allclose((vectors * np.minimum(1, 1 / norms)).mean(0), clipped, atol=1e-6))

# %% [markdown]
# **Does it protect?** Bank 10 forgets to standardise its rows, and everything it sends is out of scale.
# We compare the mean with TFF's `robust_aggregator`, which first sets far too large updates to zero and
# clips the rest to a length that it learns from the clients. We measure the loss on the *other*
# banks' held-back rows.

# %%
broken = [*four[:-1], 100 * four[-1]]


# %%
# %%tff --in broken --out damage
def after(trained, data, rounds=4):
    s = trained.set_model_weights(trained.initialize(), first_weights)
    for _ in range(rounds):
        output = trained.next(s, data)
        s = output.state
    weights = trained.get_model_weights(s)
    ready = evaluation.set_model_weights(evaluation.initialize(), weights)
    metrics = evaluation.next(ready, test[:-1]).metrics["client_work"]
    return metrics["eval"]["current_round_metrics"]["loss"], output.metrics["aggregator"]


bad = [dataset(x) for x in broken]
robust_process = fed_avg(aggregator=tff.learning.robust_aggregator())
robust, seen = after(robust_process, bad)
damage = {"mean": after(process, bad)[0], "robust": robust}
print("clipping norm, learned from the clients:", seen["zeroing"]["clipping_norm"])

# %%
print({name: round(float(value), 3) for name, value in damage.items()})

# %% [markdown]
# **Secure sum.** Finally, the server need not even see single updates. `SecureSumFactory` turns
# numbers into integers, and integers can be summed under encryption (chapter 07 builds such a
# protocol). TFF's local runtime does not encrypt: it has a test context that computes the same integers
# in the clear. The result is that of a secure sum; the secrecy is not. Watch the third number:

# %%
# %%tff --out secure
tff.backends.test.set_sync_test_cpp_execution_context()
secure_sum = tff.aggregators.SecureSumFactory(8.0, -8.0).create(tff.TensorType(np.float32, [3]))
sent = [np.array(v, np.float32) for v in ([1, 2, 3], [1, 2, 30])]
output = secure_sum.next(secure_sum.initialize(), sent)
secure = output.result
print(secure, dict(output.measurements))
tff.backends.native.set_sync_local_cpp_execution_context()

# %% [markdown]
# 3 and 30 make 11, because a value outside the agreed bounds is cut off at them. No error, no warning:
# under encryption nobody can look. The count of clipped values in the measurements is the only trace.
# Whoever does not read it trains on cut updates. Exercise 05.3 looks inside.
#
# **Noise.** `tff.learning.dp_aggregator(noise_multiplier, clients_per_round)` clips adaptively and adds
# Gaussian noise to the sum. How much noise buys which guarantee, and for whom, is chapter 06; we name
# it here because in TFF it is one more aggregator, with the same type.

# %% [markdown]
# ## 5.11 When something breaks
#
# A client's update can also be *not a number*. Our engine stops and names the client (chapter 03).
# TFF? Bank 10 overflows:

# %%
overflow = [*four[:-1], np.full_like(four[-1], 1e30)]

# %%
# %%tff --in overflow
output = process.next(states[0], [dataset(x) for x in overflow])
print(dict(output.metrics["client_work"]["train"]), "of", sum(map(len, overflow)), "rows")

# %% [markdown]
# It goes on without bank 10, and says nothing. On a million phones that is right: a few broken ones
# must not stop a round. With ten banks it is a trap. The only trace is the number of examples;
# `fit_tff` compares it with the rows it sent, and raises.

# %% [markdown]
# ## 5.12 Which framework when
#
# The course has now trained the same model with three engines; a fourth, Flower, comes in chapter 14.
# What do they cost? The table below was
# measured by `python -m fedlab_utils.runtimes.compare --record`: each framework in a process of its
# own, on one job (a dense autoencoder of 20 features, 256 rows a client, one epoch in batches of 32),
# all ending at the same weights. "Set-up" counts the framework's packages with all they require.

# %%
from fedlab_utils.runtimes import compare

machine, measurements = compare.recorded()
table = compare.to_frame(measurements)
print("measured on:", machine)
save_results("05", "Which framework when", table)
table.drop(columns=["the coordinator sees", "state"])

# %%
table[["the coordinator sees", "state"]]

# %% [markdown]
# Absolute numbers belong to that machine; the order of magnitude will be alike on yours. To measure,
# run the command above without `--record`. It takes some minutes, since every framework is imported
# afresh.
#
# How to choose?
#
# - To **learn**, to compare algorithms, to simulate thousands of clients on a laptop: an engine like
#   ours. Nothing is hidden, also not from the coordinator.
# - To **prove** what leaves a client, to design a new aggregation, or to read Google's papers: TFF. Its
#   types are the best description of a federated algorithm that there is. But its last release is of
#   2024 and holds you to Python 3.11; do not start a product on it.
# - To run **other people's code on your data** only after you have read it: PySyft (chapter 04). A
#   round is slow, as the table says, because every message is a file with permissions, kept in step on
#   both sides.
# - To put clients on **real machines**: Flower (chapter 14).

# %% [markdown]
# ## 5.13 And on real data
#
# Heart disease in four hospitals (chapter 02): real owners of very unequal size, and nothing tuned for
# TFF. It trains for fifteen rounds; local, central and our own federated training stand beside it, and
# the floors. Disease is not rare here, so AUC is the better guide.

# %%
gentle = fl.SGD(lr=0.02, momentum=0.9, batch_size=16)


def compare_on(data, seed):
    """Train with the same budget in four ways; also the largest difference of the federated two."""
    begin = fl.dense_autoencoder(data.n_features, seed=seed)
    same = {"rounds": 15, "local": gentle, "seed": seed}
    models = {
        "federated (TFF)": tff_runtime.fit_tff(begin, data, **same).model,
        "federated (fl.fit)": fl.fit(begin, data, progress=False, **same).model,
        "local": fl.fit_local(begin, data, **same),
        "central": fl.fit(begin, data.pooled_federation(), progress=False, **same).model,
    }
    a, b = (fl.flatten(models[f"federated ({name})"]) for name in ("TFF", "fl.fit"))
    return models, float((a - b).abs().max())


# %%
from fedlab_utils.detect import format_summary

reports = []
for seed in range(3):
    hospitals = fl.load("heart", seed=seed)
    models, difference = compare_on(hospitals, seed)
    print(f"seed {seed}: largest difference of a weight {difference:.0e}")
    reports.append(fl.evaluate(models, hospitals, seed=seed))
summary = format_summary(fl.summarise(reports))
save_results("05", "Heart disease trained by TFF: mean and spread of three seeds", summary)
summary

# %% [markdown]
# The two federated rows agree to the digits shown. Rounding errors grow from step to step, and after
# fifteen rounds they are still far below anything that a score could feel. So what chapter 02 found
# about these hospitals holds here too, its warning included: **the floors are as good as the trained
# models or better**. A framework does not change what data can teach.

# %% [markdown]
# ## What we have built
#
# - `%%tff` cells: TFF in an environment of its own, values crossing without pickle, nothing left
#   running.
# - A federated mean and a federated histogram in TFF's language, equal to ours.
# - FedAvg with `tff.learning`, as a state machine that can be saved, repeated and branched.
# - Aggregators that clip, resist and sum securely, and what each of them hides.
# - The proof that TFF, PySyft 0.2 and our two engines compute the same weights.
# - A measured table for choosing a framework.

# %% [markdown]
# ## Check yourself
#
# **What does the type `({float32[3]}@CLIENTS -> float32[3]@SERVER)` say, and what does it not say?**
#
# <details><summary>Answer</summary>
# Each client has a vector of three numbers, and one vector of three numbers comes out at the server.
# It does not say how they were combined (sum, mean, something robust), nor that the result hides a
# single client: the sum over one client is that client's vector.
# </details>
#
# **Why must the state go in and come out, instead of being kept in an object?**
#
# <details><summary>Answer</summary>
# Then a round depends on its arguments only. It can be repeated, saved, branched, or computed on
# another machine after a crash, and a test can compare two states.
# </details>
#
# **A secure sum returns plausible numbers. Which measurement do you look at before you use them?**
#
# <details><summary>Answer</summary>
# The counts of clipped values. Values outside the agreed bounds were cut off, and nothing else tells.
# </details>
#
# **TFF and our engine agree to about a millionth. Would they if the clients shuffled by themselves?**
#
# <details><summary>Answer</summary>
# No. Mini-batch SGD depends on the order of the rows. The losses would be close, the weights not. With
# full batches the order does not matter, up to rounding.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 05.1** (easy) Write TFF's types as strings, as TFF prints them: (a) an `int32` at each
# client; (b) a vector of 10 `float32` at the server; (c) the signature of a computation that takes a
# vector of 10 `float32` at each client to their sum at the server; (d) of one that takes an `int32` at
# the server and gives it to all clients. (When all clients hold the same value, TFF leaves out the
# braces.)

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: types = {"a": ..., "b": ..., "c": ..., "d": ...}  # your turn
types = {
    "a": "{int32}@CLIENTS",
    "b": "float32[10]@SERVER",
    "c": "({float32[10]}@CLIENTS -> float32[10]@SERVER)",
    "d": "(int32@SERVER -> int32@CLIENTS)",
}
# END SOLUTION

check("05.1", types)

# %% [markdown]
# **Exercise 05.2** (medium) Write what `clipping_factory` does to one client: scale an update down to
# length `bound` if it is longer, and leave it as it is otherwise. Mind an update of zeros.


# %% tags=["exercise"]
def clip_update(update, bound):
    """Return update [P] with a length of at most bound."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    length = np.linalg.norm(update)
    return update if length <= bound else update * (bound / length)
    # END SOLUTION


check("05.2", clip_update)

# %% [markdown]
# **Exercise 05.3** (medium) A secure sum can add integers only. Write `to_integers`, which maps numbers
# between `low` and `high` to the integers 0 to `2**bits - 1`, rounding to the nearest; numbers outside
# are cut off. And write `from_sum`, which turns the sum of `clients` such integers back into the sum
# of the numbers. Then compare with the secure sum above.


# %% tags=["exercise"]
def to_integers(values, low, high, bits):
    """Map values [P] in [low, high] to integers [P] in 0 ... 2**bits - 1."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    share = (np.clip(values, low, high) - low) / (high - low)
    return np.rint(share * (2**bits - 1)).astype(np.int64)
    # END SOLUTION


def from_sum(total, clients, low, high, bits):
    """Turn the sum [P] of the clients' integers into the sum [P] of their values."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return np.asarray(total) / (2**bits - 1) * (high - low) + clients * low
    # END SOLUTION


check("05.3", (to_integers, from_sum))

# %%
hint("05.3")

# %% tags=["solution"]
sent = np.array([[1, 2, 3], [1, 2, 30]])
total = sum(to_integers(one, -8, 8, bits=20) for one in sent)
print("as TFF's secure sum:", np.allclose(from_sum(total, 2, -8, 8, 20), secure, atol=1e-4))

# %% [markdown]
# **Exercise 05.4** (hard) Write FedAvgM's server as a state machine. The state is a dict with `weights`
# [P] and `velocity` [P]; the updates [K, P] are weighted by `rows` [K]. The velocity becomes `momentum`
# times the old one plus the mean update, and the weights move by the velocity. The old state must stay
# good: a caller may want to repeat the round.


# %% tags=["exercise"]
def next_state(state, updates, rows, momentum):
    """Return the state after a round, and leave the old one alone."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    mean = np.average(updates, axis=0, weights=rows)
    velocity = momentum * state["velocity"] + mean
    return {"weights": state["weights"] + velocity, "velocity": velocity}
    # END SOLUTION


check("05.4", next_state)

# %% [markdown]
# **Exercise 05.5** (open) Robust aggregation has a price. Run `after(...)` of section 5.10 on `train`, in
# which nobody is broken, with and without `robust_aggregator`. Then give two of the four banks broken
# rows. Where does it stop to help? Write your guess down first; the code goes into a `%%tff` cell.

# %% tags=["solution"]
two_broken = [*four[:2], *(100 * x for x in four[2:])]

# %% tags=["solution"]
# %%tff --in two_broken
for name, data in {"nobody": train, "two": [dataset(x) for x in two_broken]}.items():
    for title, how in {"mean": process, "robust": robust_process}.items():
        print(f"{name} broken, {title}: {after(how, data)[0]:.3f}")

# %% [markdown]
# ## Further reading
#
# - K. Bonawitz and others, [Towards Federated Learning at Scale: System
#   Design](https://arxiv.org/abs/1902.01046) (2019): the system that TFF's language was made for.
# - [TFF's documentation](https://www.tensorflow.org/federated): read "Federated Core" for the language.
#   Many tutorials on the web are older than release 0.60 and do not run; `tff.tf_computation` is today
#   `tff.tensorflow.computation`.
# - S. Reddi and others, [Adaptive Federated Optimization](https://arxiv.org/abs/2003.00295) (2021):
#   momentum and Adam at the server.
# - G. Andrew and others, [Differentially Private Learning with Adaptive
#   Clipping](https://arxiv.org/abs/1905.03871) (2021): how a clipping norm is learned.
# - K. Bonawitz and others, [Federated Learning with Autotuned Communication-Efficient Secure
#   Aggregation](https://arxiv.org/abs/1912.00131) (2019): bounds and bits of a secure sum.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Before the course:** run the install command on the machines; it downloads 0.6 GB. On Binder it
#   is there already.
# - **Where people get stuck:** two Pythons. A variable made in a `%%tff` cell is not known to the next
#   ordinary cell: ask "where does this value live?", which is the chapter's question anyway. And a
#   federated computation does not run when it is defined: print inside one and see when it prints.
# - **What to ask:** "Which line of the type of `process.next` would have to change if clients kept
#   state between rounds, as SCAFFOLD needs?" and "What can the server learn from the sum if all but one
#   client are its friends?"
# - **What to skip:** sections 5.9 and 5.11; the live measurement in 5.12.
#
# </details>
