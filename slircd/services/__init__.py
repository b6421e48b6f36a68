"""Accounts, NickServ, ChanServ, SASL: what services know and do.

They answer through the same replies as commands, and change the state through the same bus.  Used by commands.
"""
