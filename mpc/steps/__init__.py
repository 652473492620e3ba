"""What docs/protocol.md calls steps: upload, input check, distance, selection.

And the job, which is made of them.
"""
