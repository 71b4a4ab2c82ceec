"""`python -m notebooks.export`: runs the tutorial's notebook, and writes it as a page with pictures.

The notebook is the source, page and pictures are made from it. A picture is called as the cell is
that drew it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbformat import NotebookNode

from pipeline.adapters.files import clear, write_bytes, write_text

NOTEBOOK, PAGE = Path("notebooks/tutorial.ipynb"), Path("docs/tutorial.md")
_SECONDS_A_CELL = 600
# What a cell prints is fenced, for some of it is indented itself; a picture has its own words.
_TEMPLATE = """\
{%- extends 'markdown/index.md.j2' -%}
{%- block stream -%}
```text
{{ output.text }}```
{% endblock stream -%}
{%- block data_png -%}
![{{ output.metadata['image/png'].alt }}]({{ output.metadata.filenames['image/png'] }})
{% endblock data_png -%}
"""


def main() -> None:
    """Runs the notebook in the project's root, and writes it, the page and its pictures anew."""
    notebook = run(nbformat.read(NOTEBOOK, as_version=4), Path())
    write_text(NOTEBOOK, nbformat.writes(notebook) + "\n")
    text, pictures = page(notebook)
    write_text(PAGE, text)
    clear(PAGE.with_suffix(""), keep=pictures)
    for name, content in pictures.items():
        write_bytes(PAGE.with_suffix("") / name, content)


def run(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Returns the notebook with the outputs that its cells have in this folder.

    Nothing in it tells of the day or of the machine.

    Raises:
        CellExecutionError: if a cell fails.
    """
    client = NotebookClient(
        notebook,
        timeout=_SECONDS_A_CELL,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
        # TensorFlow's native code speaks of absent GPUs, past Python.
        extra_arguments=["--IPKernelApp.capture_fd_output=False"],
    )
    done = client.execute()
    done.metadata = {"kernelspec": done.metadata.kernelspec, "language_info": {"name": "python"}}
    return done


def page(notebook: NotebookNode) -> tuple[str, Mapping[str, bytes]]:
    """Returns the notebook as Markdown, and its pictures by the names of their files."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata.filename = cell.id
    folder = PAGE.with_suffix("").name
    exporter = MarkdownExporter(raw_template=_TEMPLATE)
    text, resources = exporter.from_notebook_node(
        notebook, resources={"output_files_dir": folder, "unique_key": folder}
    )
    pictures = {Path(name).name: content for name, content in resources["outputs"].items()}
    return text.strip() + "\n", pictures


if __name__ == "__main__":
    main()
