// A page that speaks IRC over WebSocket, with the engine of The Lounge and Kiwi IRC.  The test calls what hangs on
// `window`, and looks at `window.heard`.
import { Client } from "irc-framework";

window.heard = [];

function hear(kind, event) {
    window.heard.push({ kind, nick: event.nick, target: event.target || event.channel, text: event.message || event.topic, tags: event.tags || {} });
}

window.connect = (host, port, nick, tls) => {
    const client = new Client();
    for (const kind of ["registered", "join", "privmsg", "topic", "nick", "kick", "away", "setname", "socket close"]) {
        client.on(kind, (event) => hear(kind, event || {}));
    }
    client.connect({ host, port, nick, tls, path: "/", auto_reconnect: false, enable_echomessage: true });
    window.client = client;
};
