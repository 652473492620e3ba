"""`distaim compare`: every method on one table, with intervals and plots.

Its results are not private.
"""
