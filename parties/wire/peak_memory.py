"""The peak memory of this process."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_mb() -> float:
    """Return the largest resident size so far in MiB.

    Linux counts it per program in /proc; getrusage, the fallback, may include the parent's memory
    from before this program was started.
    """
    if _STATUS.exists():
        for line in _STATUS.read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    import resource  # not on Windows, where no compute party runs

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
