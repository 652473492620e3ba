"""What a compute party's operator sees: page, health, metrics.

It reads a frozen view of the job and nothing else.
"""
