"""Ray nodes on this machine's loopback, as tests and drills need them."""

import os
import shutil
import tempfile
from contextlib import contextmanager
from unittest import mock

# Ray reads it when it is imported. Without it, 127.0.0.1 would be replaced by an address that other
# machines reach.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"


@contextmanager
def cluster(nodes=2):
    """Yields a `ray.cluster_utils.Cluster` with a head that trains nothing, and nodes that do."""
    from ray.cluster_utils import Cluster  # noqa: PLC0415

    # Short, because there are sockets in it.
    folder = tempfile.mkdtemp(prefix="ray-")
    shared = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "temp_dir": folder, **shared}
    )
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        yield made
    finally:
        made.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
