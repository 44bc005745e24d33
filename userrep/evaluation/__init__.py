"""What a number is: ranks, metrics, intervals, slices and tests of differences."""
