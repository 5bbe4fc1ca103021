"""A mail server for tests: it keeps what it is given, refuses on demand, and cuts connections."""

import socketserver
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from tests.serving import serving

CUT = ""
HANG = "..."


class MailServer(socketserver.ThreadingTCPServer):
    """`received` has each mail with its recipients, `faults` what comes in place of the next
    answers: (command, answer). CUT ends the connection after the command, HANG never answers it.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.received: list[tuple[list[str], EmailMessage]] = []
        self.faults: list[tuple[str, str]] = []

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    @property
    def recipients(self) -> list[str]:
        """The recipients of mails, in alphabetical order."""
        return sorted(address for to, _ in self.received for address in to)

    def fault(self, command: str) -> str | None:
        """Take the fault out that this command is to meet, None where it meets none."""
        for one in self.faults:
            if one[0] == command:
                self.faults.remove(one)
                return one[1]
        return None


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def handle(self) -> None:
        self._say("220 here")
        to: list[str] = []
        while line := self.rfile.readline().decode():
            command = line[:4].strip().upper()
            if command == "RCPT":
                to.append(line.split("<")[1].split(">")[0])
            if command == "DATA":
                self._say("354 go on")
                content = b"".join(iter(self.rfile.readline, b".\r\n"))
                # A fault after the mail was taken, named END, leaves the sender unsure.
                if (fault := self.server.fault("DATA")) is None:
                    message = message_from_bytes(content, policy=policy.default)
                    assert isinstance(message, EmailMessage)
                    self.server.received.append((to, message))
                    command, to = "END", []
                    fault = self.server.fault(command)
            else:
                fault = self.server.fault(command)
            if fault == HANG:
                self.rfile.read()
            if fault in {CUT, HANG}:
                return
            self._say(fault or "250 fine")
            if command == "QUIT":
                return

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def mail_server() -> Iterator[MailServer]:
    """Run a mail server."""
    server = MailServer()
    with serving(server):
        yield server
