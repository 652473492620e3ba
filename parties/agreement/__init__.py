"""What all members agree on: the manifest, what follows from it, approvals.

Every role derives the same facts from the same bytes.
"""
