"""Sizes that rows and columns are padded to."""

from __future__ import annotations

import numpy as np
import pytest

from dvrl.numerics.padding import pad, padded_size

# Written out by hand from the rule "k * 2**j with 8 < k <= 16", not computed by it.
BUCKETS = [8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56,
           60, 64, 72, 80, 88, 96, 104, 112, 120, 128, 144, 160]  # fmt: skip


def test_every_size_goes_to_the_next_bucket():
    for size in range(1, BUCKETS[-1] + 1):
        expected = next(bucket for bucket in BUCKETS if bucket >= size)
        assert padded_size(size) == expected, size


def test_there_are_eight_buckets_between_powers_of_two():
    for power in range(4, 15):
        sizes = {padded_size(size) for size in range(2**power + 1, 2 ** (power + 1) + 1)}
        assert len(sizes) == 8
        assert max(sizes) == 2 ** (power + 1)


def test_sizes_are_whole_numbers_and_never_shrink():
    sizes = [padded_size(size) for size in range(3000)]
    assert all(type(size) is int for size in sizes)
    assert sizes == sorted(sizes)


def test_the_least_size_can_be_chosen():
    assert [padded_size(size, least=1) for size in (0, 1, 5, 16, 17)] == [1, 1, 5, 16, 18]
    assert [padded_size(size, least=20) for size in (1, 20, 21)] == [20, 20, 22]


@pytest.mark.parametrize("sizes", [(6,), (6, 4), (5, 9), (5, 3)])
def test_zeros_come_behind_the_rows_and_columns(sizes):
    array = np.arange(1, 16, dtype=np.float32).reshape(5, 3)
    padded = pad(array, *sizes)
    assert padded.shape == (*sizes, *array.shape[len(sizes) :])
    assert padded.dtype == np.float32
    np.testing.assert_array_equal(padded[:5, :3], array)
    assert np.count_nonzero(padded) == array.size
    np.testing.assert_array_equal(array, np.arange(1, 16).reshape(5, 3))  # the caller's is kept


def test_a_table_without_columns_can_be_padded():
    assert pad(np.empty((5, 0), np.float32), 8).shape == (8, 0)


def test_padding_to_less_is_an_error():
    with pytest.raises(ValueError, match="negative"):
        pad(np.ones((5, 3), np.float32), 4)
