"""Runs the pipeline's command on an emulated processor, without NumPy's code for AVX2.

qemu-user 7.2 crashes in NumPy's sorting, which gathers behind a mask. What the library does on a
processor without AVX2 is another way to the same files.
"""

import os
import runpy

from pipeline import portable

os.environ["NPY_DISABLE_CPU_FEATURES"] = f"{portable.SETTINGS['NPY_DISABLE_CPU_FEATURES']} X86_V3"
runpy.run_module("pipeline", run_name="__main__", alter_sys=True)
