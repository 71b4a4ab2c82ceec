import json
import platform
from importlib import metadata

import pytest

from pipeline.errors import DataError
from pipeline.health import environment

HASH = "    --hash=sha256:00\n    # via\n    #   nothing==1\n"
CLICK = metadata.version("click")


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """An empty home, and no settings of the user's, on a processor within the promise."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(environment, "SET_ASIDE", [])
    monkeypatch.setattr(environment, "outside_promise", lambda _: None)
    return home


def findings(project, *, pyproject="", lock=""):
    (project / "pyproject.toml").write_text(pyproject)
    (project / "requirements.lock").write_text(lock)
    return [f"{finding.what}; {finding.remedy}" for finding in environment.findings()]


@pytest.mark.usefixtures("project")
def test_without_either_file_nothing_is_reported():
    assert not list(environment.findings())


def test_the_required_python_is_well(project):
    asked = f'[project]\nrequires-python = ">={platform.python_version()},<4"'

    assert not findings(project, pyproject=asked)


def test_another_python_is_reported(project):
    (told,) = findings(project, pyproject='[project]\nrequires-python = ">=2,<3"')

    assert f"this is Python {platform.python_version()}" in told
    assert "<3,>=2" in told


def test_locked_packages_are_well(project):
    lock = (
        f"# made by uv\nclick=={CLICK} \\\n{HASH}"
        f"pywin32==312 ; sys_platform == 'no such' \\\n{HASH}"
    )

    assert not findings(project, lock=lock)


def test_absent_and_differing_packages_are_reported_with_both_versions(project):
    lock = f"click==0.1 ; python_version > '3' \\\n{HASH}no-such-package==7 \\\n{HASH}"

    (told,) = findings(project, lock=lock)

    assert f"click {CLICK} (locked ==0.1), no-such-package is absent (locked ==7)" in told
    assert "`rm -f .venv/.ready && make setup`" in told


def test_at_most_five_packages_are_named(project):
    (told,) = findings(project, lock="".join(f"absent-{name}==1\n" for name in "abcdefg"))

    assert "absent-e is absent (locked ==1) and 2 more" in told
    assert "absent-f" not in told


@pytest.mark.parametrize(
    ("pyproject", "lock", "told"),
    [("[project", "", "pyproject.toml"), ("", "== 3\n", "requirements.lock")],
)
def test_a_damaged_file_is_reported(project, pyproject, lock, told):
    with pytest.raises(DataError, match=f"^{told} cannot be read: .*$"):
        findings(project, pyproject=pyproject, lock=lock)


def notes():
    return [note.what for note in environment.findings()]


@pytest.mark.usefixtures("project")
def test_settings_that_are_set_aside_are_named(monkeypatch):
    monkeypatch.setattr(environment, "SET_ASIDE", ["TF_DETERMINISTIC_OPS=1"])

    assert notes() == ["TF_DETERMINISTIC_OPS=1 is set aside, because it could change results"]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", [".keras/keras.json", ".config/matplotlib/matplotlibrc"])
def test_files_in_the_home_that_do_not_apply_are_named(home, name):
    path = home / name
    path.parent.mkdir(parents=True)
    path.write_text('{"image_data_format": "channels_first"}')

    assert notes() == [f"~/{name} is not used, because it could change results or figures"]


@pytest.mark.usefixtures("project")
def test_what_keras_writes_by_itself_is_well(home):
    (home / ".keras").mkdir()
    usual = {"floatx": "float32", "epsilon": 1e-7, "backend": "tensorflow"}
    usual["image_data_format"] = "channels_last"
    (home / ".keras" / "keras.json").write_text(json.dumps(usual, indent=4))

    assert not notes()


@pytest.mark.usefixtures("project")
def test_a_processor_that_rounds_differently_is_named(monkeypatch):
    monkeypatch.setattr(environment, "outside_promise", lambda _: "this processor is aarch64")

    (note,) = notes()
    assert note.startswith("this processor is aarch64: runs made here may differ in bits")
