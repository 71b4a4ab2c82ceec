"""Ray's nodes on the loopback of this machine."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

# Ray reads it when it is imported: that 127.0.0.1 is not replaced by an address for others.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
os.environ.update(LOOPBACK)
LOCAL = {"node_ip_address": "127.0.0.1"}


@contextmanager
def cluster(nodes=2):
    """Yields a `ray.cluster_utils.Cluster`: a head that trains nothing, and nodes that do."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415  It takes a second.

    # Sockets are in it, whose paths may have a hundred characters.
    folder = tempfile.mkdtemp(prefix="ray-")
    head = {"num_cpus": 0, "include_dashboard": False, "temp_dir": folder, **LOCAL}
    with pytest.MonkeyPatch.context() as patch:
        # Ray notes the address of the last cluster there: not where the user's own may be noted,
        # nor where no folder is before Ray's first start.
        patch.setenv("RAY_TMPDIR", folder)
        Path(folder, "ray").mkdir()
        made = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(nodes):
                add(made)
            yield made
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


def add(cluster, folder=None):
    """Adds a node with one processor, and a folder of its own, as on a machine of its own."""
    # Of one folder, a node that begins takes away what others have in it.
    folder = folder or tempfile.mkdtemp(dir=cluster.head_node.temp_dir, prefix="")
    return cluster.add_node(num_cpus=1, temp_dir=str(folder), **LOCAL)


def workers():
    """Returns the processes of this user that train for Ray now."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if (process.info["cmdline"] or [""])[0].startswith("ray::train")
    ]
