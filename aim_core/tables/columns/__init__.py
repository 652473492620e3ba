"""Types of columns: what values each may hold, which code each value has, and back.

Nothing here reads a file or knows another column.
"""
