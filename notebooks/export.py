"""`python -m notebooks.export` runs the tutorial's notebook, and writes it as a page.

The notebook is the source; the page and its pictures are made from it. Each picture has the name of
the cell that drew it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter
from nbformat import NotebookNode
from traitlets.config import Config

from pipeline.files import clear, write_bytes, write_text

NOTEBOOK, PAGE = Path("notebooks/tutorial.ipynb"), Path("docs/tutorial.md")
_SECONDS_A_CELL = 600
# The page is read for its figures, so code is folded, except in cells tagged `shown`. Each picture
# has an alternative text, for those who cannot see it.
_TEMPLATE = """\
{%- extends 'markdown/index.md.j2' -%}
{%- block input -%}
{%- if 'shown' in cell.metadata.tags -%}
```python
{{ cell.source }}
```
{%- else -%}
<details><summary>Code: {{ cell.id | replace('-', ' ') }}</summary>

```python
{{ cell.source }}
```

</details>
{%- endif -%}
{%- endblock input -%}
{%- block data_png -%}
![{{ output.metadata['image/png'].alt }}]({{ output.metadata.filenames['image/png'] }})
{% endblock data_png -%}
"""
# The template leaves more blank lines than Python code has.
_BLANK_LINES = re.compile(r"\n{4,}")


def main() -> None:
    """Runs the notebook in the project's root, and rewrites it, the page and its pictures."""
    notebook = run(nbformat.read(NOTEBOOK, as_version=4), Path())
    write_text(NOTEBOOK, nbformat.writes(notebook) + "\n")
    text, pictures = page(notebook)
    write_text(PAGE, text)
    clear(PAGE.with_suffix(""), keep=pictures)
    for name, content in pictures.items():
        write_bytes(PAGE.with_suffix("") / name, content)


def run(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Returns the notebook with the outputs of its cells, run in this folder.

    Nothing in it depends on the date or the machine.

    Raises:
        CellExecutionError: if a cell fails.
    """
    # Without the user's own settings, and without a port that others on the machine could use.
    with TemporaryDirectory() as own:
        kernel = {
            "transport": "ipc",
            "ip": f"{own}/kernel",
            "connection_file": f"{own}/kernel.json",
        }
        client = NotebookClient(
            notebook,
            timeout=_SECONDS_A_CELL,
            record_timing=False,
            resources={"metadata": {"path": str(folder)}},
            # TensorFlow's native code warns of absent GPUs directly on stderr.
            extra_arguments=["--IPKernelApp.capture_fd_output=False"],
            config=Config(KernelManager=kernel),
        )
        done = client.execute(env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "IPYTHONDIR": own})
    done.metadata = {"kernelspec": done.metadata.kernelspec, "language_info": {"name": "python"}}
    return done


def page(notebook: NotebookNode) -> tuple[str, Mapping[str, bytes]]:
    """Returns the notebook as Markdown, and its pictures by file name."""
    named = deepcopy(notebook)
    for cell in named.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.metadata.filename = cell.id
    folder = PAGE.with_suffix("").name
    exporter = MarkdownExporter(raw_template=_TEMPLATE)
    text, resources = exporter.from_notebook_node(
        named, resources={"output_files_dir": folder, "unique_key": folder}
    )
    pictures = {Path(name).name: content for name, content in resources["outputs"].items()}
    return _BLANK_LINES.sub("\n\n", text).strip() + "\n", pictures


if __name__ == "__main__":
    main()
