"""The same pipeline in a folder of its own, on data that needs no download."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    make(FOLDER, {})
    run_dvc(FOLDER, "repro")
    title, _, answer = (
        (FOLDER / "reports" / "report.md").read_text(encoding="utf-8").splitlines()[:3]
    )
    print(f"\n{title.removeprefix('# ')}\n{answer.replace('**', '')}")
    print(f"\nIts runs: cd {FOLDER} && ../.venv/bin/python -m pipeline ui")
    print(f"The answer is in {(FOLDER / 'reports' / 'report.html').resolve()}")


def make(folder: Path, training: Mapping[str, Any]) -> None:
    """Makes the project of the digits in a folder, which is emptied.

    Args:
        folder: of the project.
        training: values of the block `training` of its params.yaml that are not the shipped ones.

    Raises:
        MissingInputError: if the present folder is not the root of a checkout.
    """
    # Says so, before anything is written, where only a part of bnlab is installed.
    import dvc  # noqa: F401

    if lacking := [name for name in _COPIED if not Path(name).exists()]:
        raise MissingInputError(f"{lacking[0]} is not here: run from the project's root")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    # Before copying, because it empties .dvc.
    run_dvc(folder, "init", "--no-scm", "--quiet", "--force")
    for name in _COPIED:
        if Path(name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(name, folder / name, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy(name, folder / name)
    _choose_digits(folder / "params.yaml", training)
    run_dvc(folder, "config", "core.analytics", "false")
    run_dvc(folder, "config", "core.check_update", "false")


def run_dvc(folder: Path, *arguments: str) -> None:
    """Runs DVC in a folder that `make` made.

    Raises:
        PipelineError: if it fails.
    """
    # These would send the demo's runs to another store, or its stages to another checkout.
    removed = {"MLFLOW_TRACKING_URI", "DVC_ROOT"}
    environment = {key: value for key, value in os.environ.items() if key not in removed}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    ended = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, check=False
    )
    if ended.returncode != 0:
        raise PipelineError(f"the demo stopped in `dvc {' '.join(arguments)}`: see the error above")


def _choose_digits(path: Path, training: Mapping[str, Any]) -> None:
    from ruamel.yaml import YAML

    yaml = YAML()
    params = yaml.load(path)
    params["data"] = {"dataset": "digits", "path": "data/raw", "validation_size": 200}
    params["tracking"]["experiment"] = "digits-demo"
    params["training"].update(training)
    yaml.dump(params, path)
