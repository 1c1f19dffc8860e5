"""The best spatial-only warp between two maps, and what it leaves."""
