"""Which columns are rounded together before the columns to their right are updated at once."""


def column_blocks(num_in: int, block_size: int, group_size: int) -> list[tuple[int, int]]:
    """(start, stop) of blocks of at most `block_size` columns in which no narrower group is cut.

    A group wider than a block starts a block. So a group that is fitted when the sweep reaches it
    meets weights with every update made so far, also those of columns just before it.
    """
    width = block_size // group_size * group_size or block_size
    period = max(group_size, width)
    return [
        (start, min(start + width, first + period, num_in))
        for first in range(0, num_in, period)
        for start in range(first, min(first + period, num_in), width)
    ]
