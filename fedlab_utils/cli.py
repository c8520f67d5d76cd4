"""The command line: `fedlab train`, `evaluate`, `publish`, `score`, `serve`, ... Chapter 14.

    fedlab keys keys/                                     a key pair for signing models
    fedlab train payments run/ --rounds 20                train a federation, write a bundle
    fedlab evaluate run/                                  AP and AUC, floors beside it
    fedlab publish run/ registry/ --key keys/signing.key
    fedlab calibrate rows.csv own.json ...                a bank's own threshold
    fedlab score rows.csv ...                             scores of a file, as CSV
    fedlab serve ...                                      a bank's scorer over HTTP
    fedlab certificates folder/ --host ... --bank ...     TLS and node keys for Flower

What a bank runs (`score`, `serve`) does not import torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from fedlab_utils.errors import FedlabError


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="fedlab", description="Federated anomaly detection, from training to alerts."
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a federation and write a bundle")
    train.add_argument("dataset", help="name of a data set, such as payments")
    train.add_argument("run", help="folder for the bundle and the checkpoint")
    train.add_argument("--clients", type=int, help="number of clients, where it can be chosen")
    train.add_argument("--rounds", type=int, default=20)
    train.add_argument("--lr", type=float, default=0.05)
    train.add_argument("--epochs", type=int, default=1, help="passes in each round")
    train.add_argument("--batch-size", type=int, default=32)
    train.add_argument("--alarm-rate", type=float, default=0.01)
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--name", help="of the detector; default: DATASET-autoencoder")

    evaluate = commands.add_parser("evaluate", help="AP and AUC of a bundle, floors beside it")
    evaluate.add_argument("run", help="folder that `fedlab train` wrote")

    keys = commands.add_parser("keys", help="make a key pair for signing models")
    keys.add_argument("folder")

    publish = commands.add_parser("publish", help="sign a bundle and put it into a registry")
    publish.add_argument("run", help="folder that `fedlab train` wrote")
    publish.add_argument("registry")
    publish.add_argument("--key", required=True, help="private signing key")
    publish.add_argument("--days", type=float, default=90.0, help="how long banks may use it")

    certificates = commands.add_parser("certificates", help="TLS and node keys for Flower")
    certificates.add_argument("folder")
    certificates.add_argument("--host", action="append", help="name or address of the SuperLink")
    certificates.add_argument("--bank", action="append", help="make a node key for this bank")
    certificates.add_argument("--days", type=int, default=90)

    signed = argparse.ArgumentParser(add_help=False)
    signed.add_argument("--registry", required=True)
    signed.add_argument("--model", required=True, help="name of the detector")
    signed.add_argument("--trust", required=True, action="append", help="public key; repeatable")
    signed.add_argument("--version", type=int, help="default: the newest")
    signed.add_argument("--at-least", type=int, default=0, help="refuse older versions")
    signed.add_argument("--calibration", help="the bank's own, made by `fedlab calibrate`")

    calibrate = commands.add_parser(
        "calibrate", parents=[signed], help="a bank's own threshold from unlabelled rows"
    )
    calibrate.add_argument("rows", help="CSV with the model's features")
    calibrate.add_argument("out", help="file for the calibration")
    calibrate.add_argument("--alarm-rate", type=float, default=0.01)

    score = commands.add_parser("score", parents=[signed], help="score the rows of a CSV file")
    score.add_argument("rows", help="CSV with the model's features, or - for standard input")

    serve = commands.add_parser("serve", parents=[signed], help="a bank's scorer over HTTP")
    serve.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    serve.add_argument("--port", type=int, default=8080)
    serve.add_argument("--token-file", required=True, help="file with the callers' token")
    serve.add_argument("--alerts-per-day", type=float, help="budget; default: no limit")
    serve.add_argument("--window", type=int, default=500, help="rows of the drift monitor")
    serve.add_argument("--ssl-certfile", help="serve HTTPS with this certificate ...")
    serve.add_argument("--ssl-keyfile", help="... and its private key")
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; errors of the package become one line and exit code 1."""
    given = parser().parse_args(arguments)
    # Imported here: a bank's scorer must not wait for torch.
    if given.command in ("train", "evaluate", "keys", "publish", "certificates"):
        from fedlab_utils.commands import coordinator as home
    else:
        from fedlab_utils.commands import bank as home  # type: ignore[no-redef]
    try:
        getattr(home, given.command)(given)
    except (FedlabError, OSError) as error:
        print(f"fedlab {given.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
