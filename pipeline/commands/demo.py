"""The same pipeline in a folder of its own, on data that needs no download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from pipeline.errors import MissingInputError, PipelineError

FOLDER = Path(".demo")
_COPIED = ("networks", "pipeline", ".dvc/plots", ".dvcignore", "dvc.yaml", "params.yaml")


@click.command()
def command() -> None:
    """Run the whole pipeline in a minute, without network.

    \b
    Example:
      python -m pipeline demo

    Uses scikit-learn's digits and the folder .demo, and changes nothing else.
    """
    # Says so, before anything is written, where only a part of bnlab is installed.
    import dvc  # noqa: F401

    if lacking := [name for name in _COPIED if not Path(name).exists()]:
        raise MissingInputError(f"{lacking[0]} is not here: run from the project's root")
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    # Before copying, because it empties .dvc.
    _run_dvc("init", "--no-scm", "--quiet", "--force")
    for name in _COPIED:
        if Path(name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(name, FOLDER / name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(name, FOLDER / name)
    _choose_digits(FOLDER / "params.yaml")
    _run_dvc("config", "core.analytics", "false")
    _run_dvc("config", "core.check_update", "false")
    _run_dvc("repro")
    print(f"\nIts runs: cd {FOLDER} && ../.venv/bin/python -m pipeline ui")
    print(f"The answer is in {(FOLDER / 'reports' / 'report.html').resolve()}")


def _choose_digits(path: Path) -> None:
    from ruamel.yaml import YAML

    yaml = YAML()
    params = yaml.load(path)
    params["data"] = {"dataset": "digits", "path": "data/raw", "validation_size": 200}
    params["tracking"]["experiment"] = "digits-demo"
    yaml.dump(params, path)


def _run_dvc(*arguments: str) -> None:
    # These would send the demo's runs to another store, or its stages to another checkout.
    removed = {"MLFLOW_TRACKING_URI", "DVC_ROOT"}
    environment = {key: value for key, value in os.environ.items() if key not in removed}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    ended = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=FOLDER, env=environment, check=False
    )
    if ended.returncode != 0:
        raise PipelineError(f"the demo stopped in `dvc {' '.join(arguments)}`: see the error above")
