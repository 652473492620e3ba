"""Real processes: a consortium on loopback, a bad link before it, one run that has finished."""
