"""Forget samples of your own data, and hand out a model with its certificate.

    unlearnlib forget --data photos --list forget.txt --out release
    unlearnlib certificate release
    unlearnlib verify release --data photos

Without --model, softmax regression on fixed features: its certificate is proved. With --model,
a torch module of your own; of that only the ball in which it was trained is proved.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import DataError, InputError, UnlearnError, require
from . import releases, work
from .models import FEATURES, Model, own_model, proved_model, read_weights
from .samples import Samples, read

DONE, REFUSED, NOT_CONFIRMED, INTERRUPTED = 0, 1, 3, 130  # 2 is argparse's: wrong usage
ENDS = "exit codes: 0 done, 1 refused, 2 wrong usage, 3 not confirmed, 130 interrupted"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; an error is one line that says what to do, and nothing is half written."""
    options = _parser().parse_args(argv)
    try:
        return options.run(options)
    except UnlearnError as refused:
        print(f"unlearnlib: {refused}", file=sys.stderr)
        return REFUSED
    except KeyboardInterrupt:
        print("unlearnlib: interrupted; nothing was released", file=sys.stderr)
        return INTERRUPTED


def _train(options: argparse.Namespace) -> int:
    print(work.train(_model(options, _samples(options)), options.out))
    return DONE


def _forget(options: argparse.Namespace) -> int:
    releases.refuse_taken(options.out)
    samples, rows, model, budget = _request(options)
    run = {"command": "forget", "data": options.data.name} | _told(options)
    print(work.forget(model, samples, rows, _w(options, model), options.out, run=run, **budget))
    return DONE


def _compare(options: argparse.Namespace) -> int:
    _, rows, model, budget = _request(options)
    print(work.compare(model, rows, _w(options, model), **budget))
    return DONE


def _certificate(options: argparse.Namespace) -> int:
    print(releases.read(options.release).certificate)
    return DONE


def _verify(options: argparse.Namespace) -> int:
    kept = releases.read(options.release)
    secret = f"{options.release}/private"
    require(
        bool(kept.secret),
        f"{secret} is not there; only who holds it, and the data, can verify",
        DataError,
    )
    told = argparse.Namespace(**{**vars(options), **kept.run["told"]})
    samples = _samples(told)
    same = samples.digest == kept.asked["data"]
    remedy = "verify takes the forgotten samples too: check before they are deleted"
    changed = f"{options.data} does not hold what was trained on, or under other names; {remedy}"
    require(same, changed, DataError)
    found = work.check(_model(told, samples), samples, kept, options.release)
    print(found)
    return DONE if found.confirmed else NOT_CONFIRMED


# ---- options -------------------------------------------------------------------------------------

TOLD = ("label", "id", "model", "features", "requests", "epsilon", "delta", "C", "lam")
TOLD += ("weight_decay", "epochs", "lr")


def _told(options: argparse.Namespace) -> dict:
    """The options that a release has to be verified with."""
    return {"told": {name: getattr(options, name) for name in TOLD}}


def _samples(options: argparse.Namespace) -> Samples:
    return read(options.data, options.label, options.id, options.test)


def _model(options: argparse.Namespace, samples: Samples) -> Model:
    n, requests = len(samples.names), options.requests
    require(
        requests >= 1, f"--requests is {requests}; it has to be at least 1, this one", InputError
    )
    few = f"--delta is {options.delta:g}; with {n} samples it has to be below {1 / n:.2g}"
    require(options.delta < 1 / n, few, InputError)
    if options.model:
        names = ("C", "lam", "weight_decay", "epochs", "lr")
        return own_model(samples, options.model, **{name: getattr(options, name) for name in names})
    names = ("features", "epsilon", "delta", "requests")
    return proved_model(samples, **{name: getattr(options, name) for name in names})


def _request(options: argparse.Namespace) -> tuple[Samples, list[int], Model, dict[str, float]]:
    samples = _samples(options)
    rows = samples.wanted(options.list)  # before features are made
    budget = {"epsilon": options.epsilon, "delta": options.delta}
    return samples, rows, _model(options, samples), budget


def _w(options: argparse.Namespace, model: Model):
    return read_weights(model.F, options.weights) if options.weights else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="unlearnlib", description=__doc__, epilog=ENDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, run, what in (
        ("train", _train, "train the model and write its weights"),
        ("forget", _forget, "answer a request and write a release"),
        ("compare", _compare, "compare a release with retraining; nothing is kept"),
    ):
        command = _command(commands, name, run, what)
        _data(command)
        _model_options(command)
        if name != "compare":
            new = "a new file, for weights" if name == "train" else "a new folder"
            command.add_argument("--out", type=Path, required=True, help=new)
        if name != "train":
            listed = "a text file of what to forget: CLASS/file.png, or a row's name, on each line"
            command.add_argument("--list", type=Path, required=True, help=listed)
            written = "the file that `train --out` wrote; else it trains first"
            command.add_argument("--weights", type=Path, help=written)
    card = _command(commands, "certificate", _certificate, "show the card of a release")
    check = _command(commands, "verify", _verify, "check every line of a release's card")
    for command in (card, check):
        command.add_argument("release", type=Path, help="a folder that `forget` wrote")
    check.add_argument("--data", type=Path, required=True, help="as `forget` had it")
    check.set_defaults(test=None)
    return parser


def _command(commands, name: str, run: Callable, what: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=what, epilog=ENDS)
    command.set_defaults(run=run)
    return command


def _data(command: argparse.ArgumentParser) -> None:
    shape = "FOLDER/{train,test}/CLASS/*, or a table .csv or .parquet"
    command.add_argument("--data", type=Path, required=True, help=shape)
    command.add_argument("--test", type=Path, help="a second table, to judge by")
    command.add_argument("--label", default="label", help="a table's column to predict")
    command.add_argument("--id", default="", help="a table's column of names; else its lines")


def _model_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--epsilon", type=float, default=1.0, help="the budget of all --requests together (1)")
    add("--delta", type=float, default=1e-5, help="below 1 over the number of samples (1e-5)")
    add(
        "--requests", type=int, default=1, help="answered in all, this among them (1): proved model"
    )
    choices = ("auto", *FEATURES)
    add("--features", choices=choices, default="auto", help="what the proved model sees")
    add("--model", default="", metavar="FILE.py:NAME", help="a function that makes your module")
    add("--C", type=float, default=20.0, help="radius of the ball: your own model (20)")
    add("--lam", type=float, default=10.0, help="damping: your own model (10)")
    add("--weight-decay", type=float, default=5e-4, help="your own model (5e-4)")
    add("--epochs", type=int, default=30, help="your own model (30)")
    add("--lr", type=float, default=1e-3, help="of Adam: your own model (1e-3)")


if __name__ == "__main__":
    sys.exit(main())
