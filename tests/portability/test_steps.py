"""Training has the same bits everywhere: what a hundred steps make is committed."""

import json
import re
import subprocess
import sys

import pytest

from pipeline.provenance.processor import outside_promise, present_processor
from pipeline.training.normalization import NORMALIZATIONS
from tests.portability.steps import COMMITTED, digest


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_hundred_steps_end_with_the_committed_bits(normalization):
    if reason := outside_promise(present_processor()):
        pytest.skip(reason)
    assert digest(normalization) == json.loads(COMMITTED.read_text())[normalization]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """What XLA wrote of its work on an epoch."""
    folder = tmp_path_factory.mktemp("compiled")
    subprocess.run(
        [sys.executable, "-m", "tests.portability.steps", "batch"],
        env={"XLA_FLAGS": f"--xla_dump_to={folder}"},
        check=True,
        capture_output=True,
    )
    return folder


def dumped(folder, suffix):
    texts = [path.read_text() for path in folder.glob(f"*train_epoch*{suffix}")]
    assert texts
    return "\n".join(texts)


def test_xla_has_taken_every_setting(compiled):
    options = dumped(compiled, "debug_options")
    assert 'xla_cpu_max_isa: "AVX2"' in options
    assert "xla_cpu_multi_thread_eigen: false" in options
    assert 'key: "xla_cpu_disable_platform_dependent_math"' in options
    assert "ynn_fusion_type" not in options


def test_no_compiled_code_uses_what_makers_approximate_differently(compiled):
    assert not re.findall(r"llvm\.x86\S*rsqrt", dumped(compiled, "ir-with-opt.ll"))


def test_every_product_has_its_operands_row_by_row(compiled):
    products = re.findall(
        r"dot\(.*lhs_contracting_dims={(\d)}, rhs_contracting_dims={(\d)}",
        dumped(compiled, ".cpu_after_optimizations.txt"),
    )
    # Forward, and the gradients of kernels and inputs, of three layers; the first has no gradient
    # of its inputs, and its 784 inputs are summed in two pieces.
    assert len(products) == 3 + 1 + 3 + 2
    assert set(products) == {("1", "0")}
