"""Who talks to whom under which key: links, frames, channels, key streams.

Over TLS between processes, or in memory.
"""
