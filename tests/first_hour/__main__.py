"""Walks the first hour in a clone of what is committed, and writes docs/first-hour.md of it.

Commands are run, and what they print is shown; pages are opened in Chromium, and photographed.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.faults.servers import free_port

PAGE = Path("docs/first-hour.md")
PICTURES = PAGE.with_suffix("")
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# Enough for pages, and a third of the bytes.
COLORS = 128
ABLATION = "dvc exp run -n momentum-0.9 -S variants.batch_norm.momentum=0.9"
COMPARE = "python -m pipeline compare momentum-0.9:batch_norm main:batch_norm"
PREDICT = "python -m pipeline predict data/raw/t10k-images-idx3-ubyte --first 1 --show"


def main() -> None:
    """Writes the page and its pictures."""
    shutil.rmtree(PICTURES, ignore_errors=True)
    PICTURES.mkdir()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        clone = Clone(Path(folder) / "bnlab")
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        PAGE.write_text("\n\n".join(walk(clone, browser)) + "\n", encoding="utf-8")
        browser.close()


def walk(clone, browser):
    """Yields the paragraphs of the page."""
    yield "# What will I see in the first hour?"
    yield (
        "Seven screens, from a fresh clone to a verdict of your own. `make first-hour` made this "
        "page: it ran the commands, and photographed what they open."
    )
    yield "## 1. The answer"
    yield (
        "`make run` downloads MNIST, trains ten pairs of networks, compares them, and ends with "
        "the answer:"
    )
    # Before it DVC tells of its stages, which came from the cache here.
    answer = clone.run("make run").rpartition("remote storage.\n")[2]
    yield shown("make run", f"…\n{answer}")
    yield "## 2. The report"
    yield (
        "Open `reports/report.html` in a browser. Point at a run for its seed and value, switch "
        "variants and seeds on and off, look through the misread digits. It loads nothing."
    )
    report = (clone.folder / "reports/report.html").as_uri()
    yield photographed(browser, report, "report", "The report, from the verdict to its figures")
    yield photographed(
        browser, report, "report-phone", "The same on a phone, in the dark",
        viewport=PHONE, color_scheme="dark",
    )  # fmt: skip
    with clone.ui() as (told, places):
        start = places["Runs"].partition("#")[0]
        yield "## 3. MLflow"
        yield (
            "`make ui` serves MLflow until you press Ctrl-C, and says where to look when it "
            "answers:"
        )
        yield shown("make ui", told)
        yield (
            "MLflow's own start page is made for chat. The experiment's description there says how "
            "to come to the runs: choose *Model training* at the top left, or open the experiment "
            "and follow a link."
        )
        yield photographed(
            browser, start, "start", "MLflow's start page", until="Choose Model training"
        )
        yield "## 4. The runs"
        yield (
            "A run is a variant trained on one seed, with its scores on the test set. MLflow lists "
            "the comparison, with its verdict, as a run too. Close MLflow's assistant, and there "
            "is room for more columns."
        )
        yield photographed(
            browser, places["Runs"], "runs", "The runs in a table", until="no_norm-seed-00",
            close="Close",
        )  # fmt: skip
        yield "## 5. Learning curves"
        yield "A line is a cell, the mean of its seeds with their range."
        yield photographed(
            browser, places["Learning curves"], "curves", "The learning curves of both cells",
            until="validation/accuracy", close="Close",
        )  # fmt: skip
    yield "## 6. An ablation"
    yield (
        "Open another terminal in the same folder, and type `source .venv/bin/activate` first. "
        "What if the moving averages forget faster? One flag, and only the variant that it touches "
        "is trained again:"
    )
    clone.run(ABLATION)
    compared = clone.run(COMPARE)
    yield shown(ABLATION)
    verdict, _, statistics = compared.partition("\nDiffers")
    yield shown(COMPARE, verdict)
    (figure,) = re.findall(r"\S+\.png", statistics)
    yield "All statistics follow, the rule of the verdict, and the figure's name:"
    content = (clone.folder / figure).read_bytes()
    yield kept(content, "ablation", "The ten pairs of the ablation, and their differences")
    yield "## 7. A prediction"
    yield "The models of both variants, asked about a picture; `--show` draws what they see:"
    yield shown(PREDICT, clone.run(PREDICT))
    yield (
        "From here: [what a parameter changes](ablations.md), [data of your own](your-data.md), "
        "[a network of your own](your-network.md)."
    )


def shown(command: str, told: str = "") -> str:
    """Returns a command and what it printed, as Markdown."""
    return f"<!-- from make first-hour -->\n```\n$ {command}\n{told.strip()}".rstrip() + "\n```"


def photographed(browser, place, name, words, *, until=None, close=None, **options):
    """Photographs a page; returns the picture as Markdown."""
    page = browser.new_page(**({"viewport": DESKTOP} | options))
    page.goto(place)
    if until:
        page.get_by_text(until).first.wait_for(timeout=60_000)
    # Charts are drawn after their titles.
    page.wait_for_timeout(5_000)
    if close:
        page.get_by_role("button", name=close).last.click()
        page.wait_for_timeout(2_000)
    picture = page.screenshot()
    page.close()
    return kept(picture, name, words)


def kept(content: bytes, name: str, words: str) -> str:
    """Keeps a picture beside the page; returns it as Markdown."""
    picture = Image.open(BytesIO(content)).convert("RGB").quantize(COLORS)
    picture.save(PICTURES / f"{name}.png", optimize=True)
    return f"![{words}]({PICTURES.name}/{name}.png)"


class Clone:
    """A clone of the checkout, whose results come from its cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        outside = ("DVC_", "MLFLOW_", "GIT_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(outside)}
        self.environment["PATH"] = os.pathsep.join(
            [str(Path(sys.executable).parent), self.environment["PATH"]]
        )
        subprocess.run(["git", "clone", "--quiet", ".", folder], check=True)
        cache = Path(".dvc/cache").resolve()
        self.run(f"dvc cache dir --local '{cache}'")
        self.run("git config user.name bnlab")
        self.run("git config user.email bnlab@localhost")
        self.run("dvc checkout --allow-missing")
        # The environment is that of the checkout, and make is to take it for new.
        (folder / ".venv").symlink_to(Path(sys.prefix).resolve())
        os.utime(folder / "requirements.lock", (0, 0))

    def run(self, command: str) -> str:
        """Returns what a command prints."""
        ended = subprocess.run(
            shlex.split(command), cwd=self.folder, env=self.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            sys.exit(f"error: {command}: {ended.stderr}")
        return ended.stdout

    @contextmanager
    def ui(self):
        """Serves MLflow; yields what is printed, with the usual port, and the addresses."""
        port = str(free_port())
        server = subprocess.Popen(
            [sys.executable, "-m", "pipeline", "ui", "--port", port], cwd=self.folder,
            env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            lines = []
            for line in iter(server.stdout.readline, ""):
                if "/#/" in line:
                    lines.append(line)
                if len(lines) == 2:
                    break
            told = "".join(lines).replace(f":{port}/", ":5000/")
            yield told, dict(line.rsplit(maxsplit=1) for line in lines)
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(60)


if __name__ == "__main__":
    main()
