"""Which process made a connection: the kernel knows (Linux: /proc), and so a fault can strike exactly that driver."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection on this machine, as its client sees it: by its own port and the server's."""

    port: int
    server: int

    @classmethod
    def accepted(cls, writer: asyncio.StreamWriter) -> "Connection":
        """The connection that a server has accepted."""
        return cls(writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1])


class Drivers:
    """The processes that drive sagas. `known` gives their ids: only these are ever signalled."""

    def __init__(self, known: Callable[[], Iterable[int]]) -> None:
        self._known = known
        self.stopped: set[int] = set()

    def behind(self, connection: "Connection") -> int | None:
        """The driver that made this connection."""
        inode = _inode(connection)
        if inode is None:
            return None
        return next((pid for pid in self._known() if _holds(pid, inode)), None)

    def kill(self, connection: "Connection") -> bool:
        """SIGKILL the driver that made this connection; whether there was one."""
        pid = self.behind(connection)
        return pid is not None and _signal(pid, signal.SIGKILL)

    def stop(self, connection: "Connection") -> int | None:
        """SIGSTOP the driver that made this connection: it keeps all that it holds and does nothing."""
        pid = self.behind(connection)
        if pid is None or not _signal(pid, signal.SIGSTOP):
            return None
        self.stopped.add(pid)
        return pid

    def wake(self, pid: int) -> None:
        """SIGCONT, unless it was killed meanwhile and its id may be another's."""
        if pid in self.stopped:
            self.stopped.discard(pid)
            _signal(pid, signal.SIGCONT)

    def wake_all(self) -> None:
        for pid in list(self.stopped):
            self.wake(pid)


def children(parent: int) -> list[int]:
    """The processes that this one started."""
    found = []
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # "pid (name) state ppid ...": the name may hold anything, the last parenthesis ends it
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found


def marked(marker: str) -> list[int]:
    """The processes of this run, and nobody else's: they carry its marker in their environment."""
    found = []
    for entry in PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker.encode() in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


def _inode(connection: Connection) -> str | None:
    wanted = (connection.port, connection.server)
    for line in (PROC / "net" / "tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if tuple(int(address.partition(":")[2], 16) for address in fields[1:3]) == wanted:
            return fields[9]
    return None


def _holds(pid: int, inode: str) -> bool:
    with contextlib.suppress(OSError):
        for descriptor in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                if str(descriptor.readlink()) == f"socket:[{inode}]":
                    return True
    return False


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
