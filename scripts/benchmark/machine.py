"""The machine, and what else runs on it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import time
from pathlib import Path


def first_line(path: str, start: str = "") -> str | None:
    """The value of the first line of a file that starts so, or None."""
    try:
        with open(path, encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() if start else line.strip() for line in file if line.startswith(start)), None)
    except OSError:
        return None


def describe(root: Path) -> dict[str, object]:
    """What a reader needs to know of the machine and of the state of the project."""
    commit = subprocess.run(["git", "-C", str(root), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    kilobytes = first_line("/proc/meminfo", "MemTotal") or "0"
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit.stdout.strip() or "unknown",
        "cpu": first_line("/proc/cpuinfo", "model name") or platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "cpu_flags": [flag for flag in ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
                      if f" {flag} " in f" {first_line('/proc/cpuinfo', 'flags') or ''} "],
        "governor": first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "not shown",
        "memory_bytes": int(kilobytes.split()[0]) * 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_average": os.getloadavg()[0],
    }


def busy_seconds() -> float:
    """CPU time that all programs and, on a virtual machine, the neighbours (steal) have taken since boot."""
    line = first_line("/proc/stat") or ""
    ticks = [int(word) for word in line.split()[1:]]
    # user nice system idle iowait irq softirq steal; what follows is counted in user already
    return (sum(ticks[:8]) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK") if len(ticks) >= 8 else 0.0


def own_seconds() -> float:
    """CPU time of this program and of those it started and waited for."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


class Others:
    """How many cores others have used since this object was made."""

    def __init__(self) -> None:
        self.start, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def cores(self) -> float:
        """Never negative; whatever this program and its finished children used is taken out."""
        wall = time.monotonic() - self.start
        return max(0.0, (busy_seconds() - self.busy) - (own_seconds() - self.own)) / wall if wall > 0 else 0.0


def others_now(seconds: float = 1.0) -> float:
    """Cores that others use while we sleep. The load average can't tell: it remembers our own last run for a minute."""
    others = Others()
    time.sleep(seconds)
    return others.cores()
