"""Private-PGM: from noisy marginals to a distribution that answers queries and samples.

The project's own fit in NumPy, and the bridge to mbi.
"""
