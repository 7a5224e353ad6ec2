"""Non-diagonal supercells, optimal databases and benchmarked interatomic potentials."""
