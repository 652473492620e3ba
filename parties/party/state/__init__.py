"""What a compute party must not forget: ledger, uploads, answers; on disk before it counts.

And how parties that meet again go on.
"""
