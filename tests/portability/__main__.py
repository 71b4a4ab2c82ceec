"""Trains on emulated processors and caches, and writes what came out to docs/PORTABILITY.md."""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy as np

from pipeline.provenance.processor import outside_promise, present_processor
from pipeline.training.normalization import NORMALIZATIONS
from tests.portability.caches import PROCESSORS, Caches
from tests.portability.products import bits, operands, products
from tests.portability.steps import COMMITTED, STEPS

PAGE = Path("docs/PORTABILITY.md")
# Those with AVX2 that qemu-user can be: Intel of 2013, AMD of 2017 and 2021.
EMULATED = ("Haswell", "EPYC", "EPYC-Milan")
# What the stage `compare` reads.
MADE = ("data/prepared.npz", "evaluation", "runs")
SHAPES = 150


def steps(processor: str | None) -> dict[str, str]:
    """Returns the hashes of `tests.portability.steps` on an emulated processor, or on this one."""
    return json.loads(run("tests.portability.steps", processor=processor))


def reports(processor: str | None) -> dict[str, bytes]:
    """Returns the files that the stage `compare` makes of the present runs, by name."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (*MADE, "networks", "params.yaml", "pipeline", "tests"):
            (Path(folder) / name).parent.mkdir(exist_ok=True)
            (Path(folder) / name).symlink_to(Path(name).resolve())
        module = "pipeline" if processor is None else "tests.portability.emulated"
        run(module, "compare", processor=processor, folder=folder)
        made = Path(folder) / "reports"
        return {
            str(path.relative_to(made)): path.read_bytes()
            for path in sorted(made.rglob("*"))
            if path.is_file()
        }


def run(module: str, *arguments: str, processor: str | None, folder: str = ".") -> str:
    emulator = [] if processor is None else ["qemu-x86_64", "-cpu", processor]
    command = [*emulator, sys.executable, "-m", module, *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if ended.returncode:
        sys.exit(f"error: {' '.join(command)}: {ended.stderr.strip().splitlines()[-1]}")
    return ended.stdout


def shapes_that_differ() -> list[tuple[int, int, int]]:
    """Returns the shapes, of many drawn at random, whose products depend on the caches."""
    products(*operands(64, 512, 64))
    caches, draw, different = Caches(), np.random.default_rng(0), []
    for _ in range(SHAPES):
        shape = tuple(int(2 ** draw.uniform(0, most)) for most in (12, 11, 10))
        given, found = operands(*shape), []
        for sizes in PROCESSORS:
            with caches.of(sizes):
                found.append(bits(products(*given)))
        if found != [found[0]] * len(PROCESSORS):
            different.append(shape)
    return different


def main() -> None:
    if reason := outside_promise(present_processor()):
        sys.exit(f"nothing to try: {reason}")
    emulated = EMULATED if shutil.which("qemu-x86_64") else ()
    if not emulated:
        sys.stdout.write("qemu-x86_64 is missing (Debian's package qemu-user): none is emulated\n")
    processors = (None, *emulated)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        trained = dict(zip(processors, pool.map(steps, processors), strict=True))
        are_there = all(Path(name).exists() for name in MADE)
        reported = (
            dict(zip(processors, pool.map(reports, processors), strict=True)) if are_there else {}
        )
    page = in_words(trained, reported, shapes_that_differ())
    PAGE.write_text(page, encoding="utf-8")
    sys.stdout.write(f"{page}\nwritten: {PAGE}\n")


def in_words(
    trained: dict[str | None, dict[str, str]],
    reported: dict[str | None, dict[str, bytes]],
    different: list[tuple[int, int, int]],
) -> str:
    """Returns the page."""
    committed = json.loads(COMMITTED.read_text())
    rows = []
    for processor, hashes in trained.items():
        same = [hashes[name] == committed[name] for name in NORMALIZATIONS]
        if reported:
            same.append(reported[processor] == reported[None])
        marks = " | ".join("same" if one else "**other**" for one in same)
        name = present_processor().name if processor is None else f"{processor}, emulated"
        rows.append(f"| {name} | {marks} |")
    columns = [f"`{name}`" for name in NORMALIZATIONS] + ["report"] * bool(reported)
    of_shapes = ", ".join(f"{batch} by {inputs} by {units}" for batch, inputs, units in different)
    of_report = (
        """ It also makes the
report of the present runs, and compares all its files with this machine's. For the report emulated
processors do without NumPy's code for AVX2, in which qemu crashes."""
        if reported
        else ""
    )
    return f"""\
# Which processors give the same bits?

Written by `make portability`. [docs/reproduce.md](reproduce.md#what-bit-identical-means) says what
is promised, and how it is kept.

Each row trains the notebook's networks for {STEPS} steps on made-up images, and compares the
SHA-256 of all weights and scores with the committed one, for each normalisation.{of_report}

| processor | {" | ".join(columns)} |
|---|{"---|" * len(columns)}
{chr(10).join(rows)}

An emulator does not change the sizes of caches, by which Eigen cuts products. They were overwritten
in Eigen's memory, with those of six processors whose L1 data caches have 32 or 48 KB, for the
products and gradients of {SHAPES} dense layers of random shapes: batches up to 4,096, 2,048 inputs,
1,024 units. {
        f"Shapes whose bits depend on it: {of_shapes}." if of_shapes else "None depends on it."
    }

TensorFlow {version("tensorflow")}, Python {platform.python_version()}.
"""


if __name__ == "__main__":
    main()
