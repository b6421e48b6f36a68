"""A conversation with the Python library `irc`: argument is the port; says what it heard, a line each."""

import sys

import irc.client


def say(*words: object) -> None:
    """A line for the test."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main(port: int) -> None:
    """Join, talk, answer, leave."""
    reactor = irc.client.Reactor()
    connection = reactor.server().connect("127.0.0.1", port, "jaraco")

    def told(connection: irc.client.ServerConnection, event: irc.client.Event) -> None:
        say(event.type, event.source, event.target, *event.arguments)
        if event.type == "welcome":
            connection.join("#meet")
        elif event.type == "endofnames":
            connection.privmsg("#meet", "hello from the library, ünïcödé")
        elif event.type == "pubmsg":
            connection.topic("#meet", "a topic of the library")
            connection.quit("done")
        elif event.type == "disconnect":
            sys.exit(0)

    for kind in ("welcome", "join", "endofnames", "pubmsg", "currenttopic", "topic", "disconnect"):
        connection.add_global_handler(kind, told)
    reactor.process_forever(0.1)


main(int(sys.argv[1]))
