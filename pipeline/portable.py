"""Settings under which results have the same bits on every x86-64 processor with AVX2 and FMA.

Libraries read them from the environment when they are imported, so this package sets them when it
is. A user's own settings that could change a result are set aside.
"""

from __future__ import annotations

import os
import re
from collections.abc import MutableMapping

# XLA would choose code by the processor, and Intel and AMD approximate 1/sqrt(x) differently.
XLA_FLAGS = (
    "--xla_cpu_max_isa=AVX2",
    # Kernels that YNNPACK chooses by the processor.
    "--xla_cpu_experimental_ynn_fusion_type=",
    "--xla_backend_extra_options=xla_cpu_disable_platform_dependent_math",
    "--xla_cpu_multi_thread_eigen=false",
    # It would cut loops by the number of threads.
    "--xla_disable_hlo_passes=cpu-parallel-task-assigner",
)
SETTINGS = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    # Products on several threads are cut by their number. Seeds train side by side instead:
    # `training.workers` allows as many threads as there are processors, and a product one of them.
    "TF_NUM_INTRAOP_THREADS": "1",
    "KERAS_BACKEND": "tensorflow",
    # Keras reads keras.json from this folder; there is none.
    "KERAS_HOME": os.devnull,
    # A GPU rounds differently.
    "CUDA_VISIBLE_DEVICES": "-1",
    # NumPy has other logarithms for AVX-512.
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}
# What else these libraries read could change a result. (Terraform's names begin with TF_ as well.)
_READ = re.compile(
    "TF_(CU|DETERMINISTIC|DISABLE|ENABLE|FORCE|GPU|GRAPPLER|MKL|ONEDNN|OVERRIDE|USE|XLA)"
    "|(DNNL|KERAS|NPY|ONEDNN|OPENBLAS)_"
)
_HARMLESS = re.compile("OPENBLAS_NUM_THREADS$|.*_VERBOSE$")
_HARMLESS_XLA_FLAG = re.compile("--xla_(dump|hlo_dump)")


def pin(environment: MutableMapping[str, str]) -> list[str]:
    """Changes an environment to these settings; returns what it set aside, as `NAME=value`."""
    aside = []
    flags = environment.get("XLA_FLAGS", "").split()
    own = [flag for flag in flags if _HARMLESS_XLA_FLAG.match(flag)]
    aside += [f"XLA_FLAGS={flag}" for flag in flags if flag not in (*XLA_FLAGS, *own)]
    environment["XLA_FLAGS"] = " ".join((*own, *XLA_FLAGS))
    for name, value in sorted(environment.items()):
        is_read = name in SETTINGS or (_READ.match(name) and not _HARMLESS.match(name))
        if is_read and value != SETTINGS.get(name):
            aside.append(f"{name}={value}")
            del environment[name]
    environment.update(SETTINGS)
    return aside


SET_ASIDE = pin(os.environ)
