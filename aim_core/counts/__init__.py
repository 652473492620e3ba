"""Exact counts: marginals, workloads and their closure.

Also what turns counts into integer scores and model marginals into integers.
"""
