"""Tables that are sampled: what is asked of them, their types in pandas, their files.

What is read of a table's types here is given back to the sampled one.
"""
