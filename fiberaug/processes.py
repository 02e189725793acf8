"""What Linux says of a process."""

from pathlib import Path

__all__ = ["process_stat"]


def process_stat(pid: int | str = "self") -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` from the third one, its state, on.

    Args:
        pid: Of the process; ``self``: this one.

    Returns:
        ``[state, parent, ...]`` as proc(5) numbers them, less 3; empty where there is
        no such process, or no ``/proc``.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    # The name in brackets, the second field, may hold blanks and brackets.
    return text.rpartition(")")[2].split()
