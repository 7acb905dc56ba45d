"""The exec side of a pod's agent: pipes standard input and output to its abstract Unix socket until either side ends.

A file of its own beside `agent.py`, with as few imports as it can, since every stream to every pod starts it anew:
Python 3.9, standard library only. What belongs here: bytes from one side to the other. What does not: what they say.
"""

import os
import select
import socket


def main() -> None:
    """Relay until standard input or the agent ends."""
    name = "eastwest-agent-" + os.environ.get("EASTWEST_POD", "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.connect("\0" + name)
        except OSError as error:
            raise SystemExit(f"eastwest agent: no agent serves at @{name}: {error.strerror}") from None
        while True:
            for readable in select.select([0, sock.fileno()], [], [])[0]:
                data = os.read(0, 1 << 16) if readable == 0 else sock.recv(1 << 16)
                if not data and readable == 0:
                    return
                if not data:
                    raise SystemExit("eastwest agent: the agent ended, or another session took over")
                if readable == 0:
                    sock.sendall(data)
                while data and readable != 0:
                    data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
