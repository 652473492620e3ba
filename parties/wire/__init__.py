"""What roles say to each other and write down: messages, errors, transcript lines, events.

With the client and the server that carry them.
"""
