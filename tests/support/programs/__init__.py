"""Programs that every party of a session runs, in this process or in one of its own."""
