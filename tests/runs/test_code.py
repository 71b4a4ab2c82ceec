import hashlib
from pathlib import Path

from pipeline.runs.code import code_sha256


def test_the_fingerprint_is_of_names_and_contents_of_the_package():
    network, content = (
        hashlib.sha256(path.read_bytes()).digest()
        for path in (Path("networks/conv.py"), Path("pipeline/errors.py"))
    )
    expected = hashlib.sha256(network + b"errors.py" + content).hexdigest()
    assert code_sha256("networks/conv.py", ["errors.py"]) == expected
