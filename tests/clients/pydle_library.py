"""A conversation with the Python library `pydle`: argument is the port; says what it heard, a line each."""

import asyncio
import sys

import pydle


def say(*words: object) -> None:
    """A line for the test."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Talker(pydle.Client):
    """Joins, talks, answers, leaves."""

    def __init__(self, nickname: str, **options: str) -> None:
        super().__init__(nickname, **options)
        self.gone = asyncio.Event()

    async def on_disconnect(self, expected: bool) -> None:
        await super().on_disconnect(expected)
        self.gone.set()

    async def on_connect(self) -> None:
        await super().on_connect()
        say("connected", self.nickname)
        await self.join("#meet")

    async def on_join(self, channel: str, user: str) -> None:
        await super().on_join(channel, user)
        say("join", channel, user)
        if user == self.nickname:
            await self.message("#meet", "hello from pydle, ünïcödé")

    async def on_channel_message(self, target: str, by: str, message: str) -> None:
        await super().on_channel_message(target, by, message)
        say("message", target, by, message)
        if by != self.nickname:
            info = await self.whois(by)
            say("whois", info["username"], info["realname"])
            await self.set_topic("#meet", "a topic of pydle")
            await self.quit("done")


async def main(port: int) -> None:
    """Until it has left."""
    talker = Talker("shiz", realname="Shiz")
    await talker.connect("127.0.0.1", port)
    await talker.gone.wait()


asyncio.run(main(int(sys.argv[1])))
