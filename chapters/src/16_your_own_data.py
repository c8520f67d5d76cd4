# %% [markdown]
# # 16 · Your own data
# *What does a federation find in your own CSV file with a client column?*
#
# {{badges}}
#
# You will
#
# - **point** one cell to your own file, and **map** its columns;
# - **read** errors that name columns and lines, and **judge** warnings: identifiers, leaks, duplicates;
# - **encode** missing values and categories from counts and sums, and **say** what was told for it;
# - **train** and **test** local, federated and central detectors beside the floors, or only **score**, if
#   there are no labels;
# - **write** a report, one HTML file that you can send around.
#
# You need: chapters 01 and 02 (detectors, floors, thresholds, federations). Nothing leaves this machine.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 16.1 The one cell to change
#
# As it is, this notebook runs on a file that it writes itself: the patients of four hospitals (chapter 02).
# Their columns are explained in section 16.3:

# %%
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import fedlab_utils as fl
from fedlab_utils import pipeline
from fedlab_utils.course import check, hint, save_results, show, show_error
from fedlab_utils.data.files import dataset_path

torch.set_num_threads(1)

# %%
folder = Path(tempfile.mkdtemp())
patients = folder / "patients.csv"
patients.write_bytes(dataset_path("heart", "heart_disease_uci.csv").read_bytes())
hospitals = pipeline.ColumnMapping(
    client="dataset",
    label="num",
    anomaly=["1", "2", "3", "4"],  # degrees of the disease; 0 is none
    categorical=["sex", "cp", "fbs", "restecg", "exang", "slope", "thal"],
    ignore=["id"],
    missing_in={"chol": ["0"], "trestbps": ["0"]},  # nobody has a blood pressure of 0
)

# %% [markdown]
# For **your** data, put the file beside the notebook, and change this cell. Begin with `mapping = None`, which
# takes the guess of section 16.2. Then correct it.

# %% id="own-data"
path = patients  # "my_file.csv"
client, label, time = "dataset", "num", None  # names of columns; None where there is none
mapping = hospitals  # None takes a guess; then write pipeline.ColumnMapping(...)
unseen = "Switzerland"  # a client that only tests, or None
local = fl.SGD(lr=0.05, momentum=0.9, batch_size=16)
settings = pipeline.Settings(rounds=10, local=local, alarm_rate=0.05, masks=True, unseen=unseen)
title, report_path = "Heart disease in four hospitals", folder / "report.html"

# %% [markdown]
# ## 16.2 Look first
#
# A file is text. What is in it?

# %%
print("\n".join(Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines()[:4]))

# %% [markdown]
# Each column must be *something*: the client, the label, the time, a number, a category, or ignored. Here
# is a guess, to be read and corrected:

# %%
guess = pipeline.suggest_mapping(path, client, label=label, time=time)
for kind in ("numeric", "categorical", "ignore"):
    print(f"{kind:12} {getattr(guess, kind)}")
mapping = mapping or guess

# %% [markdown]
# ## 16.3 What is what
#
# The guess cannot know which values of the label mean an anomaly, which numbers are really codes, what a 0
# stands for, and which columns are filled in only *after* somebody was found to be ill. That is why
# `hospitals`, in section 16.1, says more than the guess.
#
# Mistakes are part of it. What is wrong is said with the name of the column, what was probably meant, and
# the lines of the file:

# %%
from dataclasses import replace

from fedlab_utils.errors import FedlabError

mistakes = {
    "a column that is not there": replace(hospitals, client="data set"),
    "text where numbers should be": replace(hospitals, categorical=["sex"], numeric=["age", "cp"]),
    "labels with an unknown meaning": replace(hospitals, anomaly=None),
}
for what, wrong in mistakes.items():
    print(f"\n{what}")
    with show_error(FedlabError):
        pipeline.read_csv(patients, wrong)

# %% [markdown]
# All errors of a file come at once, so that you need not correct them one by one:

# %%
spoiled = folder / "spoiled.csv"
lines = patients.read_text().splitlines()
lines[2] = lines[2].replace("67,", "sixty-seven,", 1)
lines[4] = lines[4].replace("Cleveland", "")
spoiled.write_text("\n".join(lines))
with show_error(FedlabError):
    pipeline.read_csv(spoiled, hospitals)

# %% [markdown]
# ## 16.4 Read and check

# %%
own = pipeline.read_csv(path, mapping)
own.describe().round(3)

# %% [markdown]
# Not everything odd is an error. These are **warnings**: the results may mean something else than they
# seem to.

# %%
own.findings_table().style.hide(axis="index").set_properties(**{"text-align": "left"})

# %% [markdown]
# Among the checks are: columns that have another value in each row (identifiers); columns that name the
# client; a column that alone ranks the anomalies with an AUC above .99 (it may know the label); rows
# that occur twice; clients with one class only; much that is missing. Let us provoke the two that matter
# most, with two columns that we make up:

# %%
frame = pd.read_csv(patients)
frame["case"] = np.arange(len(frame)) + 7000
frame["therapy"] = np.where(frame["num"] > 0, 2 + frame["age"] % 2, frame["age"] % 2)
frame.to_csv(folder / "leaky.csv", index=False)
leaky = pipeline.read_csv(folder / "leaky.csv", hospitals)
for finding in leaky.findings:
    if finding.about in ("case", "therapy"):
        print(finding, "\n")

# %% [markdown]
# In a consortium nobody has one file with everybody's rows. Each member runs `read_csv` on its own
# file; no check needs the rows of another. (A column that names the client is then the same in all rows,
# which is a warning, too.) Which rows are odd, or missing, is told to nobody.

# %% [markdown]
# ## 16.5 From columns to numbers, by sums
#
# How is a missing number replaced if nobody may collect the numbers? By the mean of all clients. And the
# mean is a sum of sums over a sum of counts. Two hospitals:

# %%
parts = [np.array([120.0, np.nan, 140.0]), np.array([np.nan, 160.0])]
counts = [int(np.sum(~np.isnan(part))) for part in parts]
sums = [float(np.nansum(part)) for part in parts]
print("counts", counts, "sums", sums, "mean", sum(sums) / sum(counts))

# %% [markdown]
# Not the mean of means! With $c_k$ values that are there and sums $s_k$:
#
# $$ m = \frac{\sum_k s_k}{\sum_k c_k} $$
#
# Then each client replaces its own missing values by $m$, and the usual federated standardisation makes 0 of
# them: neither odd nor telling. (What it costs: *that* a value is missing is not seen.)
#
# **Categories** are harder. To give each value a column, all must know which values there are. But a value
# may be a name. So a client names only values that many of its rows have. How many? With a hole:

# %%
at_least = "???"


def values_to_name(column, at_least):
    """The values that a client may tell the others, with how many rows have them."""
    names, count = np.unique(column, return_counts=True)
    frequent = count >= at_least
    return dict(zip(names[frequent].tolist(), count[frequent].tolist(), strict=True))


hospital = np.array(["typical"] * 14 + ["none"] * 30 + ["Mrs Miller's"])
with show_error(Exception):
    values_to_name(hospital, at_least)

# %% [markdown]
# There is no right number; ten is the package's choice. It is a rule of decency, and no guarantee:
# differential privacy would need noise on the counts (chapter 06). All other values become one column,
# "(other)". Where the possible values are public, list them in the mapping (`categories=`), and nothing
# has to be told.

# %%
at_least = 10
print(values_to_name(hospital, at_least))
with show_error(FedlabError):
    pipeline.prepare(pipeline.read_csv(patients, hospitals))

# %% [markdown]
# That is the last check, and a real finding: one hospital has hardly a healthy patient to learn from. It
# cannot train. But it can *use* the detector: it becomes `unseen`, the client that takes no part.

# %%
prepared = pipeline.prepare(own, unseen=unseen)
prepared.federation

# %%
teller, message = next(iter(prepared.summaries.items()))
print(f"{teller}: {message.rows} rows, {message.told} numbers told")
print("counts", message.counts, " sums", message.sums.round(1))
print(*message.frequent.items(), sep="\n")

# %% [markdown]
# The test: is the package's encoding what you would get with all rows in one place?

# %%
trains = pipeline.split_rows(own, unseen=unseen).part == "train"
rows = trains & (own.client != unseen) & (True if own.label is None else ~own.label)
in_one_place = np.nanmean(own.numeric[rows], axis=0)
by_sums = list(prepared.encoding.numeric.values())
print("largest difference of the means:", np.abs(in_one_place - by_sums).max())

# %% [markdown]
# **Training, threshold, test.** With a time column the past trains and the future tests, with the same two
# moments for all clients. Without one, rows are drawn at random; known anomalies are for testing only. Everything that is
# *learned*, down to means and categories, comes from training rows of members.

# %% [markdown]
# ## 16.6 Train and test
#
# Local, federated, central; three seeds; floors and an isolation forest beside. With `masks=True` the server
# sees of updates and of histograms only the sums (chapter 07). With `epsilon=` the training is
# differentially private (chapter 06). All of that is set in the cell of section 16.1.

# %%
outcome = pipeline.run_pipeline(own, settings, progress=False)
print(f"{len(outcome.run.history)} rounds, loss {outcome.run.history.loss[-1]:.3f}")

# %%
summary = outcome.summary()
if summary is not None:
    save_results("16", "Your own data (hospitals): detection, three seeds", summary)
summary

# %%
print(outcome.reports[0].caption() if outcome.reports else "no labels: nothing can be tested")

# %% [markdown]
# **How to read it**, with the hospitals as the example. AP begins at the prevalence, .71 here, so .88 is not
# much. The federated model is ahead of training alone, and even of the central one. But the row norm and the
# isolation forest are as good, and need no network: chapter 02 found the same. If your table
# looks like this, take the row norm. The AUC at Switzerland is below one half for nearly all: with three healthy
# patients in its test that is one of the numbers that mean nothing. Count before you compare.

# %%
from fedlab_utils.pipeline import figures

if outcome.reports:
    show(figures.ap_by_client(outcome), name="own-ap-by-client")

# %% [markdown]
# ## 16.7 Thresholds and alarms
#
# They need no labels. Each client has a threshold of its own, if it has enough rows for it, and there is the
# federated one:

# %%
outcome.thresholds.round(3)

# %%
show(figures.scores_and_threshold(outcome), name="own-scores")

# %% [markdown]
# Which rows are they? This is for the eyes of the client itself: lines of *its* file, the highest
# score first, with the features that contribute most. It is not in the report.

# %%
outcome.scores(own.clients[0]).head(5)

# %% [markdown]
# ## 16.8 Who saw what

# %%
pipeline.messages(outcome).style

# %%
for number, limit in enumerate(pipeline.limits(outcome), start=1):
    print(f"{number}. {limit}")

# %% [markdown]
# ## 16.9 The report
#
# One file, with pictures and tables inside; it needs no network, and runs no script. Whatever your columns and
# clients are called, names are only text in it. It has no row of anybody.

# %%
page = pipeline.report_html(outcome, report_path, title=title)
print(f"{report_path.name}: {len(page):,} characters, script tags: {page.lower().count('<script')}")
for heading in page.split("<h2>")[1:]:
    print(" -", heading.split("</h2>")[0])

# %% [markdown]
# Open it in a browser. On Colab: `from google.colab import files; files.download(str(report_path))`.

# %% [markdown]
# ## 16.10 Without labels
#
# Most people have none. Say `label=None`, and put the label's column (if there is one) into `ignore`. Nothing
# is tested then; scores, thresholds and alarms remain.

# %%
blind = replace(
    mapping, label=None, anomaly=None, ignore=[*mapping.ignore, *([label] if label else [])]
)
unlabelled = pipeline.run_pipeline(pipeline.read_csv(path, blind), settings, progress=False)
columns = ["calibration rows", "federated threshold", "federated alarm rate"]
unlabelled.thresholds[columns].round(3)

# %% [markdown]
# The ill are among the training rows now, because nobody knows who they are, and the model has learned to
# rebuild them. At the members no more rows give an alarm than the 5% that we asked for: the promise
# is about all rows, and it is kept. At the hospital that took no part more than half of the rows do: it is not
# like the others. Are these alarms right? Without labels no number can tell. Look at the rows, and
# write down what you find.

# %% [markdown]
# ## 16.11 With a time column, and with privacy
#
# And on another file: payments of six banks, with the day of each row, as your bank would export them. The
# past trains, the future tests; the training is private for single payments. (Real banks do not
# publish theirs; the generator of chapter 01 makes the rows, in the order past, threshold, test, and we write
# days into the file that respect it. The hospitals above are real.)

# %%
from fedlab_utils.data.payments import payments_table

table = payments_table(clients=6, customers=30, shift=0.6, seed=0)
export = pd.DataFrame(table.x, columns=table.features).assign(bank=table.key, fraud=table.y)
order = {"train": 0, "calibration": 1, "test": 2}
rng = np.random.default_rng(0)
days = np.array([order[part] for part in table.split]) * 60 + rng.integers(0, 60, len(export))
export["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(days, unit="D")
export.to_csv(folder / "payments.csv", index=False)
export.iloc[:3, [0, 1, 2, -3, -2, -1]]

# %%
payments = pipeline.read_csv(
    folder / "payments.csv", pipeline.ColumnMapping(client="bank", label="fraud", time="day")
)
print(f"{len(payments):,} rows, {len(payments.findings)} findings")
print(pipeline.prepare(payments).findings[-1])

# %%
fast = fl.SGD(lr=0.3, epochs=4, momentum=0.9, batch_size=64)
plain = pipeline.Settings(rounds=8, local=fast, hidden=46, code=8, alarm_rate=0.01, masks=True)
private = replace(plain, epsilon=8.0, clip=0.5)
both = {
    name: pipeline.run_pipeline(payments, chosen, progress=False)
    for name, chosen in {"plain": plain, "epsilon 8": private}.items()
}

# %%
columns = ["AP pooled", "AP mean client", "AP worst client", "prevalence"]
found = pd.concat({name: run.summary()[columns] for name, run in both.items()}, names=["training"])
save_results("16", "Payments from a file with dates, three starts", found)
found

# %%
print(both["epsilon 8"].guarantee)

# %% [markdown]
# With dates the split is the same for all seeds, so the spread is that of the starts and orders only.
#
# The federated model is ahead of training alone here, above all at the worst bank; central training is ahead
# of both. With epsilon 8 the federated model keeps somewhat more than a third of its AP: better than an
# untrained one, and worse than what each bank has alone, without noise that nobody needs at home. For six small banks
# this privacy costs more than the federation brings. (Local and central are trained without noise in both
# parts of the table.)

# %% [markdown]
# ## What we have built
#
# - A mapping of columns, and a reader whose errors name columns and lines.
# - Checks for what makes results look too good: leaks, identifiers, twins, clients that are too small.
# - An encoding of numbers and categories by counts and sums, the same at all clients.
# - The pipeline: local, federated, central, floors, thresholds; with or without labels, masks, epsilon.
# - A report in one HTML file that says also who saw what, and what it does not show.

# %% [markdown]
# ## Check yourself
#
# **Why must the mean for missing values come from training rows only?**
#
# <details><summary>Answer</summary>
# What is learned from test rows makes the test too good. A mean leaks little, but the rule has no
# exceptions, because nobody can tell afterwards which exception was harmless.
# </details>
#
# **A column has an AUC of .998 by itself. Name two explanations.**
#
# <details><summary>Answer</summary>
# It is filled in after the anomaly was found (a code for the treatment, a chargeback). Or the anomaly is
# defined by it. In the first case ignore it; in the second you need a rule, and no model.
# </details>
#
# **Why the same two moments for all clients, and not each client's own 60%?**
#
# <details><summary>Answer</summary>
# The model is common. If one client's training reached into another's test period, the model would know
# things (a wave of fraud, a new product) that it could not have known at that time.
# </details>
#
# **A client's own threshold is infinite. What does that mean, and what serves it?**
#
# <details><summary>Answer</summary>
# With so few calibration rows no threshold can promise this alarm rate, so the client's own one never gives
# an alarm. The federated one has everybody's calibration rows.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 16.1** (easy) The federated mean with missing values. `parts` is a list of arrays [n_k, d] with
# nan for missing. Return the d means, computed only from counts and sums of each part.


# %% tags=["exercise"]
def federated_mean(parts):
    """Return the mean [d] over all values that are there."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    counts = np.sum([(~np.isnan(part)).sum(axis=0) for part in parts], axis=0)
    sums = np.sum([np.nansum(part, axis=0) for part in parts], axis=0)
    return sums / counts
    # END SOLUTION


check("16.1", federated_mean)

# %% [markdown]
# **Exercise 16.2** (medium) The past trains. `times` [n] are the times of all rows. Return an array of "train",
# "calibration" and "test": at least the share `test` of the rows, the latest ones, tests; of the others at least
# the share `calibration`, again the latest ones, calibrates. Rows of the same time belong
# together, in the later part.


# %% tags=["exercise"]
def parts_by_time(times, test, calibration):
    """Return the part of each row."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    ordered, n = np.sort(times), len(times)
    before = n - int(np.ceil(n * test - 1e-9))
    trains = before - int(np.ceil(before * calibration - 1e-9))
    part = np.full(n, "train", dtype="<U11")
    part[times >= ordered[trains]] = "calibration"
    part[times >= ordered[before]] = "test"
    return part
    # END SOLUTION


check("16.2", parts_by_time)

# %% [markdown]
# **Exercise 16.3** (medium) One feature that knows too much. For each column of `x` [n, d] return the larger of the
# two AUCs that the column has alone, for high and for low values. (`fl.detect.auc(y, scores)` counts.)


# %% tags=["exercise"]
def single_aucs(x, y):
    """Return for each feature the AUC that it has alone, high or low, [d]."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    up = np.array([fl.detect.auc(y, column) for column in x.T])
    return np.maximum(up, 1 - up)
    # END SOLUTION


check("16.3", single_aucs)

# %%
hint("16.2")

# %% [markdown]
# **Exercise 16.4** (open) Your own file. Change the cell of section 16.1, correct the mapping until all
# warnings are explained or gone, and write the report. Which warning surprised you? Would you show the
# report to the clients as it is?

# %% tags=["solution"]
other = folder / "wine.csv"  # an example: another public table, cut into "cellars" by us
from sklearn.datasets import load_wine

wine = load_wine(as_frame=True).frame
wine["cellar"] = [f"cellar {i % 3}" for i in range(len(wine))]
wine["odd"] = (wine.pop("target") == 2).astype(int)
wine.to_csv(other, index=False)
cellars = pipeline.read_csv(other, pipeline.ColumnMapping(client="cellar", label="odd"))
tasting = pipeline.run_pipeline(
    cellars, pipeline.Settings(rounds=10, alarm_rate=0.1), progress=False
)
tasting.summary()[["AP pooled", "AP worst client", "prevalence"]]

# %% [markdown] tags=["solution"]
# The cellars are made up, so "federation" means nothing in this example: the clients do not differ. Look at
# the floor, too, before you are pleased.

# %% [markdown]
# ## Further reading
#
# - S. Kapoor, A. Narayanan, [Leakage and the reproducibility crisis in machine-learning-based
#   science](https://doi.org/10.1016/j.patter.2023.100804) (2023): how results become too good.
# - S. Kaufman, S. Rosset, C. Perlich, O. Stitelman, [Leakage in Data Mining](https://doi.org/10.1145/2382577.2382579)
#   (2012): what a leak is, and how to find one.
# - T. Gebru and others, [Datasheets for Datasets](https://arxiv.org/abs/1803.09010) (2021): what to write down about
#   your file.
# - L. Sweeney, [k-anonymity](https://doi.org/10.1142/S0218488502001648) (2002), and why it is no guarantee: A.
#   Machanavajjhala and others, [l-diversity](https://doi.org/10.1145/1217299.1217302) (2007).
# - The heart data: A. Janosi and others, [UCI Heart Disease](https://doi.org/10.24432/C52P4X) (1988).

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** the label column as a feature under another name. Let them run with the leak
#   first, and ask why the AP is so good.
# - **What to ask:** "Which of these warnings would you have found without being told?" "Who may read line
#   93 of this file?"
# - **What to skip:** section 16.11 if time is short.
# - **Own data in class:** nobody should bring data that may not be on the machine. The notebook sends nothing,
#   but a notebook with outputs contains rows: clear them before it is shared.
#
# </details>
