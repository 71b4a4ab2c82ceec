import hashlib
from pathlib import Path

from pipeline.runs.code import code_sha256


def test_the_fingerprint_is_of_names_and_contents_of_the_package():
    content = hashlib.sha256(Path("pipeline/errors.py").read_bytes()).digest()

    assert code_sha256(["errors.py"]) == hashlib.sha256(b"errors.py" + content).hexdigest()
