"""A project whose results are shared: commits by way of git, runs by way of a remote of DVC."""

from tests.conftest import Clone

SEEDS, EPOCHS = 2, 1


def introduce(clone):
    """Tells git who works in a clone."""
    for key, value in (("user.name", "Test"), ("user.email", "test@example.org")):
        clone.run("git", "config", key, value)


def publish(clone, folder):
    """Trains the runs of a clone, and pushes all to a bare repository and a remote in a folder."""
    introduce(clone)
    clone.run("git", "init", "-q", "--bare", "-b", "main", str(folder / "bnlab.git"))
    clone.run("git", "remote", "add", "origin", str(folder / "bnlab.git"))
    clone.run("dvc", "remote", "add", "--default", "shared", str(folder / "dvc"))
    clone.run("git", "commit", "-qam", "A remote")
    clone.trained_at = clone.run("git", "rev-parse", "HEAD").stdout.strip()
    clone.run("dvc", "repro")
    clone.run("python", "-m", "pipeline", "promote", "--force")
    clone.run("git", "add", "reports")
    clone.run("git", "commit", "-qam", "Results")
    clone.run("dvc", "push")
    clone.run("git", "push", "-q", "origin", "main")


def join(author, folder):
    """Returns a colleague's clone, with nothing but what git brings."""
    origin = author.run("git", "remote", "get-url", "origin").stdout.strip()
    author.run("git", "clone", "-q", origin, str(folder))
    colleague = Clone(folder, forks=author.forks)
    introduce(colleague)
    return colleague
