"""The data holder: reads its table, shares its counts once, keeps receipts.

It imports no other role.
"""
