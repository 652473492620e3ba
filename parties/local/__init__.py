"""`distaim run`: all roles as processes on one machine, then the report for the table's owner.

Also what benchmarks and comparisons need of it.
"""
