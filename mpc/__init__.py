"""The secure engine: replicated secret sharing, circuits, distances, selection, noise."""
