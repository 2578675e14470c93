#!/usr/bin/env bash
# The same with plain tools: curl for HTTP, and for NATS nothing but a socket and its text protocol.
set -euo pipefail
export LC_ALL=C # lengths on the wire are in bytes
IFS=: read -r host port <<<"${NATS_URL#nats://}"

# HTTP. The key makes a repeat safe: curl may try again, and the thread is made once.
thread=$(curl --silent --show-error --fail --retry 3 "$CLEW_URL/threads" \
  --header "Authorization: Bearer $CLEW_API_KEY" \
  --header "Content-Type: application/json" \
  --header "Idempotency-Key: open-1042" \
  --data '{"metadata": {"order": "1042"}}' | sed -n 's/.*"id": *"\([^"]*\)".*/\1/p')
echo "made $thread"

# NATS. A request is a message (PUB) that says where its reply should go, to whoever listens there (SUB).
send() { printf '%s\r\n' "$@" >&3; }
receive() { IFS= read -r -t 10 line <&3; line=${line%$'\r'}; }

exec 3<>"/dev/tcp/$host/${port:-4222}"
receive # INFO: what the server is
send 'CONNECT {"verbose":false,"headers":true,"no_responders":true,"name":"shop"}' "SUB replies.$$ 1" "UNSUB 1 1"

command="{\"id\": \"paid-1042\", \"actor\": \"shop\", \"thread_id\": \"$thread\", \"patch\": {\"set\": {\"paid\": \"yes\"}}}"
send "PUB clew.cmd.default.update_thread replies.$$ $(printf %s "$command" | wc -c)" "$command"

# The reply is a line with its length (MSG for {"ok": …}, HMSG with headers for {"error": …}), and then itself.
until [[ $line == *MSG\ replies.* ]]; do
  receive
  if [[ $line == PING ]]; then send PONG; fi
done
IFS= read -r -t 10 -N "${line##* }" reply <&3
echo "${line%% *}: $reply"
[[ $reply == '{"ok":'* ]]
