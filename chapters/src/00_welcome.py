# %% [markdown]
# # 00 · Welcome
# *What will you be able to do, and does everything work on this machine?*
#
# {{badges}}
#
# You will
#
# - **say** in two sentences what federated anomaly detection is and what it is not;
# - **run** a notebook, **solve** an exercise, **check** it, and **ask** for a hint;
# - **find out** what works on this machine, and what to do about the rest;
# - **see** the whole course in one figure: ten banks, one model, no shared payments.
#
# You need: some Python with numpy. No knowledge of privacy or of federated learning.
#
# About {{minutes_read}} to read, {{minutes_run}} to run, {{memory}} of memory.

# %% tags=["colab"]
# The build writes this cell.

# %% [markdown]
# ## 0.1 The story
#
# Ten banks see fraud. Each looks for it in its own payments, and each sees only a part: a
# pattern that is new to one bank was seen last month by another. Together they would know more.
# But a payment says who bought what, where and when. The banks may not pool such data, and would
# not if they might.
#
# **Federated learning** is a way out: the data stay where they are, and the model travels. Each
# bank trains the same model on its own payments and hands over only the change in the model's
# weights. A server averages the changes, and everyone gets the better model.
#
# **Anomaly detection** fits this case, because hardly anybody has labels: fraud is rare, and it is
# found late. So the model learns what *normal* looks like, and reports what does not fit.
#
# The changes in the weights are not harmless, though. They are computed from the data, and they
# can give data away. Half of this course is about that: what leaks, how to attack it, and which
# protection helps against whom, and at what price.
#
# The banks are made up, and their payments are simulated. So everybody may share this data, and
# we know the truth behind it. Every chapter ends on real data, too.

# %% [markdown]
# ## 0.2 What works here?
#
# The course checks its surroundings itself. `✓` works. `○` is needed by some chapters only, and
# the line below it says how to get it. `✗` is needed now. In a terminal, `make doctor` prints the
# same list.

# %%
from fedlab_utils.course import doctor

print(doctor.report())

# %% [markdown]
# ## 0.3 How a chapter works
#
# A notebook is a list of cells. Click on a code cell and press **Shift + Enter**: it runs, and its
# result stands below. Run the cells from top to bottom. What you see already is the result of
# our own run, so you can also read a chapter without running anything.
#
# One import is enough for the whole course:

# %%
import numpy as np

import fedlab_utils as fl
from fedlab_utils.course import check, hint, show, show_error

# %% [markdown]
# We often show a function with a hole in it, let it fail, and then repair it. This detector is
# meant to report every score above a threshold:

# %%
threshold = "???"

with show_error(TypeError):
    print(np.array([0.1, 0.2, 0.9]) > threshold)

# %% [markdown]
# The error says what is missing. A number repairs it:

# %%
threshold = 0.5
np.array([0.1, 0.2, 0.9]) > threshold

# %% [markdown]
# An exercise is a cell in which `...` stands for your part. `check` looks at your answer. It says
# *right*, *not attempted yet*, or what is wrong. A wrong answer never stops the notebook, and no
# later cell depends on your answer: you may leave an exercise out and come back.
#
# **Exercise 00.1** (easy) How many banks would like to work together?

# %% tags=["exercise"]
# BEGIN SOLUTION
# STUB: banks = ...  # put a number here
banks = 10
# END SOLUTION
check("00.1", banks)

# %% [markdown]
# Stuck? `hint` gives one hint at a time: run the cell again for the next one. The full solutions
# are in the folder `solutions`. Have a try first.

# %%
hint("00.1")

# %% [markdown]
# ## 0.4 A first look at the whole course
#
# Here are the ten banks. Each has payments for training, without any label, and payments for the
# test, where we know what is fraud. `shift` says how much the banks differ from each other.

# %%
federation = fl.load("payments", clients=10, shift=0.6, seed=0)
{client.name: len(client.x_train) for client in federation}

# %% [markdown]
# The model is an **autoencoder**: a network that squeezes each payment through a bottleneck and
# tries to restore it. It gets good at what it has often seen. What it restores badly is unusual,
# so the error is the anomaly score (chapter 01).

# %%
model = fl.dense_autoencoder(federation.n_features, seed=0)
run = fl.fit(model, federation, rounds=30, local=fl.SGD(lr=0.2, momentum=0.9), progress=False)

# %% [markdown]
# Thirty times each bank trained on its own data, and the server averaged what came back. This was
# the loop of chapter 03. No payment has left its bank: the bytes below are weights only.

# %%
last = run.history[-1]
print(f"round {last.round}: loss {last.loss:.3f}, {last.bytes_up:,} bytes sent by all banks")

# %% [markdown]
# Did the model learn to tell fraud from ordinary payments? We score the test payments of all
# banks. The model has seen none of them.

# %%
from fedlab_utils.course import figures
from fedlab_utils.detect import reconstruction_error

everyone = federation.pooled()
score = reconstruction_error(run.model, everyone.x_test)
show(figures.scores(score, everyone.y_test, xlabel="Reconstruction error"), name="welcome-scores")

# %% [markdown]
# The fraudulent payments lie further to the right, but the two groups overlap: some fraud looks
# like an ordinary payment, and no method finds it without labels. How good is that? Is it better
# than what each bank could do alone? And did the weights give anything away? These are the questions
# of the next chapters.

# %% [markdown]
# ## What we have built
#
# - A federation of ten banks, in one line, and a model that learned from all of them.
# - A first score for each payment, and a figure of it.
# - The tools of every chapter: `check`, `hint`, and the environment check.

# %% [markdown]
# ## Check yourself
#
# **What leaves a bank in federated learning?**
#
# <details><summary>Answer</summary>
# The change in the model's weights, computed from the bank's data; no rows of data. That is less
# than the data, but it is not nothing: chapter 06 attacks it.
# </details>
#
# **Why does the model train on payments without labels?**
#
# <details><summary>Answer</summary>
# Fraud is rare, it changes, and it is found late, so there are few labels and they are old. What is
# normal can be learned from what there is plenty of.
# </details>
#
# **Does federated learning make the banks' data private?**
#
# <details><summary>Answer</summary>
# Not by itself. It keeps the data local. Privacy needs a statement of who is protected from whom,
# and a mechanism that proves it: chapters 06 to 08.
# </details>

# %% [markdown]
# ## Exercises
#
# **Exercise 00.2** (easy) Write `share_above`: the share of the scores that lie above a threshold,
# as a number between 0 and 1. A score equal to the threshold is not above it.


# %% tags=["exercise"]
def share_above(scores, threshold):
    """Return the share of the scores [n] that lie above the threshold."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return (np.asarray(scores) > threshold).mean()
    # END SOLUTION


check("00.2", share_above)

# %% [markdown]
# **Exercise 00.3** (medium) A mean hides who is served badly. Write `worst_client`: it takes a
# dictionary from client to average precision and returns the *name* of the worst one.


# %% tags=["exercise"]
def worst_client(ap):
    """Return the name of the client with the lowest average precision."""
    # BEGIN SOLUTION
    # STUB: ...  # your turn
    return min(ap, key=ap.get)
    # END SOLUTION


check("00.3", worst_client)

# %% [markdown]
# **Exercise 00.4** (open) Load the banks again with `shift=0` and with `shift=1`, and train again.
# What happens to the loss, and to the overlap in the figure? Write down a guess before you look.

# %% [markdown]
# ## Further reading
#
# - B. McMahan and others, [Communication-Efficient Learning of Deep Networks from Decentralized
#   Data](https://arxiv.org/abs/1602.05629) (2017): the paper that named federated averaging.
# - P. Kairouz and others, [Advances and Open Problems in Federated
#   Learning](https://arxiv.org/abs/1912.04977) (2021): the map of the field.
# - V. Chandola, A. Banerjee, V. Kumar, [Anomaly Detection: A
#   Survey](https://doi.org/10.1145/1541880.1541882) (2009).

# %% [markdown]
# <details><summary>For instructors</summary>
#
# - **Where people get stuck:** in the set-up, not in the ideas. Send `make doctor` around a day
#   before, and have the Binder link ready.
# - **What to ask:** "Which of your own data could you not send to a colleague in another company,
#   and what would you lose if nobody could?"
# - **What to skip:** section 0.3 with a group that knows notebooks; exercise 00.4 if time is short.
#
# </details>
