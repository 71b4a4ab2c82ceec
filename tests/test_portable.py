import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from pipeline.portable import SETTINGS, XLA_FLAGS, pin

OURS = SETTINGS | {"XLA_FLAGS": " ".join(XLA_FLAGS)}


def test_an_empty_environment_gets_the_settings_and_nothing_is_set_aside():
    environment = {}
    assert pin(environment) == []
    assert environment == OURS


def test_a_child_process_sets_nothing_aside():
    environment = dict(OURS)
    assert pin(environment) == []
    assert environment == OURS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KERAS_BACKEND", "jax"),
        ("KERAS_HOME", "/somewhere"),
        ("KERAS_MAX_EPOCHS", "1"),
        ("NPY_DISABLE_CPU_FEATURES", "X86_V3"),
        ("ONEDNN_MAX_CPU_ISA", "SSE41"),
        ("ONEDNN_DEFAULT_FPMATH_MODE", "bf16"),
        ("DNNL_MAX_CPU_ISA", "SSE41"),
        ("OPENBLAS_CORETYPE", "Nehalem"),
        ("TF_DETERMINISTIC_OPS", "1"),
        ("TF_ENABLE_ONEDNN_OPTS", "0"),
        ("TF_NUM_INTRAOP_THREADS", "2"),
        ("TF_USE_LEGACY_KERAS", "1"),
        ("TF_XLA_FLAGS", "--tf_xla_auto_jit=2"),
    ],
)
def test_what_could_change_a_result_is_set_aside(name, value):
    environment = {name: value}
    assert pin(environment) == [f"{name}={value}"]
    assert environment == OURS


@pytest.mark.parametrize(
    "name", ["TF_CLI_CONFIG_FILE", "TF_CPP_MIN_LOG_LEVEL", "ONEDNN_VERBOSE", "HOME"]
)
def test_what_could_not_stays(name):
    environment = {name: "1"}
    assert pin(environment) == []
    assert environment == OURS | {name: "1"}


def test_of_a_users_flags_for_xla_those_that_only_write_stay():
    environment = {"XLA_FLAGS": "--xla_cpu_enable_fast_math=true --xla_dump_to=/tmp/here"}
    assert pin(environment) == ["XLA_FLAGS=--xla_cpu_enable_fast_math=true"]
    assert environment["XLA_FLAGS"].split() == ["--xla_dump_to=/tmp/here", *XLA_FLAGS]


def test_the_settings_hold_in_this_process():
    assert os.environ.items() >= OURS.items()
    assert keras.config.backend() == "tensorflow"
    assert keras.config.image_data_format() == "channels_last"
    assert keras.config.floatx() == "float32"
    assert set(np.show_config(mode="dicts")["SIMD Extensions"]["found"]) <= {"X86_V3"}


@pytest.mark.slow
def test_kerass_own_file_in_the_home_is_not_read(tmp_path):
    (tmp_path / ".keras").mkdir()
    settings = {"floatx": "float16", "image_data_format": "channels_first", "backend": "jax"}
    (tmp_path / ".keras" / "keras.json").write_text(json.dumps(settings))
    seen = "import pipeline, keras; c = keras.config; print(c.floatx(), c.image_data_format())"
    environment = {**os.environ, "HOME": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}
    del environment["KERAS_HOME"]
    found = subprocess.run(
        [sys.executable, "-c", seen], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["float32", "channels_last"]
