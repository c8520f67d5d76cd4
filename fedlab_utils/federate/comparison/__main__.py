"""`python -m fedlab_utils.federate.comparison [--record] [SETTING ...]`."""

import argparse
import sys
import time

import torch

from fedlab_utils.errors import FedlabError
from fedlab_utils.federate.comparison.methods import ALL
from fedlab_utils.federate.comparison.records import record
from fedlab_utils.federate.comparison.running import SEEDS, TUNING_SEEDS, measure, tune
from fedlab_utils.federate.comparison.settings import SETTINGS
from fedlab_utils.federate.comparison.verdict import gap_closed


def main(arguments: list[str] | None = None) -> int:
    """Tune and measure every method in the named settings, by default in all."""
    parser = argparse.ArgumentParser(prog="python -m fedlab_utils.federate.comparison")
    parser.add_argument("names", nargs="*", metavar="SETTING", help=", ".join(SETTINGS))
    parser.add_argument("--record", action="store_true", help="keep the results for the chapter")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        for name in chosen.names or SETTINGS:
            _one(name, chosen.record)
    except FedlabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _one(name: str, keep: bool) -> None:
    if name not in SETTINGS:
        raise FedlabError(f"no setting {name!r}; choose from {', '.join(SETTINGS)}.")
    setting, began, choices = SETTINGS[name], time.perf_counter(), {}
    federations = [(seed, setting.make(seed)) for seed in TUNING_SEEDS]
    for method in ALL:
        choices[method.name] = choice = tune(setting, method, federations)
        lr = setting.budget.local.lr * choice.factor
        knob = f", {method.knob[0]} {choice.value:.3g}" if method.knob else ""
        print(f"{name}: {method.name}, lr {lr:.3g}{knob}", flush=True)
    table = measure(setting, choices, SEEDS)
    means = table.groupby("method", sort=False)[["AP mean client", "AP worst client", "AP unseen"]]
    print(means.mean().round(3).to_string())
    print({k: round(v, 3) if isinstance(v, float) else v for k, v in gap_closed(table).items()})
    if keep:
        record(setting, choices, table, time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
