"""Secure aggregation for FLAIM: members mask their vectors, the server sees sums only.

Independent of the compute parties' steps.
"""
