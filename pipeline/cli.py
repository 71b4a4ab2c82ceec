"""The command line: the stages, and what is no stage. Each command imports only what it needs."""

from __future__ import annotations

import errno
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from pipeline.errors import PipelineError, WriteError, one_line

# MLflow reads these when it is imported. Nothing of the user's is to be sent anywhere, and a server
# that is gone should cost seconds: `track` reconciles afterwards.
MLFLOW_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # It would print the server's address, password and all, after each run.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # Nothing of ours is one, and to load a foreign one is to run it.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}
# Keras and pandas import these where they are installed, for what is of no use here.
_NOT_FOR_TRAINING = ("sklearn", "matplotlib", "scipy", "PIL", "pyarrow")
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_CONTEXT)
def pipeline() -> None:
    """Does batch normalisation help, by how much, and how surely?

    \b
    Examples:
      dvc repro
      python -m pipeline compare momentum-0.9 main
      python -m pipeline predict seven.png
      python -m pipeline predict --help

    `dvc repro` runs the stages in order: download, prepare, train (each variant), evaluate,
    compare, track. Each can be run by hand as well. All values come from params.yaml.
    """


@pipeline.command()
def download() -> None:
    """Fetch the dataset's files and verify them.

    \b
    Example:
      MNIST_MIRROR=/data/mnist,https://example.org/mnist python -m pipeline download

    Mirrors (folders or URLs) in MNIST_MIRROR are tried before the built-in ones.
    """
    from pipeline.params_file import read_params

    params = read_params()
    from pipeline.datasets import download as stage

    stage.run(params)


@pipeline.command()
def prepare() -> None:
    """Decode, split and describe the data.

    \b
    Example:
      python -m pipeline prepare
    """
    from pipeline.params_file import read_params

    params = read_params()
    from pipeline.datasets import prepare as stage

    stage.run(params)


@pipeline.command()
@click.argument("variant")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    envvar="BNLAB_WORKERS",
    help="Threads that train at once [default: the number of processors]. Changes no result.",
)
def train(variant: str, workers: int | None) -> None:
    """Train VARIANT, as params.yaml names it, on all its seeds.

    \b
    Example:
      python -m pipeline train batch_norm --workers 2
    """
    from pipeline.params_file import read_params

    params = read_params()
    if variant not in params.variants:
        known = ", ".join(params.variants)
        raise click.BadParameter(f"{variant!r} is not in params.yaml, which has {known}")
    from pipeline.execution.interruption import Interruption

    interruption = Interruption()
    _give_seeds_the_threads()
    with _lean_tensorflow():
        from pipeline.execution import train as stage

    stage.run(params, variant, workers, interruption)


@pipeline.command()
def evaluate() -> None:
    """Score every run on the test set.

    \b
    Example:
      python -m pipeline evaluate
    """
    from pipeline.params_file import read_params

    params = read_params()
    with _lean_tensorflow():
        from pipeline.evaluation import evaluate as stage

    stage.run(params)


@pipeline.command()
@click.argument("names", nargs=-1, metavar="[A B]...")
@click.option(
    "--since",
    is_flag=False,
    flag_value="HEAD",
    metavar="[REV]",
    help="All DVC experiments made from this commit, or from one after it [HEAD].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option(
    "--figure",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where to draw the differences [default: in comparisons/].",
)
def compare(
    names: tuple[str, ...],
    since: str | None,
    *,
    as_json: bool,
    as_markdown: bool,
    figure: Path | None,
) -> None:
    """Compare variants, runs, or any number of experiments.

    \b
    Examples:
      python -m pipeline compare
      python -m pipeline compare batch_norm no_norm
      python -m pipeline compare HEAD~1:batch_norm momentum-0.9
      python -m pipeline compare main momentum-0.9 momentum-0.8
      python -m pipeline compare --since

    Without names it is the stage, and writes reports/. Else it prints what differs, by how much
    and how surely, and draws one figure. A and B are each a variant of params.yaml, a commit,
    branch, tag or DVC experiment, one variant of it (HEAD~1:batch_norm), or a run in MLflow by
    its name or id.

    More than two names are each a DVC experiment or a commit, to which --since adds: one table and
    one figure of all their variants, named by the parameters in which they differ, each set against
    the baseline of its own experiment.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json and --md exclude each other")
    if len(names) == 1 and since is None:
        raise click.UsageError("name two things to compare, or more, or none; got 1")
    is_stage = not names and since is None
    if is_stage and (as_json or as_markdown or figure):
        raise click.UsageError("--json, --md and --figure need names, or --since")
    from pipeline.params_file import read_params

    params = read_params()
    if is_stage:
        from pipeline.reporting import compare as stage

        stage.run(params)
        return
    form = "json" if as_json else "md" if as_markdown else "text"
    if since is None and len(names) == 2:
        from pipeline.commands import compare as command

        command.run(params, *names, form=form, figure=figure)
        return
    from pipeline.commands import ablate

    ablate.run(params, names, since, form, figure)


@pipeline.command()
def track() -> None:
    """Bring MLflow up to date with the files.

    \b
    Example:
      MLFLOW_TRACKING_URI=http://127.0.0.1:5000 python -m pipeline track

    Adds what is missing and nothing else; safe to repeat.
    """
    from pipeline.params_file import read_params

    params = read_params()
    from pipeline.tracking import track as stage

    stage.run(params)


@pipeline.command()
@click.argument("runs", metavar="[RUN]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="All runs of the present comparison.")
@click.option(
    "--checkout",
    is_flag=True,
    help="Work in a temporary worktree at the recorded commit, with its uncommitted changes.",
)
@click.option("--workers", type=click.IntRange(min=1), envvar="BNLAB_WORKERS", help="As in train.")
def reproduce(runs: tuple[str, ...], workers: int | None, *, every: bool, checkout: bool) -> None:
    """Train recorded runs again, and tell whether the same comes out.

    \b
    Examples:
      python -m pipeline reproduce batch_norm-seed-03
      python -m pipeline reproduce 8f2c1d --checkout
      python -m pipeline reproduce --all

    RUN is the id or name of a run or a comparison in MLflow, or the beginning of one. They
    are compared epoch by epoch and weight by weight. Ends with 0 if all came out bit-identical (on
    another type of processor, within a tolerance), otherwise with 1.
    """
    if every == bool(runs):
        raise click.UsageError("name a RUN, or give --all")
    from pipeline.params_file import read_params
    from pipeline.reproduction import reproduce as command

    chosen = command.runs_of(read_params()) if every else command.named(runs)
    if checkout:
        same = command.run_in_worktrees(chosen, workers)
    else:
        command.expect_present_inputs(chosen)
        _give_seeds_the_threads()
        with _lean_tensorflow():
            from pipeline.reproduction import retrain
        same = retrain.run(chosen, workers)
    if not same:
        sys.exit(1)


@pipeline.command()
@click.option("--force", is_flag=True, help="Whatever the verdict; the registry records that.")
def promote(*, force: bool) -> None:
    """Register the candidate's model as champion, if it is better.

    \b
    Example:
      python -m pipeline promote

    Better by the comparison's verdict. The model's name is that of the experiment; of the
    candidate's runs, the best on the validation set is taken.
    """
    from pipeline.params_file import read_params

    params = read_params()
    from pipeline.serving import promote as command

    command.run(params, force=force)


@pipeline.command()
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    # What cannot be read is told like any other file that is not right.
    type=click.Path(path_type=Path, readable=False),
)
@click.option("--seed", type=click.IntRange(min=0), help="Which run of each variant [default: 0].")
@click.option("--registered", is_flag=True, help="By the champion in MLflow's registry alone.")
@click.option(
    "--first",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many images of an IDX file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def predict(
    images: tuple[Path, ...], seed: int | None, first: int, *, registered: bool, as_json: bool
) -> None:
    """Say which digit each IMAGE shows, and how surely.

    \b
    Examples:
      python -m pipeline predict seven.png three.jpg
      python -m pipeline predict data/raw/t10k-images-idx3-ubyte.gz --first 20
      python -m pipeline predict seven.png --registered

    By the models of all variants, side by side, or by the registered one. IMAGE is a picture of
    one digit, of any size, dark on light or light on dark, or an IDX file of many. A picture is
    made into what the models know, as MNIST was made: cut out, scaled, centred. All files are
    read before anything is told.
    """
    if registered and seed is not None:
        raise click.UsageError("--registered and --seed exclude each other")
    from pipeline.params_file import read_params

    params = read_params()
    from pipeline.serving.given_images import read_images

    given = [read_images(path, first) for path in images]
    with _lean_tensorflow():
        from pipeline.serving import predict as command
    if registered:
        readers = [command.reader_of_champion(params)]
    else:
        readers = command.readers_of_runs(params, seed or 0)
    command.run(readers, given, as_json=as_json)


@pipeline.command()
@click.argument("name")
@click.option("--quick", is_flag=True, help="In under a minute, and not to be believed.")
@click.option("--workers", type=click.IntRange(min=1), envvar="BNLAB_WORKERS", help="As in train.")
def study(name: str, workers: int | None, *, quick: bool) -> None:
    """Put a claim to the test: the study in studies/NAME.

    \b
    Example:
      python -m pipeline study notebook --quick
    """
    _give_seeds_the_threads()
    with _lean_tensorflow():
        from pipeline.studies.study_file import read_study

    found = read_study(name, quick=quick)
    from pipeline.commands import study as command

    click.echo(command.run(found, workers))


@pipeline.command()
def gallery() -> None:
    """Write studies/README.md: all claims, pictures and verdicts.

    \b
    Example:
      python -m pipeline gallery
    """
    from pipeline.studies import gallery as stage

    stage.run()


@pipeline.command("params")
def show_params() -> None:
    """Check params.yaml and print what each variant trains with.

    \b
    Example:
      python -m pipeline params
    """
    from pipeline.params import flat
    from pipeline.params_file import read_params

    for name, variant in read_params().variants.items():
        click.echo(f"{name} ({variant.label})")
        for key, value in flat(variant.parameters | {"seeds": variant.training.seeds}):
            click.echo(f"  {key}: {value}")


@pipeline.command()
def demo() -> None:
    """Run the whole pipeline in a minute, without network.

    \b
    Example:
      python -m pipeline demo

    On scikit-learn's digits, in the folder .demo; everything else is left as it is.
    """
    from pipeline.commands import demo as demonstration

    demonstration.run()


@pipeline.command()
@click.option("--fix", is_flag=True, help="Mend what can safely be mended, keeping copies.")
@click.option("--relocate", is_flag=True, help="After a move: tell MLflow where artifacts are now.")
def doctor(*, fix: bool, relocate: bool) -> None:
    """Say what is wrong with this project; mend it if asked to.

    \b
    Example:
      python -m pipeline doctor --fix

    Changes nothing by itself. Ends with 1 while something is wrong, with 0 when all is well.
    """
    from pipeline.health import doctor as examination

    asked = {"--fix": fix, "--relocate": relocate}
    if not examination.run([option for option, wanted in asked.items() if wanted]):
        sys.exit(1)


@pipeline.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535))
def ui(port: int) -> None:
    """Serve MLflow's UI to this machine, and say where to look.

    \b
    Example:
      python -m pipeline ui --port 5001

    On 127.0.0.1, in two light processes.
    """
    from pipeline.commands import ui as browsing

    browsing.run(port)


def main() -> None:
    """Runs the command line; what the user can mend ends in one line and its exit code."""
    # What TensorFlow and MLflow make when they are imported stays: looking through it for garbage
    # again and again would take a sixth of that time.
    gc.set_threshold(100_000, 50, 100)
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Of several attempts that fail the last one is told, by whoever made them.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL + 1)
    logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        pipeline(prog_name="python -m pipeline")
    except PipelineError as error:
        _end(error)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        _end((WriteError if full else PipelineError)(one_line(error, longest=1000)))
    finally:
        # As it ends, Python would look through all of it once more, for up to a second.
        gc.freeze()


def _leave(number: int, _: FrameType | None) -> None:
    # As an exception, so that what is half-written is removed; the exit code is that of shells.
    sys.exit(128 + number)


def _end(error: PipelineError) -> None:
    # Whoever read what is told here may have ended first.
    with suppress(OSError):
        click.echo(f"error: {error}", err=True)
    sys.exit(error.exit_code)


def _give_seeds_the_threads() -> None:
    # Seeds run side by side on our threads: more threads inside a step would only wait.
    os.environ["TF_NUM_INTRAOP_THREADS"] = "1"


@contextmanager
def _lean_tensorflow() -> Iterator[None]:
    """Makes importing TensorFlow quiet, for its native code speaks of absent GPUs, and shorter."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # A study of many variants compiles for each of them, as it should; TensorFlow warns of it.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    hidden = [name for name in _NOT_FOR_TRAINING if name not in sys.modules]
    # None in their place makes `import` say that they are not there.
    sys.modules.update(dict.fromkeys(hidden))  # pyrefly: ignore[no-matching-overload]
    screen, silence = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silence, 2)
        yield
    finally:
        os.dup2(screen, 2)
        os.close(screen)
        os.close(silence)
        for name in hidden:
            del sys.modules[name]
