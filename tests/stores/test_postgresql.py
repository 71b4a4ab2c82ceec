import pytest

from pipeline.provenance.places import tracking_uri
from pipeline.stores import postgresql
from pipeline.stores.postgresql import UnusableAddressError, with_driver


@pytest.mark.parametrize(
    ("typed", "packages", "taken"),
    [
        ("postgresql://me@host/db", {"psycopg", "psycopg2"}, "postgresql+psycopg://me@host/db"),
        ("postgres://me@host/db", {"psycopg2"}, "postgresql+psycopg2://me@host/db"),
        ("PostgreSQL://host/a:b", {"psycopg"}, "postgresql+psycopg://host/a:b"),
        ("postgresql+psycopg2://host/db", {"psycopg"}, "postgresql+psycopg2://host/db"),
        ("postgres+asyncpg://host/db", set(), "postgresql+asyncpg://host/db"),
        ("sqlite:////home/postgresql:/a.db", set(), "sqlite:////home/postgresql:/a.db"),
        ("http://postgresql:5000", set(), "http://postgresql:5000"),
    ],
)
def test_an_address_gets_the_driver_that_is_installed(typed, packages, taken, monkeypatch):
    monkeypatch.setattr(postgresql, "find_spec", lambda name: name in packages or None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", typed)

    assert with_driver(typed) == tracking_uri() == taken


def test_without_a_driver_the_extra_is_named_and_no_password(monkeypatch):
    monkeypatch.setattr(postgresql, "find_spec", lambda _: None)

    with pytest.raises(UnusableAddressError) as told:
        with_driver("postgresql://me:secret@host/db")

    assert str(told.value) == "PostgreSQL needs psycopg: in a checkout, pip install '.[postgresql]'"


def test_a_password_that_is_not_quoted_is_told_and_not_shown():
    with pytest.raises(UnusableAddressError) as told:
        with_driver("postgresql://me:sec@ret@host/db")

    assert str(told.value).endswith("more than one @: write %40 for one in a password")
