"""Plugins over the admin API, and their metrics."""

from __future__ import annotations

from slircd.metrics import Metrics
from slircd.plugins.manager import PluginManager
from tests.admin.harness import READER, AdminTestCase
from tests.plugins.support import Probe


class PluginsOverHttp(AdminTestCase):
    def setUp(self) -> None:
        super().setUp()

        def begin(api: object) -> None:
            api.invoke("register_command", ["HI", lambda ctx, args: ctx.reply("hi")])  # type: ignore[attr-defined]

        self.probe = Probe("probe", begin)
        PluginManager(self.world.server, native=lambda name, _: self.probe if name == "probe" else None).startService()

    def test_load_look_unload(self) -> None:
        """What an operator does with PLUGIN, by an admin; in the log with the admin's name."""
        self.assertEqual(self.ask("/admin/plugins").json, [])
        done = self.ask("/admin/actions/plugin-load", method="POST", body={"name": "probe"})
        self.assertEqual(done.status, 200, done.body)
        self.assertIn("which is not granted", done.json["refused"][0])
        self.client("ann").sends("HI")
        [shown] = self.ask("/admin/plugins", who=READER).json
        self.assertEqual((shown["name"], shown["state"], shown["commands"]), ("probe", "running", ["HI"]))
        self.assertEqual((shown["loaded_by"], shown["capabilities"]), ("admin", ["send"]))
        self.assertEqual(self.ask("/admin/plugins/probe").json["version"], "1.2")
        self.assertEqual(self.ask("/admin/plugins/nope").status, 404)
        again = self.ask("/admin/actions/plugin-load", method="POST", body={"name": "probe"})
        self.assertEqual(again.status, 409)
        self.assertEqual(self.ask("/admin/actions/plugin-reload", method="POST", body={"name": "probe"}).status, 200)
        self.assertEqual(self.ask("/admin/actions/plugin-unload", method="POST", body={"name": "probe"}).status, 200)
        self.assertEqual(self.ask("/admin/plugins").json, [])
        caused = [event for event in self.world.events() if event.event_type.startswith(("plugin.", "admin."))]
        self.assertEqual({event.actor_uid for event in caused}, {"admin:admin"})
        self.assertEqual(
            [event.event_type for event in caused if event.event_type.startswith("plugin.")],
            ["plugin.load", "plugin.load", "plugin.unload"],
        )

    def test_refused(self) -> None:
        """A reader loads nothing, and a name is a plain name."""
        path = "/admin/actions/plugin-load"
        self.assertEqual(self.ask(path, method="POST", body={"name": "probe"}, who=READER).status, 403)
        self.assertEqual(self.ask(path, method="POST", body={"name": "../x"}).status, 400)

    def test_metrics(self) -> None:
        """A series for each thing that INFO shows."""
        metrics = Metrics(self.world.server)
        self.assertNotIn(b"probe", metrics.text())
        self.ask("/admin/actions/plugin-load", method="POST", body={"name": "probe"})
        text = metrics.text().decode()
        for line in (
            'slircd_plugin_up{plugin="probe"} 1.0',
            'slircd_plugin_restarts_total{plugin="probe"} 0.0',
            'slircd_plugin_job_seconds_bucket{le="+Inf",plugin="probe"} 0.0',
        ):
            self.assertIn(line, text)
