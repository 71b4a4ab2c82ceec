from benchmarks import growth
from benchmarks.probe import Point


def test_an_epoch_has_whole_batches():
    assert Point().steps == 1718
    assert Point(batch_size=4096).steps == 13


def test_wide_networks_see_fewer_examples_and_still_whole_batches():
    for name, values in growth.GRID.items():
        for value in values:
            point = growth.point(name, value)
            assert point.steps >= 10
            assert point.examples <= 55_000
