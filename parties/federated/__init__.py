"""FLAIM over serialised messages: server, holders, and a simulation of both.

Sums go through secure aggregation.
"""
