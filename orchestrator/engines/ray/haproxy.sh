#!/bin/sh
# Serve's HAProxy without splice(2), and with an eye on gateways that can't be reached any more.
# With splice, HAProxy 2.8 does not notice that a client has left while its answer is awaited, if the request's body came in a packet
# of its own, as most clients send it: what nobody waits for would be computed to its end. And Serve's configuration has no limit on
# an answer's time, so that what is under way at a gateway on a machine that was cut off would hang. And where Ray's own processes die
# first, HAProxy would stay behind and keep its port from the service that is started anew.
for word do
    shift
    if [ "$before" = -f ]; then
        sed '/^defaults$/a\
    option srvtcpka\
    srvtcpka-idle 2s\
    srvtcpka-intvl 1s\
    srvtcpka-cnt 3\
    default-server tcp-ut 10s' "$word" > "$word.watchful"
        word=$word.watchful
    fi
    set -- "$@" "$word"
    before=$word
done
if command -v setpriv >/dev/null; then
    exec setpriv --pdeathsig KILL "$SWITCHYARD_HAPROXY" -dS "$@"
fi
exec "$SWITCHYARD_HAPROXY" -dS "$@"
