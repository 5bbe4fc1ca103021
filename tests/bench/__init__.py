"""Measurements: `make bench`. Ratios of medians from one run; single figures mean nothing."""
