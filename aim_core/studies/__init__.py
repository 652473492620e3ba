"""What is not private: made-up tables, splits over holders, errors against real tables.

Mechanisms never import it.
"""
