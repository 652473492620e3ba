"""`distaim estimate`: time, bytes, rounds and budget before a job, by rehearsal.

It has nothing to do with the estimator.
"""
