"""Who a site is: keys, pinned certificates, signatures.

And TLS in which both sides show theirs.
"""
