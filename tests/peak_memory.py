"""How much memory a script run by a test has taken at most."""

PEAK_KILOBYTES = """
def peak_kilobytes():
    with open("/proc/self/status") as status:
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1])
"""
"""Source that such a script begins with. `ru_maxrss` would not do: a child inherits its parent's."""
