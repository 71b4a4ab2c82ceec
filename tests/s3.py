"""S3 on this machine, by moto, for as long as a test lasts."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def _s3_server():
    pytest.importorskip("boto3", reason="boto3 is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed")
    running = server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def s3(_s3_server, monkeypatch):
    """An empty bucket: its address, its objects by path, and the variables that lead there."""
    import boto3  # noqa: PLC0415  It may be missing: then tests are skipped.

    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": _s3_server,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    bucket = boto3.resource("s3").create_bucket(Bucket="team")
    bucket.objects.delete()
    return SimpleNamespace(address="s3://team/artifacts", bucket=bucket, variables=variables)
