"""Training has the same bits everywhere: what a hundred steps make is committed."""

import json
import os
import re
import subprocess
import sys

import pytest

from pipeline.provenance.processor import outside_promise, present_processor
from pipeline.training.normalization import NORMALIZATIONS
from tests.portability.__main__ import in_words
from tests.portability.steps import COMMITTED, digest


@pytest.mark.parametrize(
    "normalization",
    [
        pytest.param(kind, marks=[] if kind == "batch" else pytest.mark.slow)
        for kind in NORMALIZATIONS
    ],
)
def test_a_hundred_steps_end_with_the_committed_bits(normalization):
    if reason := outside_promise(present_processor()):
        pytest.skip(reason)
    assert digest(normalization) == json.loads(COMMITTED.read_text())[normalization]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """An environment, and a home, full of settings that would change results."""
    home = tmp_path_factory.mktemp("home")
    (home / ".keras").mkdir()
    keras = {"floatx": "float16", "image_data_format": "channels_first", "backend": "jax"}
    (home / ".keras" / "keras.json").write_text(json.dumps(keras))
    (home / ".config" / "matplotlib").mkdir(parents=True)
    style = "text.usetex: True\nlines.linewidth: 9\nsavefig.facecolor: red\n"
    (home / ".config" / "matplotlib" / "matplotlibrc").write_text(style)
    return {
        "HOME": str(home),
        "KERAS_BACKEND": "torch",
        "NPY_DISABLE_CPU_FEATURES": "X86_V3",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "TF_DETERMINISTIC_OPS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "TF_NUM_INTRAOP_THREADS": "2",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
        "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
    }


@pytest.fixture(scope="module")
def compiled(hostile, tmp_path_factory):
    """What XLA wrote of its work on an epoch, and the hash that its steps ended with."""
    folder = tmp_path_factory.mktemp("compiled")
    ended = subprocess.run(
        [sys.executable, "-m", "tests.portability.steps", "batch"],
        env=hostile | {"XLA_FLAGS": f"{hostile['XLA_FLAGS']} --xla_dump_to={folder}"},
        check=True,
        capture_output=True,
    )
    return folder, json.loads(ended.stdout)["batch"]


@pytest.mark.slow
def test_what_is_compiled_does_not_depend_on_the_number_of_processors(tmp_path):
    def object_code(processors):
        folder = tmp_path / str(processors)
        script = (
            f"import os; os.cpu_count = lambda: {processors};"
            "from tests.portability.steps import digest; digest('batch')"
        )
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"XLA_FLAGS": f"--xla_dump_to={folder}"},
            check=True,
            capture_output=True,
        )
        return sorted(path.read_bytes() for path in folder.glob("*.o"))

    assert object_code(1) == object_code(8) != []


@pytest.mark.slow
def test_a_hostile_environment_does_not_change_a_bit(compiled):
    # The same process as the committed one's, but for the environment.
    assert compiled[1] == digest("batch")


@pytest.mark.slow
def test_a_users_style_does_not_change_a_figure(hostile):
    draw = (
        "from matplotlib.figure import Figure; from pipeline.reporting.pictures import png;"
        "figure = Figure(); figure.subplots().plot([1, 2]); figure.suptitle('$x$');"
        "import sys; sys.stdout.buffer.write(png(figure))"
    )
    with_style, without = (
        subprocess.run(
            [sys.executable, "-c", draw], env=environment, check=True, capture_output=True
        ).stdout
        for environment in (hostile, {"HOME": "/nowhere"})
    )
    assert with_style == without


def dumped(compiled, suffix):
    texts = [path.read_text() for path in compiled[0].glob(f"*train_epoch*{suffix}")]
    assert texts
    return "\n".join(texts)


@pytest.mark.slow
def test_xla_has_taken_every_setting(compiled):
    options = dumped(compiled, "debug_options")
    assert 'xla_cpu_max_isa: "AVX2"' in options
    assert "xla_cpu_multi_thread_eigen: false" in options
    assert 'key: "xla_cpu_disable_platform_dependent_math"' in options
    assert "ynn_fusion_type" not in options


@pytest.mark.slow
def test_no_compiled_code_uses_what_makers_approximate_differently(compiled):
    assert not re.findall(r"llvm\.x86\S*rsqrt", dumped(compiled, "ir-with-opt.ll"))


@pytest.mark.slow
def test_every_product_has_its_operands_row_by_row(compiled):
    products = re.findall(
        r"dot\(.*lhs_contracting_dims={(\d)}, rhs_contracting_dims={(\d)}",
        dumped(compiled, ".cpu_after_optimizations.txt"),
    )
    # Forward, and the gradients of kernels and inputs, of three layers; the first has no gradient
    # of its inputs, and its 784 inputs are summed in two pieces.
    assert len(products) == 3 + 1 + 3 + 2
    assert set(products) == {("1", "0")}


def test_the_page_tells_who_has_other_bits():
    committed = json.loads(COMMITTED.read_text())
    trained = {None: committed, "Haswell": committed | {"batch": "other"}}
    page = in_words(trained, {None: {"a": b"1"}, "Haswell": {"a": b"2"}}, [(3, 2, 1)])
    here, haswell = (line for line in page.splitlines() if " same |" in line)
    assert haswell.startswith("| Haswell, emulated |")
    assert (here.count("**other**"), haswell.count("**other**")) == (0, 2)
    assert "bits depend on it: 3 by 2 by 1." in page
