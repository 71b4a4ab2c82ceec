from tests.stores.conftest import shared

__all__ = ["shared"]
