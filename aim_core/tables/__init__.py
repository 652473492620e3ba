"""What a holder's file means: rows to codes by a public schema, and back.

Columns by kind, bins, the draft of a schema, what does not fit.
"""
