"""The commands: options, texts, exit codes.

What they do is in the other rooms.
"""
