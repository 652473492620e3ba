"""The estimator: drives AIM against the compute parties, fits, samples.

Trusted for nothing; it imports no other role.
"""
