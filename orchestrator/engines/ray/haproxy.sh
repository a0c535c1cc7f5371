#!/bin/sh
# Serve's HAProxy without splice(2). With it, HAProxy 2.8 does not notice that a client has left while its answer is awaited, if the
# request's body came in a packet of its own, as most clients send it: what nobody waits for would be computed to its end.
exec "$SWITCHYARD_HAPROXY" -dS "$@"
