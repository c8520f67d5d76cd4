# %% [markdown]
# # 04 · PySyft
# *How do organisations that read every line of foreign code before they run it train one model?*
#
# {{badges}}
#
# You will
#
# - **map** the PySyft of 2020 to the PySyft of today, and **prove** that both compute the same;
# - **send** a job by hand, as a data scientist, and **approve** it, as a data owner;
# - **review** code that wants to run on private rows, and **reject** it with a reason;
# - **train, evaluate and set a threshold** with jobs, side by side at four banks;
# - **list** all that the coordinator can see, and **search** it for private rows;
# - **read** a stranger's file safely, and **go on** when a bank fails, is silent or cheats.
#
# You need: chapter 03 (the round, the update, the weighted mean), and files and folders.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"] extras="syft"
# The build writes this cell.

# %% [markdown]
# ## 4.1 Six years later
#
# Chapter 03 began with an article of 2020 and its PySyft 0.2. There, you held a *pointer* to a tensor
# on somebody else's machine, and any operation on the pointer ran over there. It was beautiful, and it
# had a hole: whoever holds a pointer can compute anything, and ask for the result.
#
# PySyft 0.10 starts from the opposite end. Data owners do not lend pointers. They receive **code**, read
# it, and decide. The old names are gone, and nothing replaces them one to one:
#
# | In the article (PySyft 0.2) | Today (`syft` 0.10, `syft-rds` 0.6) | In this chapter |
# |---|---|---|
# | `hook = sy.TorchHook(torch)` | nothing: PyTorch stays as it is | `import torch`, inside the job |
# | `sy.VirtualWorker(hook, id="alice")` | a *data owner*, `login_do(...)`, with a datasite (a folder that is synced) | `banks["alice"].owner` |
# | `data.send(alice)` | nothing: the data are there already; `create_dataset(mock_path=, private_path=)` | `SyftFederation(federation)` |
# | `model.send(alice)` | a *job*: a script and the global weights, `submit_..._job(...)` | `TRAIN` and its task |
# | `optimiser.step()` on a pointer | the job runs at the owner, after `job.approve()` | `process_approved_jobs()` |
# | `model.get()` | the job's output, after the owner shared it | `answer.npz` |
# | `sy.MPC`, `.fix_prec().share(...)` | gone | chapters 07 and 08 |
# | trust in the worker's good will | `job.code`, `job.approve()`, `job.reject("why")` | section 4.6 |
#
# If you own a notebook that says `TorchHook`, there is no way to repair it line by line. There is a
# bridge, though: the numbers. Section 4.5 crosses it.

# %%
import numpy as np
import torch

import fedlab_utils as fl
from fedlab_utils.course import check, figures, hint, save_results, show, show_error
from fedlab_utils.data.files import dataset_path
from fedlab_utils.runtimes.pysyft import SyftFederation, quiet

# %%
torch.set_num_threads(1)
everyone = fl.load("payments", clients=10, shift=0.6, seed=0)
federation = everyone.only(["bank 3", "bank 5", "bank 7", "bank 8"])
banks = SyftFederation(federation).open()
{bank.name: bank.email for bank in banks}

# %% [markdown]
# Four banks are open. Each is a PySyft data owner with a folder of its own, and the coordinator is a
# PySyft data scientist. They speak PySyft's real protocol. Two things are replaced: the drive through
# which they exchange files is in memory instead of at Google, and the "machines" are folders of one
# computer. So this shows how the protocol works. It does **not** isolate the banks from each other:
# that takes four machines (section 4.10).

# %% [markdown]
# ## 4.2 A job by hand
#
# First we play both sides at one bank. These are two ordinary PySyft clients:

# %%
bank = banks["bank 3"]
owner, scientist = bank.owner, bank.scientist
owner, scientist

# %% [markdown]
# The bank offers a data set. It has two halves: the **private** half stays at the bank, and the **mock**
# half is for everybody. What does the coordinator see of it?

# %%
dataset = scientist.datasets.get(name="rows", datasite=owner.email)
mock = np.load(dataset.mock_files[0])
print(dataset.summary)
for part in mock.files:
    print(f"{part:14}", mock[part].shape, mock[part].dtype)

# %% [markdown]
# The mock rows have the right form and a wrong content: they are random numbers. They are there so that
# you can write your script against something, and find your typing errors at home.
#
# Now a job. It may be any shell script. Ours asks how large the private file is. Watch its status on
# both sides:

# %%
script = """
cd "$SYFTBOX_FOLDER/$SYFTBOX_EMAIL/private/syft_datasets/rows"
wc -c < rows.npz > "$OLDPWD/code/outputs/size.txt"
"""


def status(name):
    """The status of a job as the bank and as the coordinator see it."""
    return f"bank: {owner.jobs[name].status}, coordinator: {scientist.jobs[name].status}"


# %%
with quiet():  # PySyft reports every step; here we look for ourselves
    scientist.submit_bash_job(owner.email, script, job_name="how-large")
    owner.sync()
print(status("how-large"))

# %% [markdown]
# Nothing has run. The job lies in the bank's inbox as a few files, and the bank reads them:

# %%
job = owner.jobs["how-large"]
print("from:", job.submitted_by)
print(job.run_script)

# %% [markdown]
# That looks harmless: a number will come back. The bank approves, runs it, and shares the output. Each
# side has to sync before it sees what the other one did.

# %%
with quiet():
    job.approve("only a size")
    owner.process_approved_jobs(stream_output=False, share_outputs_with_submitter=True)
print("run:   ", status("how-large"))

with quiet():
    owner.sync()
    scientist.sync()
print("synced:", status("how-large"))

# %%
(output,) = scientist.jobs["how-large"].output_paths
print(output.name, "says", output.read_text().strip(), "bytes")

# %% [markdown]
# This is all of PySyft 0.10 that we need: a data set in two halves, a job, a review, a shared output.
#
# ## 4.3 A client update as a job
#
# The update of chapter 03 becomes a script. It is short, so that a bank can really read it:

# %%
from fedlab_utils.runtimes.pysyft import TRAIN

print(TRAIN.script)

# %% [markdown]
# The loop is that of chapter 03. The rest is four helpers, which every bank has installed along
# with the package: `read_task` reads the settings from a file beside the script, `model_of` makes a
# model of the weights in it, `private_rows` reads the bank's data, `answer` writes the one file that is
# to leave. The settings are plain JSON, and the weights are text:

# %%
from fedlab_utils.runtimes.pysyft import task_of

model = fl.dense_autoencoder(federation.n_features, hidden=46, code=8, seed=0)
local = fl.SGD(lr=0.3, epochs=1, batch_size=64, momentum=0.9)
settings = {"lr": 0.3, "momentum": 0.9, "epochs": 1, "batch_size": 64}
task = task_of({"global": model}, seed=0, round=0, client=0, **settings)
{name: str(value)[:48] for name, value in task.items()}

# %% [markdown]
# Why text and not `torch.save`? A model file of PyTorch is a *pickle*, and a pickle is a small program.
# A bank that opens one lets the sender's code run before any review. Numbers as text can only be numbers.
#
# Before we bother a bank, we **rehearse**: the same script at the coordinator, on the mock rows.

# %%
rehearsed = bank.rehearse(TRAIN, task)
{name: (array.shape, str(array.dtype)) for name, array in rehearsed.items()}

# %% [markdown]
# It runs, and the answer has the form that we expect: one update $[P]$ and a loss. What the update
# *says* is nonsense, since the rows were random. That is the point of mock data.
#
# ## 4.4 A round
#
# A round sends the job to all banks. Each bank reviews it, runs it in a process of its own, looks at the
# output, and shares it. The coordinator reads the answers and takes the weighted mean. `ask` does
# it with one job, and our own `review` lets us watch. (It compares with what was agreed on; section
# 4.6 looks closer.)

# %%
from fedlab_utils.runtimes.pysyft import approve_agreed, coordinator_view

views = {"before": coordinator_view(banks)}


def review(bank, job):
    """What a bank says to a job: None to approve it, or the reason for a rejection."""
    views.setdefault("job sent", coordinator_view(banks))
    reason = approve_agreed(bank, job)
    lines = len(job.code.splitlines())
    print(f"{bank}: {lines} lines from {job.submitted_by}:", reason or "approved")
    return reason


# %%
tasks = {name: {**task, "client": k} for k, name in enumerate(banks.names)}
answers = banks.ask(TRAIN, tasks, review=review)
views["answered"] = coordinator_view(banks)
for name, arrays in answers.arrays.items():
    length = np.linalg.norm(arrays["update"])
    print(f"{name}: update of length {length:.3f}, loss {arrays['loss']:.3f}")

# %% [markdown]
# From here on it is chapter 03 again: a matrix of updates, the weighted mean, new weights.

# %%
updates = torch.tensor(np.stack([arrays["update"] for arrays in answers.arrays.values()]))
rows = torch.tensor(federation.sizes, dtype=torch.float32)
weights = fl.flatten(model) + (rows / rows.sum()) @ updates

plain = fl.fit(model, federation, rounds=1, local=local, progress=False)
print(f"differs from fl.fit by {(weights - fl.flatten(plain.model)).abs().max():.0e}")

# %% [markdown]
# The rows are visited in the same order, because `batch_order` knows the seed, the round, the client and
# the epoch, wherever it runs. `fit_pysyft` is this loop over rounds:

# %%
from fedlab_utils.runtimes.pysyft import fit_pysyft

run = fit_pysyft(model, banks, rounds=2, local=local, progress=False)
plain = fl.fit(model, federation, rounds=2, local=local, progress=False)
difference = (fl.flatten(run.model) - fl.flatten(plain.model)).abs().max()
print(f"after two rounds: differs from fl.fit by {difference:.0e}")
run.history.to_frame()

# %% [markdown]
# The bytes are larger on the way down: weights as text take a third more, and the script travels along.
# The seconds are another world than chapter 03's:

# %%
per_round, by_fit = np.mean(run.history.seconds), np.mean(plain.history.seconds)
print(f"{len(banks)} banks, {banks.workers} at a time: {per_round:.1f} s a round")
print(f"the same round by fl.fit: {by_fit:.3f} s")

# %% [markdown]
# Most of it is PySyft's bookkeeping: files, permissions and syncs. Each job is a process of its own, but it
# does not import PyTorch anew, which would take longer than all the rest: a bank keeps a *worker*, a Python
# that has the libraries loaded and forks itself for each job. On a real network you will wait for
# the people who review. PySyft suits few, large, reviewed steps. So develop with `fl.fit`, and run the same
# settings with PySyft when they are final.

# %% [markdown]
# ## 4.5 The bridge to 2020
#
# Now the article itself, on the PySyft of today: alice, bob and charlie are data owners, and the recorded
# weights of PySyft 0.2.9 are the judge after every round.

# %%
recorded = np.load(dataset_path("article", "article_pysyft029_seed0.npz"))
no_rows = np.empty((0, 20), dtype=np.float32)
clients = [
    fl.Client(name, recorded[f"data.{name}"], no_rows, no_rows, np.empty(0, bool), np.empty(0, str))
    for name in ("alice", "bob", "charlie")
]
article = fl.Federation("article", clients, [f"x{i}" for i in range(20)])


def recorded_model(moment):
    """The article's autoencoder with recorded weights: "init", or "round1" to "round5"."""
    autoencoder = fl.DenseAutoencoder((20, 10, 5), "relu")
    named = {name: torch.tensor(recorded[f"{moment}.{name}"]) for name in autoencoder.state_dict()}
    autoencoder.load_state_dict(named)
    return autoencoder


# %%
five_steps = fl.SGD(lr=0.01, epochs=5, batch_size=None)
options = {"local": five_steps, "aggregator": fl.Mean(weighted=False), "progress": False}
today = recorded_model("init")
with SyftFederation(article) as workers:
    for round_ in range(1, 6):
        today = fit_pysyft(today, workers, rounds=1, **options).model
        then = fl.flatten(recorded_model(f"round{round_}"))
        print(f"round {round_}: differs by at most {(fl.flatten(today) - then).abs().max():.0e}")

# %% [markdown]
# Rounding errors, in every round. PySyft 0.2.9 with pointers, a plain loop, the stacked engine of chapter
# 03 and PySyft 0.10 with jobs: four programs, one computation. (We called `fit_pysyft` for one
# round at a time, to look at the weights in between. Its round number only decides the order of the
# rows, and a full batch has no order.)

# %% [markdown]
# ## 4.6 Review: what a bank signs
#
# A bank that approves a job lets a stranger's program read its data. What could a program do that the
# coordinator does not say? This one is polite. It uses the agreed helpers, and it sends an
# "update". Read it as a bank would:

# %%
from fedlab_utils.runtimes.pysyft import Job

greedy = Job("greedy", TRAIN.answer, """
from fedlab_utils.runtimes.pysyft.bank import answer, private_rows
answer(update=private_rows("x_train"), loss=0.0)
""")  # fmt: skip

# %% [markdown]
# The answer *is* the private rows. Before you let people read such code under time pressure, agree on the
# scripts once, at leisure, and in each round ask only one thing: is this, letter by letter, what
# we agreed on? That is `approve_agreed`, the default:

# %%
from fedlab_utils.runtimes.pysyft import NobodyAnswered

one = {"bank 3": task}
with show_error(NobodyAnswered):
    banks.ask(greedy, one)

# %% [markdown]
# The reason for the rejection travels back to the coordinator; the job never ran. What if the reviewer
# sleeps, and approves everything? A careful bank has a second door: it looks at the *output* before it
# shares it. Our banks share one file of the agreed name, with arrays of the agreed shapes and
# types, or nothing:

# %%
with show_error(NobodyAnswered):
    banks.ask(greedy, one, review=lambda bank, job: None)

# %% [markdown]
# The script ran this time, and its output stayed. But do not rely on the second door alone: a script could
# write private values *into* an array of the right shape. No look at the output can tell an update from
# a row of payments in disguise. The review of the code comes first.
#
# **There is a third door**, and it stands open by itself. A job prints things; they go into a log. We ask
# PySyft's own job runner to share neither outputs nor logs (that is its default):

# %%
from syft_job.job_runner import SyftJobRunner

runner_of_the_course = owner.job_runner
with quiet():
    owner.job_runner = SyftJobRunner(owner.job_runner.config)  # PySyft's own
    scientist.submit_bash_job(owner.email, "echo a private number: 4711", job_name="talkative")
    owner.sync()
    owner.jobs["talkative"].approve()
    owner.process_approved_jobs(stream_output=False)
    owner.sync()
    scientist.sync()
    owner.job_runner = runner_of_the_course

# %%
log = scientist.jobs["talkative"].job_review_path / "stdout.txt"
print("at the coordinator:", log.read_text().strip())

# %% [markdown]
# The log is at the coordinator all the same. In this version, log files lie in a folder that the
# submitter may read, and only the folder of outputs is closed. One `print(rows)` left over from debugging,
# or the error message of a failing job, would be a leak. So the banks of this course run jobs with
# a runner of their own. It keeps the log at home, gives the job none of the bank's environment variables
# (where passwords tend to live), and ends it with all of its child processes when its time is up.

# %% [markdown]
# ## 4.7 What the coordinator can see
#
# We kept a list of the files in the coordinator's folder before the first round, when the job was sent, and
# when the answers were in. Here is what was there, in bytes, for the four banks together:

# %%
import pandas as pd

steps = {step: view.groupby("kind")["bytes"].sum() for step, view in views.items()}
pd.DataFrame(steps).fillna(0).astype(int).drop("message")

# %% [markdown]
# (Beside the mock data, the first column counts the job of section 4.2. There is also a folder of
# *messages*: the envelopes in which all the other files arrived. They hold the same things once more,
# and the search below opens them, too.)
#
# File by file, for one bank, after the answer:

# %%
view = views["answered"]
files = view[(view["bank"] == "bank 5")].drop(columns="bank")
files[~files["file"].str.contains("config|script.sh|run.sh")].set_index("kind")

# %% [markdown]
# No file is called "rows of bank 5". But names prove nothing. We take all private rows, and search for
# their bytes in every file of the coordinator: as they are in memory, as text, in zip archives, in the
# envelopes. A value alone may occur by chance, so two neighbouring values of a row must be found together.

# %%
from fedlab_utils.runtimes.pysyft import find_rows

pooled = federation.pooled()
private = np.concatenate([pooled.x_train, pooled.x_calibration, pooled.x_test])
found = find_rows(banks.coordinator, private)
print(f"{len(private):,} private rows, {len(found)} files, {sum(found.values())} hits")

# %% [markdown]
# A search that finds nothing may be a bad search. So let it look where the rows must be:

# %%
at_home = find_rows(banks["bank 5"].home, private)
for name, hits in at_home.items():
    if hits:
        print(f"{hits:,} hits in {name}")

# %% [markdown]
# It finds them at home, in the private half, and nowhere else. How much does that prove? Rows that are
# changed slip through, as we can show with a copy that is rounded to two digits:

# %%
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    np.savez(Path(folder) / "copy.npz", rows=private[:100])
    np.savez(Path(folder) / "rounded.npz", rows=private[:100].round(2))
    print(find_rows(Path(folder), private[:100]))

# %% [markdown]
# A hit proves a leak. No hit proves only that nobody copied values as they are. In particular, the
# **updates** do not contain the rows, but they were computed from them, and something of them can
# be computed back. Chapter 06 does it; chapters 06 to 08 are about the protection.
#
# | Who | sees | does not see |
# |---|---|---|
# | the coordinator | mock rows, number of training rows, each bank's update, loss and metrics, who rejects and why | rows, scores, logs |
# | a bank | the script, the global weights of each round | other banks' rows and updates |
# | the drive in between | who writes to whom, when, how much | contents, as long as they are encrypted (section 4.10) |

# %% [markdown]
# ## 4.8 Banks that fail, are silent, or cheat
#
# In a real round something is always missing. We let two banks misbehave. A bank may run what it likes
# on its own machine, so the review, which is called at the bank, is a good place for mischief:

# %%
mischief = {
    "bank 5": "raise SystemExit('out of memory')",
    "bank 8": "open('outputs/answer.npz', 'w').write('hello')",
}


def cheat(bank, job):
    """Approve, and run something else."""
    if bank in mischief:
        (job.code_dir / "main.py").write_text(mischief[bank])


def share_anything(bank, outputs):
    """A cheat does not check what it shares."""


# %%
run = fit_pysyft(
    model, banks, rounds=1, local=local, review=cheat, release=share_anything, progress=False
)
print("took part:", run.history[0].clients)
for round_, absent in run.absent:
    print(f"round {round_}, {absent.bank}: {absent.reason}")

# %% [markdown]
# The round went on with the rest, weighted by *their* rows. Of the failed job the coordinator learns the exit
# code and no more, since its error message might quote a row. The bank can look it up:

# %%
name_of_job = run.absent[0][1].job
print(banks["bank 5"].log(name_of_job).strip())

# %% [markdown]
# A **silent** bank does not even fail. Each job has a time limit; at its end, the whole family of processes
# is ended, and the bank counts as absent. If nobody at all answers, there is no round:

# %%
mischief["bank 7"] = "import time; time.sleep(600)"
with show_error(NobodyAnswered):
    banks.ask(TRAIN, {"bank 7": task}, review=cheat, timeout=3)

# %% [markdown]
# **A stranger's file.** The answer of bank 8 was no file of arrays, and was refused. How do you read a
# file from somebody you do not trust? Not like this. The array below holds an object that says how it
# wants to be unpickled:


# %%
class Surprise:
    def __reduce__(self):
        return (print, ("This ran on the coordinator's machine.",))


with tempfile.TemporaryDirectory() as folder:
    trap = Path(folder) / "answer.npz"
    np.savez(trap, update=np.array([Surprise()], dtype=object))
    np.load(trap, allow_pickle=True)["update"]  # never do this

# %% [markdown]
# It could have been any program instead of `print`. `allow_pickle=False`, numpy's default, stops this one.
# More can be wrong: a file of a gigabyte, a small archive that unpacks to a terabyte, a header that promises
# more than follows, one `nan` that makes the whole mean `nan`. `read_arrays` allows exactly what was
# agreed on, allocates nothing before it knows the size, and refuses by name:

# %%
from fedlab_utils.runtimes.updates import Expected, UpdateError, read_arrays

agreed = {"update": Expected(shape=(3,), dtype="float32")}
traps = {
    "pickle": {"update": np.array([Surprise()] * 3, dtype=object)},
    "shape": {"update": np.zeros((3, 1), np.float32)},
    "nan": {"update": np.array([1, np.nan, 0], np.float32)},
}
with tempfile.TemporaryDirectory() as folder:
    for arrays in traps.values():
        np.savez(Path(folder) / "answer.npz", **arrays)
        try:
            read_arrays(Path(folder) / "answer.npz", "bank 8", agreed)
        except UpdateError as error:
            print(error)

# %% [markdown]
# What it cannot see is a *plausible* lie: an update of the right shape that pulls the model somewhere else.
# That needs statistics over the banks, and is the topic of chapter 13.

# %% [markdown]
# ## 4.9 Evaluation and threshold without scores
#
# Evaluation is a job, too. Each bank scores its own test rows and compares with its own labels; only
# counts, AP and AUC come back. The trained model is that of two rounds, and an untrained one is the floor.

# %%
from fedlab_utils.runtimes.pysyft import evaluate_pysyft, threshold_pysyft

models = {"federated": plain.model, "untrained": model}
report = evaluate_pysyft(models, banks)
report.table().round(3)

# %% [markdown]
# Two rounds are very little training, so do not look for a good detector here. Compare with
# `fl.evaluate`, which has all rows in one place:

# %%
central = fl.evaluate(models, federation, baselines=False).table()
columns = [column for column in report.table() if column.endswith("client")]
print("the same metrics:", np.allclose(report.table()[columns], central[columns]))
print("only with all scores in one place:", sorted(set(central) - set(report.table())))

# %% [markdown]
# The mean and the worst bank agree. A *pooled* metric ranks all banks' rows in one list, so it needs all
# scores, and would give away more. That is a decision to take, not an accident: a metric is an
# output like any other, and a bank has to agree to it.
#
# The threshold of chapter 02 needs histograms only. One more job:

# %%
from fedlab_utils.detect import ScoreHistogram

threshold = threshold_pysyft(plain.model, banks, alarm_rate=0.01)
scores = [fl.reconstruction_error(plain.model, client.x_calibration) for client in federation]
in_one_place = fl.federated_threshold([ScoreHistogram.of(s) for s in scores], alarm_rate=0.01)
print(f"threshold {threshold.value:.4f} from {threshold.rows:,} calibration rows")
print("as in one place:", threshold.value == in_one_place)

# %% [markdown]
# We are done with these banks. Closing ends what still runs and removes the folders:

# %%
folder = banks.folder
banks.close()
print("left behind:", folder.exists())

# %% [markdown]
# ## 4.10 Two real accounts over Google Drive
#
# **The code in this section is not run here: it needs two Google accounts.** In Colab you are asked for
# permission; elsewhere you need a token file, see PySyft's
# [guide to authentication](https://github.com/OpenMined/PySyft/blob/dev/docs/auth.md).
#
# At the bank, in the bank's own notebook:
#
# ```python
# from syft_rds import login_do
#
# owner = login_do(email="you@bank.example", token_path="token.json")
# owner.approve_peer_request("coordinator@federation.example")     # after the request has come
# owner.create_dataset(name="rows", mock_path="mock/rows.npz", private_path="private/rows.npz",
#                      summary="1410 training rows", users=["coordinator@federation.example"])
# ```
#
# At the coordinator, in another notebook, on another machine:
#
# ```python
# from syft_rds import login_ds
#
# scientist = login_ds(email="coordinator@federation.example", token_path="token.json")
# scientist.add_peer("you@bank.example")
# scientist.sync()
# ```
#
# Then the cells of section 4.2 work as they stand, each in the notebook of its side: they use
# nothing but `owner` and `scientist`. Four differences matter:
#
# - **Time.** A sync takes seconds, and a person reviews. Plan hours for a round, not seconds.
# - **The environment of the job.** `FEDLAB_PYTHON`, which our scripts start with, is set by our runner.
#   PySyft's `submit_python_job` builds a fresh environment for every job instead, which takes minutes.
# - **Isolation.** An approved job runs with the rights of the bank's user. Run it in a container
#   without network. No time limit and no review replaces that.
# - **The drive reads along.** Our banks encrypt what they exchange. PySyft can, but `login_do` and `login_ds`
#   of this version do not switch it on, so that Google could read jobs and answers.
#
# ## 4.11 And on real data
#
# Four hospitals, with patients that nobody may pool: this is what PySyft is made for. The heart disease
# data of chapter 02 have just that form. One hospital has hardly any training rows.

# %%
hospitals = fl.load("heart", seed=0)
start = fl.dense_autoencoder(hospitals.n_features, seed=0)
solver = fl.SGD(lr=0.1, epochs=2, batch_size=16, momentum=0.9)
with SyftFederation(hospitals) as owners:
    by_jobs = fit_pysyft(start, owners, rounds=1, local=solver, progress=False)
in_one_place = fl.fit(start, hospitals, rounds=1, local=solver, progress=False)
difference = (fl.flatten(by_jobs.model) - fl.flatten(in_one_place.model)).abs().max()
print(dict(zip(hospitals.names, hospitals.sizes.tolist(), strict=True)))
print(f"jobs and fl.fit differ by {difference:.0e}")

# %% [markdown]
# The weights are equal, so we may do the long runs with `fl.fit`: ten rounds, three seeds, with everything
# that belongs beside it.


# %%
def compare(federation, seed):
    """Federated, local and central training with one budget, beside the floors."""
    start = fl.dense_autoencoder(federation.n_features, seed=seed)
    options = {"rounds": 10, "local": solver, "seed": seed, "progress": False}
    models = {
        "federated": fl.fit(start, federation, **options).model,
        "local": fl.fit_local(start, federation, rounds=10, local=solver, seed=seed),
        "central": fl.fit(start, federation.pooled_federation(), **options).model,
    }
    return fl.evaluate(models, federation, seed=seed)


# %%
from fedlab_utils.detect import format_summary

reports = [compare(fl.load("heart", seed=seed), seed) for seed in range(3)]
table = format_summary(fl.summarise(reports))
save_results("04", "Heart disease in four hospitals: three seeds", table, headline=True)
table

# %%
shown = {name: {} for name in ("federated", "local", "untrained autoencoder")}
for method in shown:
    for hospital in hospitals.names:
        values = [r.by_client().loc[(method, hospital), "AUC"] for r in reports]
        shown[method][hospital] = float(np.mean(values))
figure = figures.bars(shown, ylabel="AUC, mean of three seeds", xlabel="Hospital", chance=0.5)
show(figure, name="hospitals")

# %% [markdown]
# Federated training helps the two hospitals with the fewest training rows: alone, with four and with 25 rows,
# they are close to chance or below it. The two large ones gain nothing in AUC. In AP the methods differ by less
# than their spread, since three of four test rows are sick.
#
# And all this does not matter, because the **floor** is higher than everything that was trained, central
# training included. An untrained network, or the length of a row, is the better detector here: the sick differ
# by being *far* from the mean, and training teaches the model to follow them. A perfect protocol does not
# make a good detector. That, too, is a result that the hospitals should hear before they review any code.

# %% [markdown]
# ## What we have built
#
# - A federation of PySyft data owners, and a round of jobs: sent, reviewed, run, checked, shared, read.
# - The same weights as the article of 2020, as the plain loop and as the stacked engine.
# - Three doors at a bank: review of the code, check of the output, a log that stays.
# - A list of all that the coordinator has, and a search for private rows in it.
# - A reader for strangers' files that refuses by name, and rounds that go on without the absent.
# - Evaluation and threshold from counts and metrics alone.

# %% [markdown]
# ## Check yourself
#
# **What is mock data for, and what would go wrong if it were made from the real rows?**
#
# <details><summary>Answer</summary>
# It lets the coordinator write and rehearse a script. Everybody may see it, so anything in it that comes
# from the real rows (their ranges, their rare categories, rows with a little noise) is published.
# </details>
#
# **A bank checks shapes and types of every output. Why does it still need to read the code?**
#
# <details><summary>Answer</summary>
# An array of the agreed shape can hold anything, private rows in disguise included. Only the code says how the
# numbers came about.
# </details>
#
# **The search found no private row at the coordinator. May you say "the coordinator learns nothing about the
# rows"?**
#
# <details><summary>Answer</summary>
# No. Values that are rounded, encrypted or computed with are not found, and an update is computed from the
# rows. You may say that no row was copied as it is.
# </details>
#
# **Why does the coordinator weigh the banks by the row numbers that they published at the start, and not by a
# number in each answer?**
#
# <details><summary>Answer</summary>
# A number in the answer could be bent in each round, to get a larger say when it pays. A number that was
# published once binds the bank. (It can still be a lie.)
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 04.1** (easy) A bank keeps no scripts, only their fingerprints. Write `review`: given the text of a
# script and a set of SHA-256 fingerprints in hexadecimal form, return `True` if the script was agreed on, and
# `False` otherwise. One more space is another script.


# %% tags=["exercise"]
import hashlib


def review(code, agreed):
    """Return whether the code is, letter by letter, one of the agreed scripts."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return hashlib.sha256(code.encode()).hexdigest() in agreed
    # END SOLUTION


check("04.1", review)

# %% [markdown]
# **Exercise 04.2** (medium) Write `weighted_update`. It gets the banks' answers as they came (bank → array), the rows
# that the banks published (bank → number), and the number of parameters. It returns the mean of the usable
# updates, weighted by rows, and the list of the banks that were refused. Usable is an update of shape `[P]` without
# `nan` and infinity.


# %% tags=["exercise"]
def weighted_update(updates, rows, parameters):
    """Return the mean update [P] of the usable answers, and the names of the refused banks."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    usable = {
        name: update
        for name, update in updates.items()
        if np.shape(update) == (parameters,) and np.isfinite(update).all()
    }
    weights = np.array([rows[name] for name in usable], dtype=float)
    mean = weights @ np.stack(list(usable.values())) / weights.sum()
    return mean, [name for name in updates if name not in usable]
    # END SOLUTION


check("04.2", weighted_update)

# %%
hint("04.2")

# %% [markdown]
# **Exercise 04.3** (hard) Write `safe_to_open`: given the bytes of an npz file and a limit, say whether the file
# may be opened. It may if it is not larger than the limit, holds nothing compressed, and its entries together are
# not larger than the limit either. Find that out without unpacking anything. (`zipfile` and `io` help.)


# %% tags=["exercise"]
import io
import zipfile


def safe_to_open(data, limit):
    """Return whether npz bytes are small enough, packed and unpacked, and not compressed."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    if len(data) > limit:
        return False
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
    stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
    return stored and sum(entry.file_size for entry in entries) <= limit
    # END SOLUTION


check("04.3", safe_to_open)

# %% [markdown]
# **Exercise 04.4** (open) Write a script, as text, that passes a review which only forbids the words `print`,
# `open` and `savez`, and that still sends the first $P$ private values in an answer of the right shape. (You
# need not run it.) Then say what such a review is worth, and what you would ask of a bank that has no time to
# read code.

# %% tags=["solution"]
sly = Job("sly", TRAIN.answer, """
from fedlab_utils.runtimes.pysyft.bank import answer, private_rows, read_task, model_of
from fedlab_utils.models import flatten
size = len(flatten(model_of(read_task())))
answer(update=private_rows("x_train").ravel()[:size], loss=0.5)
""")  # fmt: skip
print("forbidden words:", [w for w in ("print", "open", "savez") if w in sly.script])

# %% [markdown] tags=["solution"]
# The answer has the agreed name, shape and type, so the check of the output is content as well. A list of forbidden
# words is worth nothing against somebody who can choose other words. A bank without time should only run scripts that
# people it trusts have read, and recognise them by their fingerprint (exercise 04.1).

# %% [markdown]
# ## Further reading
#
# - OpenMined, [PySyft](https://github.com/OpenMined/PySyft): the source, with an
#   [API reference](https://github.com/OpenMined/PySyft/blob/dev/docs/API.md) and the
#   [workflow](https://github.com/OpenMined/PySyft/blob/dev/docs/workflow.md) of data owner and data scientist.
# - OpenMined, [Error with TorchHook or VirtualWorker](https://github.com/OpenMined/PySyft/issues/4865): the thread
#   in which many learned that the API of 2020 was gone.
# - T. Ryffel and others, [A generic framework for privacy preserving deep
#   learning](https://arxiv.org/abs/1811.04017) (2018): the PySyft of pointers.
# - Python, [pickle](https://docs.python.org/3/library/pickle.html): the warning at the top of the page.
# - NumPy, [Security](https://numpy.org/doc/stable/reference/security.html): what to mind when you load files.

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** at *sync*. Nothing appears on the other side before both have synced. Let two
#   people play bank and coordinator, with two sticky notes for inbox and outbox.
# - **What to ask:** "Who could still cheat whom after this chapter?" (The coordinator: with a sly script. A bank:
#   with a plausible update, or with invented rows.) And: "Between approval and run, could the coordinator
#   exchange the script?" It may write into the bank's inbox; here the bank does not sync in between, and
#   a real bank should run a copy of what it read.
# - **What to skip:** section 4.5 if chapter 03 was long, and 4.10 if nobody has accounts.
#
# </details>
