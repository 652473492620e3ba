"""The second engine, on MPyC's own secure integers: slow, for conformance and small jobs.

Nothing else imports MPyC.
"""
