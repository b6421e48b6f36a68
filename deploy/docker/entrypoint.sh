#!/bin/sh
# `run` and `health` go by /etc/slircd/config.toml where it is mounted, else by the image's own; anything else is a
# command of slircd's: docker run slircd:latest config example
set -eu
config=/etc/slircd/config.toml
[ -e "$config" ] || config=/usr/local/share/slircd/config.toml
case "${1:-run}" in
    run) exec slircd run "$config" ;;
    health) exec slircd health "$config" ;;
    *) exec slircd "$@" ;;
esac
