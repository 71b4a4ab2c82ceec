import pytest

from benchmarks import floor


def test_products_of_a_step_by_hand():
    # 3 inputs, 2 hidden units, 1 output, 5 examples.
    assert floor.products((3, 2, 1), 5) == [
        (5, 3, 2),  # units = images @ kernel
        (3, 5, 2),  # gradient of the kernel = images' @ gradient
        (5, 2, 1),
        (2, 5, 1),
        (5, 1, 2),  # gradient of the units = gradient @ kernel'
    ]


def test_flops_by_hand():
    # Four times 60 and 20, less one of 60, because images need no gradient.
    assert floor.flops(floor.products((3, 2, 1), 5)) == 2 * 60 + 3 * 20


def test_adam_reads_four_arrays_and_writes_three():
    # (784 + 1) 32 + (32 + 1) 32 + (32 + 1) 10 parameters of 4 bytes.
    assert floor.parameters((784, 32, 32, 10)) == 26506
    assert floor.optimizer_bytes((784, 32, 32, 10)) == 26506 * 4 * 7


def test_a_larger_product_takes_longer():
    small, large = ([(n, n, n)] for n in (8, 512))
    assert 0 <= floor.product_seconds(small, 20) < floor.product_seconds(large, 20)


def test_bandwidth_is_that_of_a_memory():
    assert 1e8 < floor.bandwidth(1_000_000, 3) < 1e12


@pytest.mark.parametrize("widths", [(784, 10), (784, 32, 32, 10)])
def test_the_first_layer_needs_no_gradient_of_its_inputs(widths):
    layers = len(widths) - 1
    assert len(floor.products(widths, 32)) == 3 * layers - 1
