"""The words for what prices mean; the rules are in `basis`."""

from enum import StrEnum


class PriceBasis(StrEnum):
    """What was taken out of prices after they were traded."""

    TRADED = "traded"
    SPLIT_ADJUSTED = "split_adjusted"
    DIVIDEND_ADJUSTED = "dividend_adjusted"  # and splits
