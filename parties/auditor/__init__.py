"""The auditor: checks signed transcripts against the manifest and replays the policy.

It runs no party's code.
"""
