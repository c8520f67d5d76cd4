"""Child process of the benchmark: one framework, in whatever Python it needs.

Run as `python worker.py NAME JOB.npz OUT.npy`. It knows numpy and the framework, not this
package, since a framework may need a Python of its own. Each line on standard input asks for one
round from the job's start weights; the answer is "done SECONDS", with the weights in OUT.npy.
Taught in chapter 03.
"""

import importlib
import os
import sys
import time
from dataclasses import dataclass

import numpy as np


@dataclass
class Job:
    """batches [K clients, S steps, B rows, d] in the order of training; start weights [P];
    shapes of the dense layers (out, in), with tanh between encoder and decoder halves."""

    batches: np.ndarray
    start: np.ndarray
    widths: list[int]
    lr: float
    file: str

    @classmethod
    def read(cls, file: str) -> "Job":
        """Read what the parent wrote."""
        with np.load(file) as data:
            widths = [int(w) for w in data["widths"]]
            return cls(data["batches"], data["start"], widths, float(data["lr"]), file)

    def split(self, vector: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Flat weights [P] as (weight [out, in], bias [out]) of each layer."""
        layers, at = [], 0
        for n_in, n_out in zip(self.widths[:-1], self.widths[1:], strict=True):
            weight = vector[at : at + n_in * n_out].reshape(n_out, n_in)
            at += n_in * n_out
            layers.append((weight, vector[at : at + n_out]))
            at += n_out
        return layers

    def activated(self, layer: int) -> bool:
        """Whether a tanh follows: the code and the output are linear."""
        last = len(self.widths) - 2
        return layer not in (last, last // 2)


def torch_model(job: Job, start: np.ndarray):  # type: ignore[no-untyped-def]
    """The job's model in torch with the weights `start` [P]; only some frameworks need torch."""
    import torch

    # One thread is faster than two for layers this small.
    torch.set_num_threads(1)
    layers: list[torch.nn.Module] = []
    for i, (weight, bias) in enumerate(job.split(start)):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data = torch.tensor(weight)
        linear.bias.data = torch.tensor(bias)
        layers.append(linear)
        if job.activated(i):
            layers.append(torch.nn.Tanh())
    return torch.nn.Sequential(*layers)


def main(name: str, job_file: str, out_file: str) -> None:
    """Answer requests until standard input ends."""
    # Frameworks print as they like: the answers get a descriptor of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    play_round = importlib.import_module(f"with_{name}").rounds(Job.read(job_file))
    answers.write("ready\n")
    for _ in sys.stdin:
        began = time.perf_counter()
        weights = play_round()
        seconds = time.perf_counter() - began
        np.save(out_file, np.asarray(weights, dtype=np.float32))
        answers.write(f"done {seconds}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
