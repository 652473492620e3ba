"""Roles and wiring: compute party, data holder, estimator, command line."""
